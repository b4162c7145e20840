"""The Python side of the mask canvas and of the downloader."""

import json
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder
from PIL import Image

import autoseg.ui
from autoseg.ui.downloader import Downloader
from autoseg.ui.mask_canvas import JS, SCRIPTS, MaskCanvas
from autoseg.ui.scripts import spoken


@pytest.fixture
def value(tmp_path):
    for name in ("photo", "mask"):
        Image.new("L", (4, 3)).save(tmp_path / f"{name}.png")
    return {
        "id": "a", "name": "photo", "image": tmp_path / "photo.png",
        "classes": str(tmp_path / "mask.png"), "confidence": None, "other": None,
        "names": ["background", "cell"], "palette": [[0, 0, 0], [255, 0, 0]],
    }  # fmt: skip


def test_paths_become_files_and_the_rest_is_left_as_it_is(value):
    sent = MaskCanvas().postprocess(value)
    copy = Path(sent["image"]["path"])  # The workspace may lie where Gradio serves nothing.
    assert copy.read_bytes() == value["image"].read_bytes()
    assert copy.is_relative_to(get_upload_folder())
    assert sent["classes"]["meta"] == {"_type": "gradio.FileData"}
    assert sent["confidence"] is sent["other"] is None
    assert {**sent, "image": 0, "classes": 0} == {**value, "image": 0, "classes": 0}


def test_no_value_is_none():
    assert MaskCanvas().postprocess(None) is None


def test_its_events_can_be_listened_to():
    canvas = MaskCanvas()
    assert callable(canvas.corrected) and callable(canvas.export)
    with pytest.raises(AttributeError):
        _ = canvas.painted


def test_every_script_of_the_folder_is_part_of_it():
    folder = Path(autoseg.ui.__file__).parent / "mask_canvas"
    assert {path.name for path in folder.glob("*.js")} == set(SCRIPTS)


def test_every_text_of_the_script_goes_to_the_page():
    first, _, _ = str(MaskCanvas(empty="This image cannot be shown.").js_on_load).partition("\n")
    sent = json.loads(first.removeprefix("const FIXED = ").removesuffix(";"))
    assert spoken(JS) | {"This image cannot be shown."} == set(sent["texts"]["zh"])


def test_the_downloader_sends_a_file_with_its_name(value):
    sent = Downloader().postprocess({"file": value["image"], "name": "掩码 1.png", "id": "7"})
    assert Path(sent["file"]["path"]).read_bytes() == value["image"].read_bytes()
    assert Path(sent["file"]["path"]).is_relative_to(get_upload_folder())
    assert sent["name"] == "掩码 1.png"
    assert Downloader().postprocess(None) is None
