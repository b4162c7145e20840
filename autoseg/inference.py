"""One image through a network: tiles with blended seams, back at the image's own size.

Memory does not grow with the image beyond the mask and the confidence: tile rows are blended,
resampled and reduced to a class per pixel as they come.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from autoseg.preprocessing import Preprocessing, pad_image, round_up
from autoseg.resizing import resize_image

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, 3, h, w) float32, standardised -> logits (N, K, h, w)."""

MAX_TILE_SIDE = 1024
"""Larger tiles waste less on seams and take more memory, in pixels."""

MAX_WHOLE_PIXELS = 1536 * 1024
"""Images up to this size are not cut at all, at working size."""

MIN_TILE_SIDE = 256
"""Tiles do not get lower than this to save memory, in pixels."""

OVERLAP_SHARE = 0.125
"""Share of a tile's side that it shares with the next tile."""

_BAND_BYTES = 256 * 2**20
"""Memory for one row of tiles, all classes; a few copies of it are alive at once."""

_CHUNK_VALUES = 4_000_000
"""Probabilities resampled at once; 16 MB in float32."""

_WHOLE_VALUES = 16_000_000
"""Probabilities up to which an image is resampled in one call, which is faster; 64 MB."""


@dataclass(frozen=True)
class Segmentation:
    """What the network says of one image."""

    mask: np.ndarray
    """(H, W) uint8, the class of each pixel."""
    confidence: np.ndarray
    """(H, W) float16 in [0, 1], the probability of that class."""
    probabilities: np.ndarray | None = None
    """(K, H, W) float16, where asked for."""


def segment(
    forward: Forward,
    image: np.ndarray,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    tile: tuple[int, int] | None = None,
    flip: bool = False,
    with_probabilities: bool = False,
    raw: bool = False,
) -> Segmentation:
    """Predict the class of every pixel of one image.

    Args:
        forward: The network.
        image: (H, W, 3) uint8.
        preprocessing: Resizing and standardisation.
        device: Where `forward` wants its input.
        tile: Largest input (height, width), multiples of 32; None: the whole image up to
            `MAX_WHOLE_PIXELS`, else `MAX_TILE_SIDE` squared or the training window, whichever
            is larger.
        flip: Average with the prediction of the mirrored image (test-time augmentation).
        with_probabilities: Keep the probabilities of all classes: K times the memory.
        raw: `forward` takes uint8 as it is and standardises it itself.

    Returns:
        The segmentation at the image's own size.
    """
    resized = torch.from_numpy(np.array(resize_image(image, preprocessing.geometry)))
    pixels = resized.permute(2, 0, 1)[None]
    if tile is None:
        window = preprocessing.geometry.window
        height, width = resized.shape[:2]
        if height * width <= MAX_WHOLE_PIXELS:
            tile = (height, width)
        else:
            tile = (max(MAX_TILE_SIDE, window[0]), max(MAX_TILE_SIDE, window[1]))

    def probabilities_of(part: torch.Tensor) -> torch.Tensor:
        """Part (1, 3, h, w) uint8 -> probabilities (K, h, w) float32."""
        height, width = part.shape[-2:]
        padded = pad_image(part, round_up(height), round_up(width)).to(device)
        inputs = padded if raw else preprocessing.normalize(padded)
        probabilities = forward(inputs).float().softmax(1)
        if flip:
            mirrored = forward(inputs.flip(-1)).float().softmax(1).flip(-1)
            probabilities = (probabilities + mirrored) / 2
        return probabilities[0, :, :height, :width]

    with torch.inference_mode():
        bands = _blended_bands(probabilities_of, pixels, tile)
        return _reduce(bands, resized.shape[:2], image.shape[:2], with_probabilities)


def _starts(length: int, tile: int) -> list[int]:
    """First pixels of evenly spread tiles that cover `length` and overlap by the share."""
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - OVERLAP_SHARE)))
    count = -(-(length - tile) // step) + 1
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]


def _ramp(start: int, end: int, length: int, overlap: int) -> torch.Tensor:
    """Weights along one side of a tile: rising from an inner start, falling to an inner end."""
    position = torch.arange(end - start, dtype=torch.float32)
    weights = torch.ones(end - start)
    if start > 0:
        weights = torch.minimum(weights, (position + 1) / overlap)
    if end < length:
        weights = torch.minimum(weights, (end - start - position) / overlap)
    return weights


def _affordable_height(
    probabilities_of: Callable[[torch.Tensor], torch.Tensor],
    pixels: torch.Tensor,
    tile: tuple[int, int],
) -> int:
    """Height of a tile such that a row of tiles fits into `_BAND_BYTES` with all its classes."""
    if tile[0] <= MIN_TILE_SIDE:
        return tile[0]
    classes = len(probabilities_of(pixels[:, :, :MIN_TILE_SIDE, :MIN_TILE_SIDE]))
    rows = _BAND_BYTES // (4 * (classes + 1) * pixels.shape[-1])
    return min(tile[0], max(MIN_TILE_SIDE, rows // 32 * 32))


def _blended_bands(
    probabilities_of: Callable[[torch.Tensor], torch.Tensor],
    pixels: torch.Tensor,
    tile: tuple[int, int],
) -> Iterator[torch.Tensor]:
    """Yield probabilities (K, rows, w) from top to bottom, seams blended."""
    height, width = pixels.shape[-2:]
    tops, lefts = _starts(height, tile[0]), _starts(width, tile[1])
    if len(tops) == len(lefts) == 1:
        yield probabilities_of(pixels)
        return
    tile = (_affordable_height(probabilities_of, pixels, tile), tile[1])
    tops = _starts(height, tile[0])
    overlaps = [max(1, int(side * OVERLAP_SHARE)) for side in tile]
    pending: torch.Tensor | None = None  # weighted sums of the last tile row, (K + 1, rows, w)
    pending_top = 0
    for k, top in enumerate(tops):
        bottom = min(top + tile[0], height)
        rows: torch.Tensor | None = None
        for left in lefts:
            right = min(left + tile[1], width)
            part = probabilities_of(pixels[:, :, top:bottom, left:right])
            weights = torch.outer(
                _ramp(top, bottom, height, overlaps[0]), _ramp(left, right, width, overlaps[1])
            ).to(part.device)
            if rows is None:
                rows = part.new_zeros(len(part) + 1, bottom - top, width)
            rows[:-1, :, left:right] += part * weights
            rows[-1, :, left:right] += weights
        assert rows is not None
        if pending is not None:
            shared = pending_top + pending.shape[1] - top
            rows[:, :shared] += pending[:, pending.shape[1] - shared :]
        finished = (tops[k + 1] if k + 1 < len(tops) else bottom) - top
        yield rows[:-1, :finished] / rows[-1, :finished]
        pending, pending_top = rows[:, finished:].clone(), top + finished


def _reduce(
    bands: Iterator[torch.Tensor],
    source: tuple[int, ...],
    target: tuple[int, ...],
    with_probabilities: bool,
) -> Segmentation:
    """Resample bands of a (K, h, w) map to (K, H, W) and keep the best class of each pixel."""
    height, width = target
    mask = np.empty((height, width), dtype=np.uint8)
    confidence = np.empty((height, width), dtype=np.float16)
    kept: list[np.ndarray] = []
    done = 0
    for rows in _resampled_rows(bands, source, target):
        best, index = _best_class(rows)
        span = slice(done, done + rows.shape[1])
        mask[span] = index
        confidence[span] = best.half().cpu().numpy()
        if with_probabilities:
            kept.append(rows.half().cpu().numpy())
        done += rows.shape[1]
    assert done == height
    return Segmentation(mask, confidence, np.concatenate(kept, 1) if with_probabilities else None)


def _best_class(rows: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """Probabilities (K, h, w) -> the largest (h, w), and its first class (h, w) uint8.

    On a CPU torch's `max` over the first dimension looks at one value at a time. Comparing whole
    planes with the maximum takes a third of that.
    """
    if rows.device.type != "cpu":
        best, index = rows.max(0)
        return best, index.to(torch.uint8).cpu().numpy()
    best = rows.amax(0)
    planes, largest, last = rows.numpy(), best.numpy(), len(rows) - 1
    behind = np.zeros(best.shape, np.uint8)  # How many classes come after the best one.
    is_best = np.empty(best.shape, np.bool_)
    for k in range(last):
        np.equal(planes[k], largest, out=is_best)
        np.maximum(behind, is_best.view(np.uint8) * np.uint8(last - k), out=behind)
    return best, last - behind


def _resampled_rows(
    bands: Iterator[torch.Tensor], source: tuple[int, ...], target: tuple[int, ...]
) -> Iterator[torch.Tensor]:
    """Bilinear resampling (half-pixel centres) of rows that arrive in bands, in bounded memory."""
    (source_height, _), (height, width) = source, target
    if tuple(source) == tuple(target):
        yield from bands
        return
    position = (torch.arange(height, dtype=torch.float64) + 0.5) * source_height / height - 0.5
    position = position.clamp(0, source_height - 1)
    above = position.floor().long()
    below = (above + 1).clamp(max=source_height - 1)
    share = (position - above).float()
    buffer: torch.Tensor | None = None
    first = done = 0  # source row of buffer[:, 0]; target rows yielded
    for band in bands:
        if band.shape[1] == source_height and len(band) * height * width <= _WHOLE_VALUES:
            yield torch.nn.functional.interpolate(
                band[None], size=(height, width), mode="bilinear", align_corners=False
            )[0]
            return
        wide = torch.nn.functional.interpolate(
            band[None], size=(band.shape[1], width), mode="bilinear", align_corners=False
        )[0]
        buffer = wide if buffer is None else torch.cat([buffer, wide], 1)
        ready = int((below < first + buffer.shape[1]).sum())
        step = max(1, _CHUNK_VALUES // (buffer.shape[0] * width))
        while done < ready:
            rows = slice(done, min(done + step, ready))
            weight = share[rows].to(buffer.device)[:, None]
            upper = buffer[:, (above[rows] - first).to(buffer.device)]
            lower = buffer[:, (below[rows] - first).to(buffer.device)]
            yield torch.lerp(upper, lower, weight)
            done = rows.stop
        keep = (int(above[done]) if done < height else source_height) - first
        buffer, first = buffer[:, keep:], first + keep
