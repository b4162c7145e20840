import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_results import INFO, make_image, make_prediction, read

from autoseg.ui.predict_downloads import exported, zipped
from autoseg.ui.results import ResultStore


@pytest.fixture
def store(tmp_path) -> ResultStore:
    return ResultStore(tmp_path / "scratch" / "results")


@pytest.fixture
def result(store, tmp_path):
    source = make_image(tmp_path)
    return store.add(make_prediction(), read(source), source, INFO)


def test_an_export_is_a_file_named_like_the_image(store, result):
    said = {"id": result.id, "format": "index", "threshold": None}
    download = exported(store, said)["download"]
    assert download["name"] == "photo.png"
    assert np.array_equal(read(download["file"]), make_prediction().mask)
    assert exported(store, said)["download"]["id"] != download["id"]


def test_an_export_follows_the_threshold(store, result):
    said = {"id": result.id, "format": "index", "threshold": 0.9}
    sure = read(exported(store, said)["download"]["file"])
    assert 0 < sure.sum() < make_prediction().mask.sum()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../etc"},
        {"id": None},
        {"format": "pickle"},
        {"format": ["index"]},
        {"threshold": 2},
        {"threshold": "0.5"},
        {"threshold": True},
        {"threshold": float("nan")},
    ],
)
def test_what_no_page_sends_is_refused(store, result, changes):
    said = {"id": result.id, "format": "index", "threshold": None} | changes
    values = exported(store, said)
    assert "download" not in values and "Not possible" in values["message"]["value"]


def test_a_zip_holds_every_format_of_every_image(store, tmp_path):
    source = make_image(tmp_path)
    ids = [store.add(make_prediction(seed=k), read(source), source, INFO).id for k in range(2)]
    download = zipped(store, ids, ["index", "coco", "confidence"])["download"]
    with zipfile.ZipFile(download["file"]) as archive:
        assert sorted(archive.namelist()) == [
            "classes.json", "photo-2.coco.json", "photo-2.confidence.png", "photo-2.png",
            "photo.coco.json", "photo.confidence.png", "photo.png",
        ]  # fmt: skip
        assert json.loads(archive.read("classes.json"))["names"] == ["background", "leaf"]
        with Image.open(BytesIO(archive.read("photo-2.png"))) as image:
            assert np.array_equal(np.asarray(image), make_prediction(seed=1).mask)


def test_a_zip_of_nothing_is_refused(store, result):
    assert "at least one format" in zipped(store, [result.id], [])["message"]["value"]
    assert "download" not in zipped(store, [], ["index"])


def test_old_zips_are_removed(store, result):
    for _ in range(6):
        last = zipped(store, [result.id], ["index"])["download"]["file"]
    zips = list(Path(last).parent.glob("*.zip"))
    assert Path(last) in zips and len(zips) <= 4
