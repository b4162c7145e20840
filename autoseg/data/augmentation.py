"""Augmentation of whole batches on their device: one resampling, one colour matrix."""

import math
from dataclasses import dataclass

import torch

from autoseg.config import IGNORE_INDEX, AugmentationName, FlipName
from autoseg.preprocessing import to_device


@dataclass(frozen=True)
class Strength:
    """How far augmentation goes; every amount is drawn per image."""

    rotation_deg: float = 0.0
    """Rotation in [-r, r], in degrees."""
    log_scale: float = 0.0
    """Zoom by exp(s) with s in [-log_scale, log_scale]."""
    brightness: float = 0.0
    """Additive, as a share of the full range."""
    contrast: float = 0.0
    """Factor in [1 - c, 1 + c]; the saturation's too."""
    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees where images have no up."""
    noise: float = 0.0
    """Largest standard deviation of Gaussian noise, as a share of the full range."""
    grey_share: float = 0.0
    """Share of images that lose their colour."""


STRENGTHS: dict[AugmentationName, Strength] = {
    "none": Strength(),
    "light": Strength(brightness=0.05, contrast=0.1),
    "medium": Strength(rotation_deg=15, log_scale=0.25, brightness=0.1, contrast=0.2),
    "strong": Strength(
        rotation_deg=30,
        log_scale=0.4,
        brightness=0.2,
        contrast=0.4,
        quarter_turns=True,
        noise=0.04,
        grey_share=0.1,
    ),
}

# ITU-R BT.601 luma.
_LUMA = (0.299, 0.587, 0.114)


class Augmenter:
    """Draws and applies augmentations; the same seed draws the same ones on every device.

    Pixel noise alone is drawn on the device, and differs between devices.
    """

    def __init__(self, strength: AugmentationName, flip: FlipName, seed: int) -> None:
        self.strength = STRENGTHS[strength]
        self.flip = flip
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self._noise_generator: torch.Generator | None = None

    def __call__(
        self, images: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment a batch.

        Args:
            images: (N, 3, h, w) uint8.
            masks: (N, h, w) uint8.

        Returns:
            Images (N, 3, h, w) float32 in [0, 255] and masks (N, h, w) uint8, where what comes
            from outside the image is `IGNORE_INDEX`.
        """
        floats = images.float()
        if self.strength.rotation_deg or self.strength.log_scale:
            floats, masks = self._warp(floats, masks)
        else:
            floats, masks = self._mirror(floats, masks)
        return self._recolor(floats), masks

    def _uniform(self, *shape: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=self._generator) * (high - low) + low

    def _signs(self, count: int, allowed: bool) -> torch.Tensor:
        """-1 or 1 per image; drawn even where no flip is allowed, so that draws stay aligned."""
        signs = torch.where(self._uniform(count) < 0, -1.0, 1.0)
        return signs if allowed else torch.ones(count)

    def _mirror(
        self, images: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        across = to_device(self._signs(len(images), self.flip != "none"), images.device) < 0
        down = to_device(self._signs(len(images), self.flip == "both"), images.device) < 0
        for chosen, axis in ((across, -1), (down, -2)):
            images = torch.where(chosen[:, None, None, None], images.flip(axis), images)
            masks = torch.where(chosen[:, None, None], masks.flip(axis), masks)
        return images, masks

    def _warp(self, images: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        count, _, height, width = images.shape
        angle = self._uniform(count) * math.radians(self.strength.rotation_deg)
        quarter_turns = torch.randint(0, 4, (count,), generator=self._generator)
        if self.flip == "both" and self.strength.quarter_turns:
            angle = angle + quarter_turns * (math.pi / 2)
        zoom = torch.exp(-self._uniform(count) * self.strength.log_scale)
        across = self._signs(count, self.flip != "none")
        down = self._signs(count, self.flip == "both")
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        # In pixels the map is a rotation; in grid_sample's [-1, 1] the aspect enters.
        aspect = width / height
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = cos * across, -sin / aspect * down
        theta[:, 1, 0], theta[:, 1, 1] = sin * aspect * across, cos * down
        grid = torch.nn.functional.affine_grid(
            to_device(theta, images.device),
            [count, 1, height, width],
            align_corners=False,
        )
        warped = torch.nn.functional.grid_sample(
            images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        # Outside is 0 after the shift, and 0 - 1 wraps to 255 in uint8.
        shifted = masks[:, None].float() + 1
        shifted = torch.where(masks[:, None] == IGNORE_INDEX, 0.0, shifted)
        moved = torch.nn.functional.grid_sample(
            shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False
        )
        return warped, moved[:, 0].to(torch.int16).sub(1).to(torch.uint8)

    def _recolor(self, images: torch.Tensor) -> torch.Tensor:
        amount = self.strength
        if not (amount.brightness or amount.contrast):
            return images
        count = len(images)
        contrast = 1 + self._uniform(count, 1, 1) * amount.contrast
        saturation = 1 + self._uniform(count, 1, 1) * amount.contrast
        if amount.grey_share:
            colored = self._uniform(count, 1, 1, low=0, high=1) >= amount.grey_share
            saturation = saturation * colored
        brightness = self._uniform(count, 1, 1) * amount.brightness * 255
        luma = torch.tensor(_LUMA).expand(3, 3)
        matrix = contrast * (saturation * torch.eye(3) + (1 - saturation) * luma)
        # Contrast turns around mid-grey, so that it does not brighten.
        offset = brightness + (1 - contrast) * 127.5
        mixed = torch.baddbmm(
            to_device(offset, images.device), to_device(matrix, images.device), images.flatten(2)
        ).view(images.shape)
        if amount.noise:
            deviation = self._uniform(count, 1, 1, 1, low=0, high=1) * amount.noise * 255
            mixed = mixed + self._noise(mixed) * to_device(deviation, images.device)
        return mixed.clamp_(0, 255)

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal noise of the shape of `like`, on its device."""
        if self._noise_generator is None:
            self._noise_generator = torch.Generator(like.device).manual_seed(self._seed)
        return torch.randn(like.shape, generator=self._noise_generator, device=like.device)
