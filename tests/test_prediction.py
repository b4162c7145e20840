import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from autoseg.errors import PredictionError
from autoseg.prediction import Prediction


def predicted(mask: np.ndarray, **fields) -> Prediction:
    names, palette = ("background", "a", "b"), ((0, 0, 0), (255, 0, 0), (10, 200, 30))
    return Prediction(mask, np.ones(mask.shape, np.float16), names, palette, **fields)


def random_mask(height: int = 37, width: int = 53, seed: int = 0) -> np.ndarray:
    """Regions with holes, islands in holes, and pixels that touch at corners."""
    return np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)


def winding_number(ring: list[list[int]], height: int, width: int) -> np.ndarray:
    """How often a ring goes around each pixel's centre, from its vertical edges alone."""
    crossings = np.zeros((height, width + 1), dtype=int)
    for (x0, y0), (x1, y1) in zip(ring[:-1], ring[1:], strict=True):
        assert (x0 == x1) != (y0 == y1), "an edge runs along one axis"
        if x0 == x1:
            crossings[min(y0, y1) : max(y0, y1), x0] += 1 if y1 > y0 else -1
    return crossings.cumsum(axis=1)[:, :width]


def test_the_index_png_holds_the_classes_and_nothing_else(tmp_path):
    mask = random_mask()
    predicted(mask).save_index_png(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "L" and np.array_equal(np.asarray(image), mask)
    data, chunks = (tmp_path / "mask.png").read_bytes()[8:], []
    while data:
        (length,) = struct.unpack(">I", data[:4])
        chunks.append(data[4:8])
        assert zlib.crc32(data[4 : 8 + length]) == struct.unpack(">I", data[8 + length :][:4])[0]
        data = data[12 + length :]
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}


def test_the_confidence_png_is_within_half_a_step(tmp_path):
    confidence = np.random.default_rng(0).random((37, 53)).astype(np.float16)
    prediction = replace(predicted(random_mask()), confidence=confidence)
    prediction.save(tmp_path / "a.png", "confidence")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        steps = np.asarray(image).astype(np.float32) / 255
    assert np.abs(steps - confidence).max() <= 0.5 / 255 + 1e-6


def test_the_color_png_shows_the_palette(tmp_path):
    mask = random_mask()
    prediction = predicted(mask)
    prediction.save_color_png(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.array(prediction.palette, np.uint8)[mask])


def test_the_overlay_blends_classes_outlines_them_and_leaves_the_background(tmp_path):
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 20:60] = 1
    image = np.full((60, 80, 3), 100, np.uint8)
    overlay = predicted(mask).overlay_image(image)
    assert overlay[0, 0].tolist() == [100, 100, 100]
    assert overlay[25, 40].tolist() == pytest.approx([177, 50, 50], abs=1)
    assert overlay[10, 20].tolist() == [255, 0, 0]


def test_the_overlay_reads_its_image_again_and_needs_one(tmp_path):
    mask = random_mask()
    image = np.random.default_rng(1).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    predicted(mask, source=tmp_path / "image.png").save_overlay(tmp_path / "overlay.png")
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert np.array_equal(np.asarray(overlay), predicted(mask).overlay_image(image))
    with pytest.raises(PredictionError, match="needs the image"):
        predicted(mask).save_overlay(tmp_path / "overlay.png")
    with pytest.raises(PredictionError, match="53x37 pixels like its mask, but is 37x53"):
        predicted(mask).save_overlay(tmp_path / "overlay.png", image.swapaxes(0, 1))


# pycocotools 2.0 and numpy 2 disagree on a keyword when decoding.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_annotations_decode_to_the_mask(tmp_path):
    mask = random_mask()
    predicted(mask).save_coco(tmp_path / "mask.json")
    value = json.loads((tmp_path / "mask.json").read_text())
    got = np.full(mask.shape, 255)
    for annotation in value["annotations"]:
        region = coco_mask.decode(annotation["segmentation"]).astype(bool)
        got[region] = annotation["category_id"]
        assert annotation["area"] == region.sum()
        assert annotation["category_name"] == value["categories"][annotation["category_id"]]["name"]
    assert np.array_equal(got, mask)


@pytest.mark.parametrize("seed", range(5))
def test_polygons_cover_exactly_their_pixels_and_no_pixel_twice(seed):
    mask = random_mask(seed=seed)
    covered = np.zeros((3, *mask.shape), dtype=int)
    for feature in predicted(mask).polygons():
        outer, *holes = feature["geometry"]["coordinates"]
        assert all(ring[0] == ring[-1] for ring in (outer, *holes))
        inside = abs(winding_number(outer, *mask.shape))
        for hole in holes:
            inside -= abs(winding_number(hole, *mask.shape))
        covered[feature["properties"]["class_index"]] += inside
    assert np.array_equal(covered, np.stack([mask == index for index in range(3)]))


def test_a_rectangle_is_a_polygon_of_four_corners(tmp_path):
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 7:20] = 2
    predicted(mask).save_polygons(tmp_path / "mask.geojson")
    features = json.loads((tmp_path / "mask.geojson").read_text())["features"]
    (ring,) = next(f for f in features if f["properties"]["class_name"] == "b")["geometry"][
        "coordinates"
    ]
    assert {tuple(point) for point in ring} == {(7, 5), (20, 5), (20, 9), (7, 9)}
    assert len(ring) == 5


def test_a_single_pixel_is_a_square():
    mask = np.zeros((3, 3), np.uint8)
    mask[0, 2] = 1
    feature = predicted(mask).polygons()[1]
    assert sorted(feature["geometry"]["coordinates"][0][:-1]) == [[2, 0], [2, 1], [3, 0], [3, 1]]


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for output_format in ("index", "coco"):
        with pytest.raises(PredictionError, match="cannot be written"):
            predicted(random_mask()).save(tmp_path / "file" / "mask", output_format)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def uncertainty(mask: np.ndarray, confidence: np.ndarray) -> float:
    names, palette = ("background", "a", "b"), ((0, 0, 0), (255, 0, 0), (10, 200, 30))
    return Prediction(mask, confidence.astype(np.float16), names, palette).uncertainty


def test_much_to_correct_comes_before_little_and_a_doubtful_region_before_a_sure_one():
    mask = np.zeros((100, 100), np.uint8)
    mask[:10, :10] = 1
    few, many, all_sure = (np.full(mask.shape, 0.99) for _ in range(3))
    few[mask == 1] = 0.5
    many[mask == 1] = 0.5
    many[50:] = 0.6
    found = [uncertainty(mask, confidence) for confidence in (all_sure, few, many)]
    assert found == sorted(found) and found[0] == pytest.approx(0.01, abs=1e-3)
    assert found[1] == pytest.approx(
        np.sqrt((0.01 * 0.99 + 0.5 * 0.01) * (0.01 + 0.5) / 2), abs=1e-3
    )
    assert uncertainty(mask, np.ones(mask.shape)) == 0.0


def test_the_uncertainty_of_a_huge_image_is_told_from_some_of_its_pixels():
    rng = np.random.default_rng(0)
    mask = (rng.random((3000, 2000)) < 0.1).astype(np.uint8)
    sure = np.where(mask == 1, 0.6, 0.9)
    assert uncertainty(mask, sure) == pytest.approx(np.sqrt(0.13 * 0.25), abs=1e-3)
