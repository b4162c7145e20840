import numpy as np
import pytest

from autoseg.search.flips import choose_flip


class Masks:
    """Masks as a cache gives them."""

    def __init__(self, *masks: np.ndarray) -> None:
        self.masks = masks

    def mask(self, index: int) -> np.ndarray:
        return self.masks[index]


def scattered(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (60, 60)).astype(np.uint8)


def test_images_without_an_up_are_flipped_both_ways():
    assert choose_flip(("a", "b", "c"), Masks(*map(scattered, range(9))), range(9)) == "both"


def test_images_with_a_sky_are_not_turned_upside_down():
    masks = [scattered(seed) for seed in range(9)]
    for mask in masks:
        mask[:20] = 2
    assert choose_flip(("a", "b", "sky"), Masks(*masks), range(9)) == "horizontal"


@pytest.mark.parametrize("name", ["left lung", "hand_right", "Left"])
def test_classes_of_one_side_are_never_mirrored(name):
    assert choose_flip(("a", "b", name), Masks(scattered(0)), range(1)) == "none"


def test_words_that_contain_left_are_no_side():
    names = ("cleft", "bright", "c")
    assert choose_flip(names, Masks(*map(scattered, range(9))), range(9)) == "both"


@pytest.mark.parametrize(
    "names", [("lung_l", "lung_r", "a"), ("Lunge links", "b", "c"), ("rein gauche", "b", "c"),
              ("左肺", "右肺", "c"), ("RT kidney", "LT kidney", "c")]
)  # fmt: skip
def test_other_words_for_the_sides_are_known(names):
    assert choose_flip(names, Masks(scattered(0)), range(1)) == "none"


@pytest.mark.parametrize("names", [("l", "b", "c"), ("grade l", "rot r", "c")])
def test_a_letter_that_has_no_counterpart_is_no_side(names):
    assert choose_flip(names, Masks(*map(scattered, range(9))), range(9)) == "both"


def with_lungs(seed: int, swapped: bool = False, right_side: int = 18) -> np.ndarray:
    """Two squares side by side, 1 left and 2 right of the middle, a bit elsewhere each time."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 90), np.uint8)
    down, left, right = rng.integers(15, 25), rng.integers(8, 20), rng.integers(50, 62)
    mask[down : down + 18, left : left + 18] = 2 if swapped else 1
    mask[down : down + right_side, right : right + right_side] = 1 if swapped else 2
    return mask


def test_classes_that_are_each_others_mirror_image_are_not_mirrored():
    masks = [with_lungs(seed) for seed in range(12)]
    assert choose_flip(("body", "a", "b"), Masks(*masks), range(12)) == "none"


def test_classes_that_change_sides_are_mirrored():
    masks = [with_lungs(seed, swapped=seed % 2 == 0) for seed in range(12)]
    assert choose_flip(("body", "a", "b"), Masks(*masks), range(12)) != "none"


def test_unlike_classes_on_either_side_are_mirrored():
    masks = [with_lungs(seed, right_side=5) for seed in range(12)]
    assert choose_flip(("body", "a", "b"), Masks(*masks), range(12)) != "none"


def test_a_few_images_tell_no_habit():
    masks = [with_lungs(seed) for seed in range(5)]
    assert choose_flip(("body", "a", "b"), Masks(*masks), range(5)) != "none"
