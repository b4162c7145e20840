"""Windows cut from the cache, straight to the device."""

from collections.abc import Sequence

import numpy as np
import torch

from autoseg.config import IGNORE_INDEX
from autoseg.data.cache import Cache
from autoseg.data.images import histogram
from autoseg.preprocessing import pad_image, pad_mask, to_device

RARE_SHARE = 1 / 3
"""Share of windows centred on a class other than the image's largest (nnU-Net's rule)."""


class Windows:
    """Random windows of the cached images, with the pixels resident on the device.

    On the CPU the pixels stay memory-mapped. On a GPU they are copied there once if they fit
    into `resident_bytes`, else window by window.
    """

    def __init__(
        self,
        cache: Cache,
        indices: Sequence[int],
        window: tuple[int, int],
        device: torch.device,
        seed: int,
        resident_bytes: int = 0,
    ) -> None:
        self.cache = cache
        self.indices = np.asarray(indices, dtype=np.int64)
        self.window = window
        self.device = device
        self._rng = np.random.default_rng(seed)
        self._order = np.empty(0, dtype=np.int64)
        self._images: dict[int, torch.Tensor] = {}
        self._masks: dict[int, torch.Tensor] = {}
        needed = sum(4 * int(np.prod(cache.shapes[i])) for i in self.indices)
        if device.type != "cpu" and needed <= resident_bytes:
            for i in self.indices.tolist():
                self._images[i] = torch.from_numpy(np.array(cache.image(i))).to(device)
                self._masks[i] = torch.from_numpy(np.array(cache.mask(i))).to(device)

    def __len__(self) -> int:
        return len(self.indices)

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next `count` windows; every image comes once before any comes again.

        Returns:
            Images (count, 3, h, w) uint8 and masks (count, h, w) uint8 on the device.
        """
        while len(self._order) < count:
            self._order = np.concatenate([self._order, self._rng.permutation(self.indices)])
        chosen, self._order = self._order[:count], self._order[count:]
        pairs = [self._cut(int(i)) for i in chosen]
        images = torch.stack([image for image, _ in pairs]).permute(0, 3, 1, 2)
        masks = torch.stack([mask for _, mask in pairs])
        return to_device(images, self.device), to_device(masks, self.device)

    def _cut(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One window of image i: (h, w, 3) and (h, w), padded where the image is smaller."""
        height, width = self.window
        top, left = self._corner(i)
        area = np.s_[top : top + height, left : left + width]
        if i in self._images:
            image, mask = self._images[i][area], self._masks[i][area]
        else:
            image = torch.from_numpy(np.array(self.cache.image(i)[area]))
            mask = torch.from_numpy(np.array(self.cache.mask(i)[area]))
        if tuple(mask.shape) != self.window:
            image = pad_image(image.permute(2, 0, 1), height, width).permute(1, 2, 0)
            mask = pad_mask(mask, height, width)
        return image, mask

    def _corner(self, i: int) -> tuple[int, int]:
        """Top left pixel of a window: anywhere, or such that a rarer class is in it."""
        shape = self.cache.shapes[i]
        room = [max(0, int(side) - part) for side, part in zip(shape, self.window, strict=True)]
        corner = [int(self._rng.integers(0, free + 1)) for free in room]
        if any(room) and self._rng.random() < RARE_SHARE:
            mask = self.cache.mask(i)
            counts = histogram(mask)
            counts[IGNORE_INDEX] = 0
            rarer = np.flatnonzero(counts)
            rarer = rarer[rarer != counts.argmax()]
            if len(rarer):
                pixels = np.flatnonzero(mask == int(self._rng.choice(rarer)))
                center = np.unravel_index(int(self._rng.choice(pixels)), mask.shape)
                for axis in (0, 1):
                    start = int(center[axis]) - int(self._rng.integers(0, self.window[axis]))
                    corner[axis] = min(max(start, 0), room[axis])
        return corner[0], corner[1]
