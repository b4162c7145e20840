import io

import numpy as np
import pytest
from PIL import Image

from autoseg.config import ClassInfo
from autoseg.examples import (
    draw_example,
    example_facts,
    image_of,
    image_scores,
    make_examples,
    spread,
)

CLASSES = ClassInfo(("background", "leaf"), ((0, 0, 0), (255, 0, 0)))


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grey image whose left half is leaf, of which the model finds half."""
    image = np.full((height, width, 3), 120, np.uint8)
    truth, found = np.zeros((2, height, width), np.uint8)
    truth[:, : width // 2] = 1
    found[:, : width // 4] = 1
    return image, truth, found


def panels(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    third = (sheet.shape[1] - 2 * 6) // 3
    return tuple(sheet[30:, k * (third + 6) : k * (third + 6) + third] for k in range(3))


def test_examples_are_spread_evenly_from_the_best_to_the_worst():
    scores = np.array([0.1, 0.9, 0.5, np.nan, 0.7, 0.3, 0.2, 0.6])
    chosen = [scores[k] for k in spread(scores, 4)]
    assert chosen == [0.9, 0.6, 0.3, 0.1]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [0.5]), (2, [0.9, 0.1])])
def test_fewer_examples_are_still_honest(count, expected):
    scores = np.array([0.9, 0.5, 0.1])
    assert [scores[k] for k in spread(scores, count)] == expected


def test_few_images_are_shown_once_each():
    assert spread(np.array([0.1, 0.9]), 4) == [1, 0]
    assert spread(np.array([np.nan]), 4) == []


@pytest.mark.parametrize("size", [(480, 640), (64, 96), (900, 300), (3000, 4000), (7, 5)])
def test_a_picture_fits_into_a_card_whatever_the_image(size):
    content = draw_example(*scene(*size), CLASSES)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "JPEG"
        assert picture.width <= 1200 and picture.height <= 520
        assert not picture.getexif()


def test_the_panels_show_image_truth_and_prediction_in_the_palettes_colours():
    image, truth, found = panels(draw_example(*scene(240, 320), CLASSES))
    red = [np.median(panel[..., 0] - panel[..., 1], axis=0) > 60 for panel in (image, truth, found)]
    assert [columns.mean() for columns in red] == pytest.approx([0.0, 0.5, 0.25], abs=0.02)


def test_pixels_that_do_not_count_show_the_bare_image():
    image, truth, found = scene(240, 320)
    truth[:] = 255
    _, shown, _ = panels(draw_example(image, truth, found, CLASSES))
    assert np.abs(np.median(shown, axis=(0, 1)) - 120).max() < 6


def test_a_score_is_that_of_the_drawn_masks():
    (example,) = make_examples([scene(40, 80)], [1], CLASSES)
    assert example.score == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert image_scores(np.array([[[2, 0], [0, 2]], [[0, 0], [0, 0]]]))[0] == 1.0
    (facts,) = example_facts([example], "test", 9)
    assert facts["file"] == "examples/example_1.jpg" and facts["n_images"] == 9


@pytest.mark.parametrize("size", [(480, 640), (64, 96), (900, 300)])
def test_the_image_can_be_taken_out_of_its_picture(size):
    content = draw_example(*scene(*size), CLASSES)
    image = image_of(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    assert image.shape[1] / image.shape[0] == pytest.approx(size[1] / size[0], rel=0.02)
    assert np.abs(image.astype(int) - 120).mean() < 2


def test_another_picture_is_taken_for_an_image_itself():
    picture = np.zeros((40, 50, 3), np.uint8)
    assert image_of(picture) is picture
