"""Images and masks that tests of the data package draw."""

from collections.abc import Sequence

import numpy as np
from PIL import Image


def photo(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A photo-like image (H, W, 3) uint8 that resembles no other seed's."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def blocks(values: Sequence[int], height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """A mask (H, W) uint8 whose vertical stripes hold the values in turn."""
    stripes = np.repeat(np.asarray(values), -(-width // len(values)))[:width]
    return np.ascontiguousarray(np.broadcast_to(np.roll(stripes, seed), (height, width)), np.uint8)
