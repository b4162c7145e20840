"""Images as tensors: normalising and padding, as training and predictor share them.

Resizing stands in `resizing`, which worker processes import without torch.
"""

from dataclasses import dataclass, replace

import torch

from autoseg.config import IGNORE_INDEX, WINDOW_MULTIPLE, Geometry


@dataclass(frozen=True)
class Preprocessing:
    """Everything between a decoded image and the network."""

    geometry: Geometry
    """How images are resized."""
    mean: tuple[float, float, float]
    """Per channel, of images in [0, 1], as the encoder was pretrained with."""
    std: tuple[float, float, float]
    """Per channel, of images in [0, 1], as the encoder was pretrained with."""

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, h, w) uint8 -> float32, standardised as in pretraining, same device."""
        mean, std = (
            to_device(torch.tensor(values).mul(255).view(1, 3, 1, 1), images.device)
            for values in (self.mean, self.std)
        )
        # In place: fresh memory costs a CPU more than the arithmetic.
        return images.to(torch.float32, copy=True).sub_(mean).div_(std)

    def without_resizing(self) -> "Preprocessing":
        """The same for images of the cache, which have their working size already."""
        return replace(self, geometry=Geometry(window=self.geometry.window, scale=1.0))


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on the device; the host does not wait for what the GPU is still at."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        # Only from pinned memory is a copy asynchronous; elsewhere `non_blocking` is unsafe.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def pad_image(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pad (..., h, w) at the bottom and right to at least that shape, repeating the edge."""
    pad = (0, max(0, width - image.shape[-1]), 0, max(0, height - image.shape[-2]))
    if not any(pad):
        return image
    # `replicate` wants 3 or 4 dimensions and, on the CPU, floats; indexing has neither wish.
    rows = torch.arange(image.shape[-2] + pad[3], device=image.device)
    columns = torch.arange(image.shape[-1] + pad[1], device=image.device)
    rows = rows.clamp_(max=image.shape[-2] - 1)
    columns = columns.clamp_(max=image.shape[-1] - 1)
    return image[..., rows[:, None], columns[None, :]]


def pad_mask(mask: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pad (..., h, w) at the bottom and right to at least that shape with `IGNORE_INDEX`."""
    pad = (0, max(0, width - mask.shape[-1]), 0, max(0, height - mask.shape[-2]))
    return torch.nn.functional.pad(mask, pad, value=IGNORE_INDEX) if any(pad) else mask


def round_up(side: int, multiple: int = WINDOW_MULTIPLE) -> int:
    """The smallest multiple that is not below `side`, in pixels."""
    return -(-side // multiple) * multiple
