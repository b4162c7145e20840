"""Images and masks to working size. Free of torch, so that worker processes start in no time."""

import numpy as np
from PIL import Image

from autoseg.config import Geometry


def resize_image(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Image (H, W, 3) uint8 -> (h, w, 3) uint8 at working size, bilinear with antialiasing."""
    height, width = geometry.resized_shape(*image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_mask(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Mask (H, W) uint8 -> (h, w) uint8 at working size; the nearest pixel's class."""
    height, width = geometry.resized_shape(*mask.shape)
    if (height, width) == mask.shape:
        return mask
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized)
