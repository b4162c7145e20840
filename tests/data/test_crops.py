import numpy as np
import pytest
from PIL import Image

from autoseg.data.crops import densest_window, draw_value, outlined, where_value
from autoseg.data.formats import find_samples


@pytest.mark.parametrize("centre", [(10, 20), (300, 500), (700, 1000), (0, 0), (767, 1023)])
def test_the_window_holds_a_lonely_object_wherever_it_lies(centre):
    inside = np.zeros((768, 1024), dtype=bool)
    rows, columns = (slice(max(0, middle - 9), middle + 9) for middle in centre)
    inside[rows, columns] = True
    top, left, height, width = densest_window(inside)
    assert 0 <= top <= 768 - height and 0 <= left <= 1024 - width
    assert inside[top : top + height, left : left + width].sum() == inside.sum()
    assert height < 100  # It is seen large.


def test_the_window_prefers_where_there_is_more():
    inside = np.zeros((500, 500), dtype=bool)
    inside[20:30, 20:30] = True
    inside[400:440, 400:440] = True
    top, left, height, width = densest_window(inside)
    assert inside[top : top + height, left : left + width].sum() == 1600


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (40, 41)])
def test_the_window_never_leaves_the_image(shape):
    top, left, height, width = densest_window(np.ones(shape, dtype=bool))
    assert (top, left) >= (0, 0) and top + height <= shape[0] and left + width <= shape[1]


def test_the_line_runs_along_the_inner_and_outer_edge():
    inside = np.zeros((9, 9), dtype=bool)
    inside[3:6, 3:6] = True
    drawn = outlined(np.full((9, 9, 3), 100, np.uint8), inside)
    assert (drawn[inside] == 255).all(-1).sum() == 8 and drawn[4, 4, 0] == 100
    assert (drawn == 0).all(-1).sum() == 12
    assert drawn[0, 0, 0] == 50


def test_a_value_is_found_by_number_and_by_colour(write_set):
    red_right = np.zeros((24, 32, 3), np.uint8)
    red_right[:, 20:] = (255, 0, 0)
    samples = find_samples(write_set([red_right] * 5)).samples
    assert where_value(samples[0], "#ff0000").sum() == 24 * 12
    gray = np.zeros((24, 32), np.uint8)
    gray[:, 20:] = 17
    samples = find_samples(write_set([gray] * 5, folder="gray")).samples
    assert where_value(samples[2], "17").sum() == 24 * 12


def test_a_crop_shows_the_value_of_a_real_image(coffee_leaf):
    sample = find_samples(coffee_leaf).samples[7]
    with Image.open(sample.mask_path) as mask:
        value = int(np.asarray(mask).max())
    crop = draw_value(sample, str(value))
    assert crop.dtype == np.uint8 and crop.shape[2] == 3 and max(crop.shape) <= 160
    assert (crop == 255).all(-1).any()
