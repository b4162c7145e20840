from collections import Counter

import numpy as np
import pytest
import torch

from autoseg.config import Geometry
from autoseg.data.batches import RARE_SHARE, REMEMBERED_PIXELS, Pixels, Windows
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
    windows = Windows(Pixels(cache, CPU), [0, 2, 3, 4, 6], (32, 32), seed=0)
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
    windows = Windows(Pixels(cache, CPU), range(5), (32, 32), seed=1)
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
    images, masks = Windows(Pixels(cache, CPU), [0, 1], (32, 32), seed=0).draw(8)
    assert (masks[:, 20:] == 255).all() and (masks[:, :20, :24] != 255).all()
    # The image's edge goes on, so that no false border appears.
    assert torch.equal(images[:, :, 20:], images[:, :, 19:20].expand(-1, -1, 12, -1))


def test_the_same_seed_draws_the_same_windows(make_cache):
    cache = make_cache([halves(40, 48) for _ in range(5)])
    draws = [Windows(Pixels(cache, CPU), range(5), (32, 32), seed=s).draw(9)[0] for s in (3, 3, 4)]
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
    windows = Windows(Pixels(cache, CPU), range(1, 5), (32, 32), seed=0)
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
    _, drawn = Windows(Pixels(cache, CPU), [0, 1], (32, 32), seed=0).draw(20)
    assert set(drawn.unique().tolist()) == {0, 255}


def sizes(*shapes: tuple[int, int]) -> list[np.ndarray]:
    return [halves(height, width) for height, width in shapes]


MIXED = [(40, 48), (20, 50), (24, 24), (64, 33), (32, 32)]


def test_images_kept_on_the_device_give_the_windows_of_mapped_ones(make_cache):
    cache = make_cache(sizes(*MIXED))
    kept = Pixels(cache, CPU, max_bytes=2**20, window=(32, 32))
    kept.keep(range(5))
    assert kept.kept_bytes == 4 * (40 * 48 + 32 * 50 + 32 * 32 + 64 * 33 + 32 * 32)
    draws = [Windows(p, range(5), (32, 32), 0).draw(40) for p in (kept, Pixels(cache, CPU))]
    for one, other in zip(*draws, strict=True):
        assert torch.equal(one, other) and one.stride() == other.stride()


def test_images_are_kept_all_or_none_and_within_the_limit(make_cache):
    cache = make_cache(sizes(*[(32, 32)] * 6))
    pixels = Pixels(cache, CPU, max_bytes=4 * 4 * 32 * 32)
    pixels.keep([0, 1, 2, 3, 4])
    assert pixels.kept_bytes == 0
    pixels.keep([0, 1, 2])
    assert pixels.kept_bytes == 3 * 4 * 32 * 32
    pixels.keep([2, 3, 4])  # Two more are one too many.
    assert pixels.kept_bytes == 3 * 4 * 32 * 32
    pixels.keep([0, 3])
    assert pixels.kept_bytes == 4 * 4 * 32 * 32


def test_images_on_the_device_are_copied_there_once(make_cache):
    pixels = Pixels(make_cache(sizes(*MIXED)), CPU, max_bytes=2**20)
    pixels.keep([0, 1, 2])
    before = {i: image.data_ptr() for i, (image, _) in pixels._kept.items()}
    pixels.keep([2, 1, 3])
    assert {i: image.data_ptr() for i, (image, _) in pixels._kept.items() if i != 3} == before


def test_what_was_given_back_is_kept_no_more_and_windows_go_on(make_cache):
    cache = make_cache(sizes(*MIXED))
    pixels = Pixels(cache, CPU, max_bytes=2**20, window=(32, 32))
    assert not pixels.give_back()
    pixels = Pixels(cache, CPU, max_bytes=2**20, window=(32, 32))
    pixels.keep(range(5))
    windows, others = (Windows(p, range(5), (32, 32), 0) for p in (pixels, Pixels(cache, CPU)))
    assert torch.equal(windows.draw(7)[0], others.draw(7)[0])
    assert pixels.give_back() and pixels.kept_bytes == 0
    pixels.keep(range(5))
    assert pixels.kept_bytes == 0
    assert torch.equal(windows.draw(7)[0], others.draw(7)[0])


@pytest.mark.parametrize("max_bytes", [0, 2**20])
def test_whole_images_of_one_shape_come_as_a_batch(make_cache, max_bytes):
    """Images that are kept are padded to a window; what is cut is their own part."""
    cache = make_cache(sizes((20, 24), (40, 48), (20, 24), (32, 32), (32, 32)))
    pixels = Pixels(cache, CPU, max_bytes, window=(32, 32))
    pixels.keep([0, 1, 2])
    images, masks = pixels.cut([(2, 0, 0), (0, 0, 0)], (20, 24))
    for image, mask, i in zip(images, masks, (2, 0), strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), cache.image(i))
        assert np.array_equal(mask.numpy(), cache.mask(i))


def test_remembered_pixels_are_of_each_rarer_class_and_spread_evenly(make_cache):
    big, speck = np.zeros((96, 96), np.uint8), np.zeros((96, 96), np.uint8)
    big[:, :40], speck[5, 7], speck[90] = 1, 1, 255
    cache = make_cache([big, speck, *sizes((32, 32), (32, 32), (32, 32))])
    pixels = Pixels(cache, CPU)
    (found,) = pixels.rarer(0)
    assert len(found) == REMEMBERED_PIXELS
    rows, columns = np.divmod(found, 96)
    assert columns.max() < 40
    # Standard deviations of means of 100 even draws: 2.8 and 1.2 pixels.
    assert rows.mean() == pytest.approx(47.5, abs=9) and columns.mean() == pytest.approx(
        19.5, abs=4
    )
    assert [place.tolist() for place in pixels.rarer(1)] == [[5 * 96 + 7]]
    np.testing.assert_array_equal(found, Pixels(cache, CPU).rarer(0)[0])
    for places in pixels.rarer(2):
        assert len(np.unique(cache.mask(2).reshape(-1)[places])) == 1
    assert len(pixels.rarer(2)) == 2
