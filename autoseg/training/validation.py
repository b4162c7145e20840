"""Scoring a network on cached images, at working size."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from autoseg.config import IGNORE_INDEX, Geometry
from autoseg.data.batches import Pixels
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
    pixels: Pixels | None = None,
    tile: tuple[int, int] | None = None,
) -> np.ndarray:
    """Confusion matrix of each image at working size.

    Args:
        forward: Images (N, 3, h, w) float32, standardised -> logits (N, K, h, w).
        cache: The images and masks.
        indices: Images to score.
        preprocessing: Standardisation, and the training window.
        num_classes: K, background included.
        precision: Device and autocast.
        pixels: Where the images may be on the device already.
        tile: Largest input (height, width), as the network predicts with later; None: images too
            large for one pass are cut as `segment` does.

    Returns:
        (n, K, K) int64, [true, predicted], in the order of `indices`.
    """
    pixels = pixels or Pixels(cache, precision.device)
    largest = tile or _largest(preprocessing.geometry)
    shapes = [(int(height), int(width)) for height, width in cache.shapes[list(indices)]]
    matrices = np.empty((len(indices), num_classes, num_classes), dtype=np.int64)
    for batch in _batches(shapes, precision.device):
        shape, chosen = shapes[batch[0]], [indices[place] for place in batch]
        if shape[0] > largest[0] or shape[1] > largest[1]:
            matrices[batch] = [
                _tiled(forward, cache, i, preprocessing, num_classes, precision, tile)
                for i in chosen
            ]
        else:
            # Counting has waited for the device already, and with many classes many images' counts
            # are too large to be kept there.
            counts = _fitting(forward, pixels, chosen, preprocessing, num_classes, precision)
            matrices[batch] = counts.cpu().numpy()
    return matrices


def _largest(geometry: Geometry) -> tuple[int, int]:
    side = max(MAX_TILE_SIDE, 2 * max(geometry.window))
    return side, side


def _batches(shapes: Sequence[tuple[int, int]], device: torch.device) -> list[list[int]]:
    """Places of images of one shape, at most `_BATCH_PIXELS` together, the largest first.

    Nearly equal shapes are not padded to one: at its borders an image would score otherwise.
    """
    limit = _BATCH_PIXELS.get(device.type, _BATCH_PIXELS["cpu"])
    by_shape: dict[tuple[int, int], list[int]] = {}
    for place, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(place)
    batches: list[list[int]] = []
    # The memory that the largest take serves the others too.
    for shape in sorted(by_shape, key=math.prod, reverse=True):
        places, count = by_shape[shape], max(1, limit // math.prod(shape))
        batches += [places[first : first + count] for first in range(0, len(places), count)]
    return batches


def _fitting(
    forward: Callable[[torch.Tensor], torch.Tensor],
    pixels: Pixels,
    batch: Sequence[int],
    preprocessing: Preprocessing,
    num_classes: int,
    precision: Precision,
) -> torch.Tensor:
    """`_batched`; where memory runs out without the images that are kept, then in halves."""
    try:
        return _batched(forward, pixels, batch, preprocessing, num_classes, precision)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler: its traceback would keep the tensors of the failed pass.
    given_back = pixels.give_back()
    free_memory(precision.device)
    if given_back:
        return _fitting(forward, pixels, batch, preprocessing, num_classes, precision)
    if len(batch) == 1:
        raise TrainingError(
            "Memory ran out while one image was scored. Choose a smaller encoder or `max_side`, "
            "or close other programs that use the device."
        )
    middle = len(batch) // 2
    halves = (batch[:middle], batch[middle:])
    return torch.cat(
        [_fitting(forward, pixels, half, preprocessing, num_classes, precision) for half in halves]
    )


def _batched(
    forward: Callable[[torch.Tensor], torch.Tensor],
    pixels: Pixels,
    batch: Sequence[int],
    preprocessing: Preprocessing,
    num_classes: int,
    precision: Precision,
) -> torch.Tensor:
    """Counts (n, K, K) of images of one shape, on the device."""
    height, width = pixels.cache.shapes[batch[0]].tolist()
    images, masks = pixels.cut([(i, 0, 0) for i in batch], (height, width))
    inputs = preprocessing.normalize(pad_image(images, round_up(height), round_up(width)))
    with torch.inference_mode(), precision.autocast():
        logits = forward(inputs.contiguous(memory_format=torch.channels_last))
    predicted = logits[..., :height, :width].argmax(1)
    true = masks.long()
    # Ignored pixels go to a bin that is cut off.
    cells = num_classes * num_classes
    index = torch.where(true == IGNORE_INDEX, cells, true * num_classes + predicted)
    index += torch.arange(len(batch), device=index.device)[:, None, None] * (cells + 1)
    counts = torch.bincount(index.flatten(), minlength=len(batch) * (cells + 1))
    counts = counts.view(len(batch), cells + 1)[:, :cells]
    return counts.reshape(-1, num_classes, num_classes)


def _tiled(
    forward: Callable[[torch.Tensor], torch.Tensor],
    cache: Cache,
    i: int,
    preprocessing: Preprocessing,
    num_classes: int,
    precision: Precision,
    tile: tuple[int, int] | None,
) -> np.ndarray:
    image, as_it_is = np.array(cache.image(i)), preprocessing.without_resizing()
    with precision.autocast():
        result = segment(forward, image, as_it_is, device=precision.device, tile=tile)
    return confusion_matrix(np.array(cache.mask(i)), result.mask, num_classes)
