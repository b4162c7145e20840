"""Scoring a network on cached images, at working size."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from autoseg.config import IGNORE_INDEX, Geometry
from autoseg.data.cache import Cache
from autoseg.errors import TrainingError
from autoseg.inference import MAX_TILE_SIDE, segment
from autoseg.metrics import confusion_matrix
from autoseg.preprocessing import Preprocessing, pad_image, round_up
from autoseg.training.hardware import Precision, free_memory, is_out_of_memory

_BATCH_PIXELS = {"cpu": 2**19, "cuda": 2**23}
"""Pixels per forward pass: two 512x512 windows on a CPU, 32 on a GPU."""


def validation_confusions(
    forward: Callable[[torch.Tensor], torch.Tensor],
    cache: Cache,
    indices: Sequence[int],
    preprocessing: Preprocessing,
    num_classes: int,
    precision: Precision,
) -> np.ndarray:
    """Confusion matrix of each image at working size.

    Args:
        forward: Images (N, 3, h, w) float32, standardised -> logits (N, K, h, w).
        cache: The images and masks.
        indices: Images to score.
        preprocessing: Standardisation, and the tile of images too large for one pass.
        num_classes: K, background included.
        precision: Device and autocast.

    Returns:
        (n, K, K) int64, [true, predicted], in the order of `indices`.
    """
    matrices: list[np.ndarray] = []
    for batch in _same_shape_batches(cache, indices, precision.device):
        shape = tuple(cache.shapes[batch[0]].tolist())
        if max(shape) > _largest_side(preprocessing.geometry):
            matrices += [
                _tiled(forward, cache, i, preprocessing, num_classes, precision) for i in batch
            ]
        else:
            matrices += _fitting(forward, cache, batch, preprocessing, num_classes, precision)
    return np.stack(matrices)


def _largest_side(geometry: Geometry) -> int:
    return max(MAX_TILE_SIDE, 2 * max(geometry.window))


def _same_shape_batches(
    cache: Cache, indices: Sequence[int], device: torch.device
) -> list[list[int]]:
    """Consecutive images of one shape, at most `_BATCH_PIXELS` together."""
    limit = _BATCH_PIXELS.get(device.type, _BATCH_PIXELS["cpu"])
    batches: list[list[int]] = []
    for i in indices:
        shape = cache.shapes[i]
        last = batches[-1] if batches else []
        fits = (len(last) + 1) * int(np.prod(shape)) <= limit
        if last and fits and (cache.shapes[last[0]] == shape).all():
            last.append(i)
        else:
            batches.append([i])
    return batches


def _fitting(
    forward: Callable[[torch.Tensor], torch.Tensor],
    cache: Cache,
    batch: Sequence[int],
    preprocessing: Preprocessing,
    num_classes: int,
    precision: Precision,
) -> list[np.ndarray]:
    """`_batched`, in halves where memory runs out."""
    try:
        return _batched(forward, cache, batch, preprocessing, num_classes, precision)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler: its traceback would keep the tensors of the failed pass.
    free_memory(precision.device)
    if len(batch) == 1:
        raise TrainingError(
            "Memory ran out while one image was scored. Choose a smaller encoder or `max_side`, "
            "or close other programs that use the device."
        )
    middle = len(batch) // 2
    return [
        matrix
        for half in (batch[:middle], batch[middle:])
        for matrix in _fitting(forward, cache, half, preprocessing, num_classes, precision)
    ]


def _batched(
    forward: Callable[[torch.Tensor], torch.Tensor],
    cache: Cache,
    batch: Sequence[int],
    preprocessing: Preprocessing,
    num_classes: int,
    precision: Precision,
) -> list[np.ndarray]:
    images = torch.stack([torch.from_numpy(np.array(cache.image(i))) for i in batch])
    images = images.to(precision.device).permute(0, 3, 1, 2)
    height, width = images.shape[-2:]
    inputs = preprocessing.normalize(pad_image(images, round_up(height), round_up(width)))
    with torch.inference_mode(), precision.autocast():
        logits = forward(inputs.contiguous(memory_format=torch.channels_last))
    predicted = logits[..., :height, :width].argmax(1)
    masks = torch.stack([torch.from_numpy(np.array(cache.mask(i))) for i in batch])
    true = masks.to(precision.device).long()
    # One count on the device, one transfer: ignored pixels go to a bin that is cut off.
    cells = num_classes * num_classes
    index = torch.where(true == IGNORE_INDEX, cells, true * num_classes + predicted)
    index += torch.arange(len(batch), device=index.device)[:, None, None] * (cells + 1)
    counts = torch.bincount(index.flatten(), minlength=len(batch) * (cells + 1))
    counts = counts.view(len(batch), cells + 1)[:, :cells]
    return list(counts.view(-1, num_classes, num_classes).cpu().numpy())


def _tiled(
    forward: Callable[[torch.Tensor], torch.Tensor],
    cache: Cache,
    i: int,
    preprocessing: Preprocessing,
    num_classes: int,
    precision: Precision,
) -> np.ndarray:
    as_it_is = Preprocessing(
        Geometry(window=preprocessing.geometry.window, scale=1.0),
        preprocessing.mean,
        preprocessing.std,
    )
    with precision.autocast():
        result = segment(forward, np.array(cache.image(i)), as_it_is, device=precision.device)
    return confusion_matrix(np.array(cache.mask(i)), result.mask, num_classes)
