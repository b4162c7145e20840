import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoseg.config import ClassInfo
from autoseg.errors import PredictionError
from autoseg.prediction import OUTPUT_FORMATS, Prediction
from autoseg.ui.result_files import MAX_SHOWN_CONFIDENCE_PX
from autoseg.ui.results import MOST_AGE_S, ResultInfo, ResultStore, new_folder

CLASSES = ClassInfo(("background", "leaf"), ((0, 0, 0), (255, 0, 0)))
INFO = ResultInfo("photo", "run-1", CLASSES, seconds=0.5, uncertainty=0.25)


def make_prediction(height: int = 20, width: int = 30, seed: int = 0) -> Prediction:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, (height, width)).astype(np.uint8)
    confidence = rng.uniform(0.5, 1, (height, width)).astype(np.float16)
    return Prediction(mask, confidence, CLASSES.names, CLASSES.palette)


def make_image(folder: Path, name: str = "photo.png", size: tuple[int, int] = (20, 30)) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def read(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


@pytest.fixture
def result(store, tmp_path):
    source = make_image(tmp_path)
    return store.add(make_prediction(), read(source), source, INFO)


def test_a_result_is_read_back_from_its_id_as_it_was_made(store, result):
    again = ResultStore(store.folder).get(result.id).prediction()
    wanted = make_prediction()
    assert np.array_equal(again.mask, wanted.mask)
    assert np.abs(again.confidence - wanted.confidence).max() <= 0.5 / 255 + 1e-3
    assert (again.class_names, again.palette) == (CLASSES.names, CLASSES.palette)


@pytest.mark.parametrize(
    "wrong",
    ["", "..", "../photo", "/etc/passwd", "A" * 32, "0" * 32, "0" * 31 + "/", None, 7, ["a"]],
)
def test_no_other_text_than_an_id_is_looked_up(store, result, wrong):
    with pytest.raises(PredictionError):
        store.get(wrong)


def test_what_the_canvas_gets_are_maps_that_a_browser_reads_exactly(result):
    value = result.canvas(editable=True)
    assert np.array_equal(read(value["classes"]), make_prediction().mask)
    assert np.array_equal(read(value["confidence"]), make_prediction().confidence_image())
    with Image.open(value["classes"]) as image:
        assert image.mode == "L" and image.info == {}
    assert value["id"] == result.id and value["editable"] is True
    assert json.dumps(value)


def test_an_image_that_browsers_draw_is_shown_as_it_was_given(result, tmp_path):
    assert Path(result.canvas()["image"]).read_bytes() == (tmp_path / "photo.png").read_bytes()


@pytest.mark.parametrize("name", ["scan.tif", "deep.png", "turned.jpg"])
def test_an_image_that_browsers_would_draw_otherwise_is_converted(store, tmp_path, name):
    source = tmp_path / name
    if name == "deep.png":
        Image.fromarray(np.full((20, 30), 70, np.uint16)).save(source)
    elif name == "turned.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (20, 30)).save(source, exif=exif)
    else:
        make_image(tmp_path, name)
    pixels = np.full((20, 30, 3), 70, np.uint8)
    result = store.add(make_prediction(), pixels, source, INFO)
    shown = Path(result.canvas()["image"])
    assert shown.suffix == ".jpg"
    with Image.open(shown) as image:
        assert image.size == (30, 20) and not image.getexif()
    assert result.image.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_every_format_can_be_exported_under_the_image_s_name(result, output_format):
    file = result.export(output_format)
    assert file.name.startswith("photo.") and file.stat().st_size > 0


def test_a_threshold_moves_pixels_between_the_two_classes(result):
    prediction = make_prediction()
    steps = prediction.confidence_image()
    second = np.where(prediction.mask == 1, steps, 255 - steps)
    mask = read(result.export("index", threshold=0.75))
    assert np.array_equal(mask, second >= 0.75 * 255)
    assert 0 < mask.sum() < prediction.mask.sum()


def test_the_confidence_of_a_very_large_image_goes_to_the_browser_smaller(store, tmp_path):
    side = int(MAX_SHOWN_CONFIDENCE_PX**0.5) + 2
    flat = np.zeros((side, side), np.uint8)
    prediction = replace(make_prediction(), mask=flat, confidence=np.ones_like(flat, np.float16))
    source = make_image(tmp_path)
    result = store.add(prediction, np.zeros((side, side, 3), np.uint8), source, INFO)
    assert read(result.canvas()["confidence"]).shape == (-(-side // 2),) * 2
    assert result.prediction().confidence.shape == flat.shape


def test_another_mask_is_made_once(result):
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.ones((20, 30), np.uint8)

    first, second = result.other("a1", make), result.other("a1", make)
    assert first == second and len(made) == 1 and (read(first) == 1).all()


def test_a_second_page_never_gets_half_of_what_the_first_one_makes(store, tmp_path):
    """One that found the file there sent it, though the other had only begun to write it."""
    mask = np.random.default_rng(2).integers(0, 2, (4000, 4000)).astype(np.uint8)
    source = make_image(tmp_path)
    result = store.add(make_prediction(), read(source), source, INFO)
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(result.other, "a1", lambda: mask)
        seen = 0
        while seen < 2:
            for file in result.folder.glob("other-*.png"):
                assert np.array_equal(read(file), mask)
                seen += 1
            if making.done():
                making.result()  # Whatever went wrong there.


def test_results_that_nobody_looks_at_go_first(tmp_path):
    store, source = ResultStore(tmp_path / "results", most=3), make_image(tmp_path)
    kept = []
    for k in range(3):
        kept.append(store.add(make_prediction(), read(source), source, INFO))
        os.utime(kept[-1].folder, (time.time() - 60 + k,) * 2)
    store.get(kept[0].id)
    store.add(make_prediction(), read(source), source, INFO)
    store.get(kept[0].id)
    with pytest.raises(PredictionError, match="no longer kept"):
        store.get(kept[1].id)
    assert len(list(store.folder.iterdir())) == 3


def test_a_thumbnail_shows_image_and_mask(store, tmp_path):
    Image.new("RGB", (640, 320), (90, 90, 90)).save(tmp_path / "plain.png")
    mask = np.zeros((320, 640), np.uint8)
    mask[:, 320:] = 1
    prediction = replace(make_prediction(), mask=mask, confidence=np.ones_like(mask, np.float16))
    source = tmp_path / "plain.png"
    drawn = read(store.add(prediction, read(source), source, INFO).write_thumbnail()).astype(int)
    assert drawn.shape == (160, 320, 3)
    assert np.abs(drawn[:, :140] - 90).max() < 12
    assert (drawn[:, 180:, 0] - drawn[:, 180:, 1] > 60).all()


def test_a_result_that_nobody_looked_at_for_a_week_goes(store, result):
    ResultStore(store.folder).get(result.id)
    old = time.time() - MOST_AGE_S - 60
    os.utime(result.folder, (old, old))
    with pytest.raises(PredictionError, match="no longer kept"):
        ResultStore(store.folder).get(result.id)


def test_many_at_once_get_a_folder_each(tmp_path):
    """A folder that another had just removed once ended one prediction in five."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder(tmp_path), range(400)))
    assert len(set(made)) == 400
    assert 0 < len(list(tmp_path.iterdir())) <= 28


def test_many_results_are_kept_at_once(tmp_path):
    store, source = ResultStore(tmp_path / "results", most=20), make_image(tmp_path)
    pixels = read(source)

    def add(_: int) -> str:
        return store.add(make_prediction(), pixels, source, INFO).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(add, range(60)))) == 60
