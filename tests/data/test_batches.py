from collections import Counter

import numpy as np
import pytest
import torch

from autoseg.config import Geometry
from autoseg.data.batches import RARE_SHARE, Windows
from autoseg.data.cache import Cache, build_cache
from autoseg.data.dataset import check_dataset

CPU = torch.device("cpu")


@pytest.fixture
def make_cache(write_set, tmp_path):
    """A cache of given masks, at their own size."""

    def make(masks: list[np.ndarray]) -> Cache:
        dataset = check_dataset(write_set(masks, classes="a\nb\nc\n"))
        return build_cache(dataset, Geometry(window=(32, 32), scale=1.0), tmp_path / "cache")

    return make


def halves(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 1
    mask[: height // 4] = 2
    return mask


def test_every_image_comes_once_before_any_comes_again(make_cache):
    cache = make_cache([halves(32, 32) for _ in range(7)])
    windows = Windows(cache, [0, 2, 3, 4, 6], (32, 32), CPU, seed=0)
    originals = {k: torch.from_numpy(np.array(cache.image(k))).permute(2, 0, 1) for k in range(7)}
    drawn = []
    for _ in range(10):
        for image in windows.draw(2)[0]:
            drawn += [k for k, original in originals.items() if torch.equal(image, original)]
    assert len(drawn) == 20
    for start in range(0, 20, 5):
        assert sorted(drawn[start : start + 5]) == [0, 2, 3, 4, 6]
    assert drawn[:5] != drawn[5:10] or drawn[5:10] != drawn[10:15]


def test_windows_are_parts_of_their_images(make_cache):
    cache = make_cache([halves(40, 48) for _ in range(5)])
    windows = Windows(cache, range(5), (32, 32), CPU, seed=1)
    images, masks = windows.draw(60)
    assert images.shape == (60, 3, 32, 32) and masks.shape == (60, 32, 32)
    assert images.dtype == masks.dtype == torch.uint8
    corners = Counter()
    for image, mask in zip(images, masks, strict=True):
        found = [
            (top, left)
            for k in range(5)
            for top in range(9)
            for left in range(17)
            if np.array_equal(
                cache.image(k)[top : top + 32, left : left + 32], image.permute(1, 2, 0).numpy()
            )
            and np.array_equal(cache.mask(k)[top : top + 32, left : left + 32], mask.numpy())
        ]
        assert len(found) == 1
        corners.update(found)
    tops, lefts = zip(*corners, strict=True)
    assert {min(tops), max(tops)} == {0, 8} and {min(lefts), max(lefts)} == {0, 16}


def test_small_images_are_padded_with_ignored_pixels(make_cache):
    cache = make_cache([halves(20, 50 if k else 24) for k in range(5)])
    images, masks = Windows(cache, [0, 1], (32, 32), CPU, seed=0).draw(8)
    assert (masks[:, 20:] == 255).all() and (masks[:, :20, :24] != 255).all()
    # The image's edge goes on, so that no false border appears.
    assert torch.equal(images[:, :, 20:], images[:, :, 19:20].expand(-1, -1, 12, -1))


def test_the_same_seed_draws_the_same_windows(make_cache):
    cache = make_cache([halves(40, 48) for _ in range(5)])
    draws = [Windows(cache, range(5), (32, 32), CPU, seed=s).draw(9)[0] for s in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_rare_classes_are_in_more_windows_than_chance_puts_there(make_cache):
    """A speck of one pixel: a window that knows nothing of it holds it in 1 case of 9 or so."""
    masks = []
    for k in range(5):
        mask = np.zeros((96, 96), np.uint8)
        mask[10 + 15 * k, 80 - 15 * k] = 1
        mask[0, 0] = 2 if k == 0 else 0
        masks.append(mask)
    cache = make_cache(masks)
    windows = Windows(cache, range(1, 5), (32, 32), CPU, seed=0)
    _, drawn = windows.draw(800)
    share = float((drawn == 1).flatten(1).any(1).float().mean())
    by_chance = np.mean(
        [
            min(1, (min(r, 64) - max(r - 31, 0) + 1) / 65)
            * min(1, (min(c, 64) - max(c - 31, 0) + 1) / 65)
            for r, c in (np.argwhere(m == 1)[0] for m in masks[1:])
        ]
    )
    assert share == pytest.approx(RARE_SHARE + (1 - RARE_SHARE) * by_chance, abs=0.06)
    assert share > 1.3 * by_chance


def test_one_class_and_ignored_pixels_alone_can_be_drawn(make_cache):
    masks = [halves(40, 40) for _ in range(6)]
    masks[0][:] = 255
    masks[1][:] = 0
    cache = make_cache(masks)
    _, drawn = Windows(cache, [0, 1], (32, 32), CPU, seed=0).draw(20)
    assert set(drawn.unique().tolist()) == {0, 255}
