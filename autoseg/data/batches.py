"""Windows cut from the cache, straight to the device."""

from collections.abc import Sequence

import numpy as np
import torch

from autoseg.config import IGNORE_INDEX
from autoseg.data.cache import Cache
from autoseg.data.images import histogram
from autoseg.preprocessing import pad_image, pad_mask

RARE_SHARE = 1 / 3
"""Share of windows centred on a class other than the image's largest (nnU-Net's rule)."""

REMEMBERED_PIXELS = 100
"""Pixels of each rarer class of an image that windows may be centred on; windows are shifted at
random around them, so that more would hardly differ."""

Place = tuple[int, int, int]
"""Image, top and left of a window, in pixels."""


class Pixels:
    """Images and masks that batches are cut from; the trials of a search share them.

    On a CPU they stay memory-mapped. On a GPU they are copied there once, if they fit into
    `max_bytes`, else batch by batch.

    Args:
        cache: The images and masks.
        device: Where batches are wanted.
        max_bytes: Memory of the device that images may be kept in; 0 keeps none.
        window: Height and width of the windows that will be cut, in pixels: images that are kept
            are padded to it once.
    """

    def __init__(
        self,
        cache: Cache,
        device: torch.device,
        max_bytes: int = 0,
        window: tuple[int, int] = (1, 1),
    ) -> None:
        self.cache = cache
        self.device = device
        self.max_bytes = max_bytes
        self._window = window
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._rarer: dict[int, list[np.ndarray]] = {}

    @property
    def kept_bytes(self) -> int:
        """Memory of the device that is used for images and masks."""
        return sum(image.nbytes + mask.nbytes for image, mask in self._kept.values())

    def keep(self, indices: Sequence[int]) -> None:
        """Copy images and masks to the device unless they are there: all of them, or none."""
        missing = [i for i in indices if i not in self._kept]
        needed = sum(4 * int(np.prod(self._padded_shape(i))) for i in missing)
        if not missing or self.kept_bytes + needed > self.max_bytes:
            return
        for i in missing:
            height, width = self._padded_shape(i)
            image = torch.from_numpy(np.array(self.cache.image(i))).permute(2, 0, 1)
            mask = torch.from_numpy(np.array(self.cache.mask(i)))
            # Padded once, so that every window is a mere slice.
            image = pad_image(image, height, width).permute(1, 2, 0).contiguous()
            mask = pad_mask(mask, height, width)
            self._kept[i] = image.to(self.device), mask.to(self.device)

    def give_back(self) -> bool:
        """Keep nothing on the device from now on; False if nothing was kept."""
        kept, self.max_bytes = bool(self._kept), 0
        self._kept.clear()
        return kept

    def cut(
        self, places: Sequence[Place], shape: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts of one shape (h, w) from images, padded where an image ends.

        Returns:
            Images (n, 3, h, w) uint8, channels last, and masks (n, h, w) uint8 on the device.
        """
        cut = self._sliced if all(self._holds(place, shape) for place in places) else self._copied
        images, masks = cut(places, shape)
        return images.permute(0, 3, 1, 2), masks

    def rarer(self, i: int) -> list[np.ndarray]:
        """Where the classes of image i are, the largest left out: up to `REMEMBERED_PIXELS`
        pixels of each at random, as indices into the flat mask.

        Looked up once: reading whole masks for a third of all windows took a quarter of their time,
        and on a GPU, which has the pixels, nearly all of it.
        """
        if i not in self._rarer:
            mask = self.cache.mask(i).reshape(-1)
            counts = histogram(self.cache.mask(i))
            counts[IGNORE_INDEX] = 0
            rng = np.random.default_rng(i)
            self._rarer[i] = [
                _sample(np.flatnonzero(mask == value), rng)
                for value in np.flatnonzero(counts)
                if value != counts.argmax()
            ]
        return self._rarer[i]

    def _padded_shape(self, i: int) -> tuple[int, int]:
        """Height and width of an image that holds at least one window."""
        height, width = self.cache.shapes[i].tolist()
        return max(height, self._window[0]), max(width, self._window[1])

    def _holds(self, place: Place, shape: tuple[int, int]) -> bool:
        """Whether that part is on the device."""
        i, top, left = place
        if i not in self._kept:
            return False
        height, width = self._kept[i][1].shape
        return bool(top + shape[0] <= height and left + shape[1] <= width)

    def _sliced(
        self, places: Sequence[Place], shape: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts of kept images: (n, h, w, 3) and (n, h, w)."""
        height, width = shape
        spans = [
            (self._kept[i], np.s_[top : top + height, left : left + width])
            for i, top, left in places
        ]
        images = torch.stack([image[span] for (image, _), span in spans])
        return images, torch.stack([mask[span] for (_, mask), span in spans])

    def _copied(
        self, places: Sequence[Place], shape: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts of mapped images: (n, h, w, 3) and (n, h, w)."""
        height, width = shape
        # Only from pinned memory is a copy asynchronous. torch keeps pinned blocks of each size, so
        # whole images, of many sizes, are copied from plain memory.
        pinned = self.device.type == "cuda" and shape == self._window
        images = torch.empty(len(places), height, width, 3, dtype=torch.uint8, pin_memory=pinned)
        masks = torch.empty(len(places), height, width, dtype=torch.uint8, pin_memory=pinned)
        for k, (i, top, left) in enumerate(places):
            area = np.s_[top : top + height, left : left + width]
            part, classes = self.cache.image(i)[area], self.cache.mask(i)[area]
            high, wide = classes.shape
            image, mask = images[k].numpy(), masks[k].numpy()
            image[:high, :wide], mask[:high, :wide] = part, classes
            # The image's edge goes on, so that no false border appears.
            image[:high, wide:], mask[:high, wide:] = part[:, -1:], IGNORE_INDEX
            image[high:], mask[high:] = image[high - 1], IGNORE_INDEX
        return (
            images.to(self.device, non_blocking=pinned),
            masks.to(self.device, non_blocking=pinned),
        )


class Windows:
    """Random windows of some images of a cache.

    Args:
        pixels: What they are cut from.
        indices: The images.
        window: Height and width, in pixels.
        seed: Of the order of images and the places of windows.
    """

    def __init__(
        self, pixels: Pixels, indices: Sequence[int], window: tuple[int, int], seed: int
    ) -> None:
        self.pixels = pixels
        self.window = window
        self.indices = np.asarray(indices, dtype=np.int64)
        self._rng = np.random.default_rng(seed)
        self._order = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next `count` windows; every image comes once before any comes again.

        Returns:
            Images (count, 3, h, w) uint8 and masks (count, h, w) uint8 on the device.
        """
        while len(self._order) < count:
            self._order = np.concatenate([self._order, self._rng.permutation(self.indices)])
        chosen, self._order = self._order[:count].tolist(), self._order[count:]
        return self.pixels.cut([(i, *self._corner(i)) for i in chosen], self.window)

    def _corner(self, i: int) -> tuple[int, int]:
        """Top left pixel of a window: anywhere, or such that a rarer class is in it."""
        shape = self.pixels.cache.shapes[i].tolist()
        room = [max(0, side - part) for side, part in zip(shape, self.window, strict=True)]
        corner = [int(self._rng.integers(0, free + 1)) for free in room]
        if any(room) and self._rng.random() < RARE_SHARE:
            rarer = self.pixels.rarer(i)
            if rarer:
                places = rarer[int(self._rng.integers(len(rarer)))]
                center = divmod(int(places[self._rng.integers(len(places))]), shape[1])
                for axis in (0, 1):
                    start = center[axis] - int(self._rng.integers(0, self.window[axis]))
                    corner[axis] = min(max(start, 0), room[axis])
        return corner[0], corner[1]


def _sample(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`REMEMBERED_PIXELS` of some pixels, drawn evenly; all of them where there are fewer."""
    if len(pixels) > REMEMBERED_PIXELS:
        pixels = pixels[rng.integers(0, len(pixels), REMEMBERED_PIXELS)]
    return pixels.astype(np.int32)
