import numpy as np
import pytest

from autoseg.config import ClassInfo
from autoseg.data.dataset import check_dataset
from autoseg.data.palette import (
    appearance,
    default_palette,
    format_color,
    parse_color,
    with_colors,
)
from autoseg.errors import DatasetError


def test_default_colours_all_differ_and_begin_with_black():
    colors = default_palette(256)
    assert colors[0] == (0, 0, 0) and len(set(colors)) == 256
    assert colors[:5] == default_palette(5)


def test_the_colour_blind_tell_sixteen_default_colours_apart():
    """0.02 in OKLab is about the smallest difference that people see side by side: take thrice."""
    seen = appearance(np.asarray(default_palette(16)))  # (16, 2, 3)
    for eyes in range(2):
        between = np.linalg.norm(seen[:, None, eyes] - seen[None, :, eyes], axis=-1)
        assert between[~np.eye(16, dtype=bool)].min() > 0.06


def test_appearance_is_that_of_the_source():
    """Ottosson's article: white is (1, 0, 0); greys look the same to deuteranopes."""
    white, grey = appearance(np.asarray([[255, 255, 255], [119, 119, 119]]))
    np.testing.assert_allclose(white[0], [1, 0, 0], atol=1e-3)
    np.testing.assert_allclose(grey[0], grey[1], atol=2e-2)


def test_chosen_colours_reach_the_classes_and_leave_the_fingerprint(write_set):
    """Only how classes look changes: images prepared before are still right."""
    masks = [np.repeat([[0, 1]], 24, 0).repeat(16, 1).astype(np.uint8)] * 6
    root = write_set(masks, classes="soil\nleaf\n")
    plain = check_dataset(root)
    painted = check_dataset(root, colors={"leaf": "#12aB00"})
    assert painted.classes.palette == (plain.classes.palette[0], (0x12, 0xAB, 0))
    assert painted.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        ({"tree": "#000000"}, "'tree', which the data set does not have: soil, leaf"),
        ({"leaf": "green"}, "'green' is no colour"),
        ({"leaf": "#12345"}, "no colour"),
        ({"leaf": "#1234567"}, "no colour"),
    ],
)
def test_a_colour_that_fits_nothing_is_refused(colors, message):
    with pytest.raises(DatasetError, match=message):
        with_colors(ClassInfo(("soil", "leaf"), ((0, 0, 0), (1, 2, 3))), colors)


def test_colours_are_read_as_they_are_written():
    assert parse_color(format_color((1, 20, 255))) == (1, 20, 255)
