import numpy as np
import pytest
import torch

from autoseg.data.augmentation import STRENGTHS, Augmenter

SIZE = (64, 96)
FLIPS = ("none", "horizontal", "both")


def blobs(count: int, seed: int = 0) -> torch.Tensor:
    """Masks (count, h, w) uint8 of large regions of classes 0 to 3."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 4, (count, 4, 4), dtype=np.uint8)
    return torch.from_numpy(coarse.repeat(16, axis=1).repeat(24, axis=2))


def painted(masks: torch.Tensor) -> torch.Tensor:
    """Images whose colour is the class of the pixel: 80 per class."""
    return (masks[:, None] * 80).expand(-1, 3, -1, -1).contiguous()


def moved_only(flip: str, seed: int = 0) -> Augmenter:
    """Strong in geometry, nothing else."""
    augmenter = Augmenter("none", flip, seed)
    strong = STRENGTHS["strong"]
    augmenter.strength = type(strong)(strong.rotation_deg, strong.log_scale)
    return augmenter


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_same_seed_gives_the_same(strength, flip):
    """The noise came from torch's global generator, so that it depended on what ran before."""
    masks = blobs(6)
    results = []
    for k in range(2):
        torch.manual_seed(k)
        augmenter = Augmenter(strength, flip, seed=3)
        augmenter(painted(masks), masks)
        results.append(augmenter(painted(masks), masks))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("strength", ["light", "medium", "strong"])
def test_other_seeds_and_other_batches_give_others(strength):
    masks = blobs(6)
    augmenter = Augmenter(strength, "horizontal", seed=3)
    first, second = (augmenter(painted(masks), masks)[0] for _ in range(2))
    other = Augmenter(strength, "horizontal", seed=4)(painted(masks), masks)[0]
    assert not torch.equal(first, second) and not torch.equal(first, other)


def test_none_changes_nothing():
    masks = blobs(4)
    images = torch.randint(0, 256, (4, 3, *SIZE), dtype=torch.uint8)
    changed, moved = Augmenter("none", "none", 0)(images, masks)
    assert torch.equal(changed, images.float()) and torch.equal(moved, masks)
    assert changed.dtype == torch.float32 and moved.dtype == torch.uint8


@pytest.mark.parametrize("flip", FLIPS)
def test_masks_move_with_their_images(flip):
    masks = blobs(64)
    images, moved = moved_only(flip)(painted(masks), masks)
    kept = moved != 255
    assert 0.3 < kept.float().mean() < 1
    # Along borders of regions the two resamplings differ, by at most a pixel.
    around = moved.unfold(1, 3, 1).unfold(2, 3, 1).flatten(3).float()
    inside = (around.amin(3) == around.amax(3)) & kept[:, 1:-1, 1:-1]
    assert inside.sum() > 0.5 * kept.sum()
    found = (images[:, 0] / 80)[:, 1:-1, 1:-1][inside]
    torch.testing.assert_close(found, moved[:, 1:-1, 1:-1][inside].float())
    assert (moved != masks).any()


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("strength", ["light", "strong"])
def test_ignored_pixels_stay_ignored(strength, flip):
    masks = torch.full((4, *SIZE), 255, dtype=torch.uint8)
    images = torch.zeros(4, 3, *SIZE, dtype=torch.uint8)
    assert (Augmenter(strength, flip, 0)(images, masks)[1] == 255).all()


def test_what_comes_from_outside_is_ignored():
    masks = torch.zeros(32, *SIZE, dtype=torch.uint8)
    images, moved = moved_only("none")(painted(masks + 1), masks)
    assert set(moved.unique().tolist()) == {0, 255}
    assert (moved[:, SIZE[0] // 2, SIZE[1] // 2] == 0).all()  # The centre stays inside.
    torch.testing.assert_close(images, torch.full_like(images, 80))  # Reflected, not black.


def left_right_images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A letter-like L of class 1: its mirror image is no rotation of it."""
    masks = torch.zeros(count, *SIZE, dtype=torch.uint8)
    masks[:, 16:48, 40:46] = 1
    masks[:, 42:48, 40:60] = 2
    return painted(masks), masks


def handedness(mask: torch.Tensor) -> float:
    """Sign of the turn from the long stroke to the short one."""
    rows, columns = torch.nonzero(mask == 1).float().T
    stem = torch.stack([rows.mean(), columns.mean()])
    rows, columns = torch.nonzero(mask == 2).float().T
    foot = torch.stack([rows.mean(), columns.mean()])
    stroke = torch.nonzero(mask == 1).float()
    axis = torch.linalg.svd(stroke - stem, full_matrices=False).Vh[0]
    axis = axis if ((foot - stem) @ axis) > 0 else -axis
    side = (foot - stem) - ((foot - stem) @ axis) * axis
    return float(torch.sign(axis[0] * side[1] - axis[1] * side[0]))


@pytest.mark.parametrize("strength", ["light", "medium", "strong"])
def test_no_flip_never_mirrors(strength):
    images, masks = left_right_images(64)
    _, moved = Augmenter(strength, "none", 0)(images, masks)
    signs = {handedness(mask) for mask in moved}
    assert signs == {handedness(masks[0])}


@pytest.mark.parametrize("strength", ["light", "medium", "strong"])
def test_a_horizontal_flip_mirrors_half_and_turns_none_upside_down(strength):
    images, masks = left_right_images(128)
    _, moved = Augmenter(strength, "horizontal", 0)(images, masks)
    mirrored = [handedness(mask) != handedness(masks[0]) for mask in moved]
    assert 0.3 < np.mean(mirrored) < 0.7
    for mask in moved:
        foot, stem = (torch.nonzero(mask == k).float()[:, 0].mean() for k in (2, 1))
        assert foot > stem


def test_both_flips_turn_upside_down_and_strong_ones_by_quarters():
    images, masks = left_right_images(128)
    _, moved = Augmenter("strong", "both", 0)(images, masks)
    below, right = 0, 0
    for mask in moved:
        offset = (mask == 2).nonzero().float().mean(0) - (mask == 1).nonzero().float().mean(0)
        below += int(offset[0] > abs(offset[1]) / 2)
        right += int(offset[1] > abs(offset[0]) / 2)
    assert 20 < below < 108 and 20 < right < 108


@pytest.mark.parametrize("flip", FLIPS)
def test_a_disk_stays_a_disk_in_a_window_that_is_no_square(flip):
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
    disk = (((rows - 31.5) ** 2 + (columns - 47.5) ** 2) < 15**2).to(torch.uint8)
    masks = disk.expand(32, -1, -1)
    _, moved = moved_only(flip)(painted(masks), masks)
    radii = []
    for mask in moved:
        spread = torch.nonzero(mask == 1).float().std(0)
        assert spread[0] == pytest.approx(float(spread[1]), rel=0.05)
        radii.append(2 * float(spread.mean()))
    assert min(radii) < 13 and max(radii) > 17  # Zoomed in and out.


def test_colours_stay_in_range_and_strong_is_stronger_than_light():
    images = torch.randint(0, 256, (32, 3, *SIZE), dtype=torch.uint8)
    changes = []
    for strength in ("light", "strong"):
        augmenter = Augmenter(strength, "none", 0)
        changed = augmenter._recolor(images.float())
        assert 0 <= changed.min() and changed.max() <= 255
        changes.append(float((changed - images).abs().mean()))
    assert 0 < changes[0] < changes[1]


def test_some_strong_images_lose_their_colour():
    images = torch.zeros(200, 3, 8, 8, dtype=torch.uint8)
    images[:, 0] = 120
    augmenter = Augmenter("strong", "none", 0)
    strong = STRENGTHS["strong"]
    augmenter.strength = type(strong)(contrast=strong.contrast, grey_share=strong.grey_share)
    changed = augmenter._recolor(images.float())
    grey = (changed.std(1).flatten(1).max(1).values < 1e-3).float().mean()
    assert 0.04 < grey < 0.2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_recolouring_is_one_colour_matrix_and_offset_per_image(layout):
    """Six pixels of an image tell its matrix and offset; they give all others."""
    images = torch.randint(60, 200, (8, 3, 16, 24)).float().contiguous(memory_format=layout)
    changed = Augmenter("light", "none", 0)._recolor(images)
    for before, after in zip(images.flatten(2).double(), changed.flatten(2).double(), strict=True):
        known = torch.cat([before, torch.ones(1, before.shape[1], dtype=torch.float64)])
        affine = torch.linalg.lstsq(known[:, :6].T, after[:, :6].T).solution
        torch.testing.assert_close(known.T @ affine, after.T, rtol=0, atol=0.02)
        # Grey stays grey: every row of the matrix has the same sum.
        sums = affine[:3].sum(0)
        torch.testing.assert_close(sums, sums.mean().expand(3), rtol=0, atol=1e-3)
