import numpy as np
import pytest

from autoseg.config import MAX_WINDOW_PX
from autoseg.search.geometry import (
    LEAST_WINDOWS,
    LEAST_WINDOWS_UNET,
    OBJECT_WIDTH_PX,
    SCALE_RANGE,
    WINDOW_PIXELS,
    ObjectWidths,
    object_widths,
    plan_geometry,
)

UNET = {"decoder_name": "unet"}


def sizes(*shapes: tuple[int, int]) -> np.ndarray:
    return np.array(shapes, np.int32)


def facts(masks: list[np.ndarray], n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, pixels and boundary edges of masks, counted edge by edge."""
    pixels = np.array([[(m == k).sum() for k in range(n_classes)] for m in masks])
    boundary = np.zeros_like(pixels)
    for n, mask in enumerate(masks):
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            for k in range(n_classes):
                boundary[n, k] += ((one == k) ^ (other == k)).sum()
    return sizes(*(m.shape for m in masks)), pixels, boundary


def with_squares(size: int, side: int, step: int = 100) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    for row in range(step // 2, size - side, step):
        for column in range(step // 2, size - side, step):
            mask[row : row + side, column : column + side] = 1
    return mask


def test_the_width_of_squares_is_their_side_and_the_thinnest_class_rules():
    mask = with_squares(400, 40)
    mask[:, 5:15] = 2  # A strip of width 10: 4 area / boundary is twice that.
    widths = object_widths(*facts([mask], 3))
    assert widths.thinnest_px == pytest.approx(20)
    assert object_widths(*facts([with_squares(400, 40)], 2)).thinnest_px == pytest.approx(40)


def test_the_largest_class_and_specks_do_not_rule():
    mask = with_squares(400, 40)
    mask[0, 0] = 2  # One pixel of 160,000 is too rare.
    assert object_widths(*facts([mask], 3)).thinnest_px == pytest.approx(40)


def test_widths_without_any_boundary_are_those_of_the_images():
    widths = object_widths(sizes((30, 50)), np.array([[1500, 0]]), np.zeros((1, 2)))
    assert widths.thinnest_px == 40


@pytest.mark.parametrize("thinnest", [33, 64, 100, 200])
def test_the_thinnest_class_keeps_its_width(thinnest):
    geometry = plan_geometry(
        sizes(*[(600, 800)] * 5), ObjectWidths(thinnest, 0.1, 0.1), "cpu", **UNET
    )
    assert thinnest * geometry.scale >= 0.98 * OBJECT_WIDTH_PX


@pytest.mark.parametrize("thinnest", [1, 5, 32, 300, 5000])
def test_images_are_neither_shrunk_nor_enlarged_without_measure(thinnest):
    geometry = plan_geometry(
        sizes(*[(400, 300)] * 5), ObjectWidths(thinnest, 0.1, 0.1), "cpu", **UNET
    )
    assert SCALE_RANGE[0] <= geometry.scale <= SCALE_RANGE[1]


@pytest.mark.parametrize("device", WINDOW_PIXELS)
@pytest.mark.parametrize("affordable", [1e5, 1e7, float("inf")])
@pytest.mark.parametrize("shape", [(20, 20), (64, 2000), (2000, 64), (300, 400), (5000, 7000)])
def test_windows_are_multiples_of_32_and_no_larger_than_there_is_memory_for(
    device, affordable, shape
):
    for thinnest in (4, 40, 400):
        geometry = plan_geometry(
            sizes(*[shape] * 3), ObjectWidths(thinnest, 0.1, 0.1), device, None, affordable, **UNET
        )
        assert all(side >= 32 and side % 32 == 0 for side in geometry.window)
        assert np.prod(geometry.window) <= 1.6 * WINDOW_PIXELS[device]


@pytest.mark.parametrize("device", WINDOW_PIXELS)
@pytest.mark.parametrize("shape", [(30, 4000), (60000, 40), (1000, 1000), (10, 9000)])
def test_a_model_of_strips_can_be_saved(device, shape):
    """Windows of long strips were longer than a bundle takes, which showed at the search's end."""
    window = plan_geometry(sizes(shape, shape), ObjectWidths(5.0, 0.1, 0.1), device, **UNET).window
    assert max(window) <= MAX_WINDOW_PX and min(window) >= 32


@pytest.mark.parametrize("max_side", [32, 100, 480, 511, 1000])
@pytest.mark.parametrize("spreads", [(0.1, 0.1), (0.8, 0.1)])
@pytest.mark.parametrize(
    "shapes",
    [[(500, 400)] * 3, [(300, 400), (500, 700), (1200, 900)], [(1999, 777), (3001, 2003)]],
)
def test_no_image_is_larger_than_max_side(max_side, spreads, shapes):
    """Half of the images were: the median had to hold it, and scales near 1 became 1."""
    widths = ObjectWidths(16, *spreads)
    geometry = plan_geometry(sizes(*shapes), widths, "cpu", max_side, **UNET)
    for shape in shapes:
        assert max(geometry.resized_shape(*shape)) <= max_side


def test_sizes_that_differ_go_into_a_box_where_objects_grow_with_them():
    photos = [with_squares(size, size // 10, step=size // 4) for size in (200, 400, 800)]
    of_photos = facts(photos, 2)
    geometry = plan_geometry(of_photos[0], object_widths(*of_photos), "cpu", **UNET)
    assert geometry.box is not None and geometry.scale is None
    heights = {geometry.resized_shape(*photo.shape)[0] for photo in photos}
    assert max(heights) - min(heights) <= 1


def test_sizes_that_differ_share_one_scale_where_objects_have_a_size_in_pixels():
    slides = [with_squares(size, 40) for size in (200, 400, 800)]
    of_slides = facts(slides, 2)
    geometry = plan_geometry(of_slides[0], object_widths(*of_slides), "cpu", **UNET)
    assert geometry.scale is not None and geometry.box is None


def test_a_small_budget_shrinks_windows_and_a_larger_one_never_does():
    images, widths = sizes(*[(400, 500)] * 4), ObjectWidths(20, 0.1, 0.1)
    areas = [
        np.prod(plan_geometry(images, widths, "cpu", None, affordable, **UNET).window)
        for affordable in np.geomspace(1e6, 1e10, 20)
    ]
    assert areas == sorted(areas) and areas[0] < areas[-1]


@pytest.mark.parametrize("pixels", [1.2e8, 1.5e8, 3e8])
def test_a_unet_has_more_and_smaller_windows_than_an_fpn(pixels):
    images, widths = sizes(*[(1000, 1000)] * 4), ObjectWidths(32, 0.1, 0.1)
    unet, fpn = (
        plan_geometry(images, widths, "cpu", None, pixels, decoder_name=name)
        for name in ("unet", "fpn")
    )
    assert np.prod(unet.window) < np.prod(fpn.window) and unet.scale < fpn.scale
    assert pixels / np.prod(unet.window) > LEAST_WINDOWS_UNET - 1
    assert pixels / np.prod(fpn.window) > LEAST_WINDOWS - 1
