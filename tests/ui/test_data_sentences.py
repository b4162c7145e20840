import re

import numpy as np
import pytest
from gradio.context import LocalContext
from PIL import Image

from autoseg.data.dataset import check_dataset
from autoseg.ui.data_sentences import said


@pytest.fixture
def chinese_reader():
    class Request:
        headers = {"accept-language": "zh-CN,zh;q=0.9"}

    token = LocalContext.request.set(Request())
    yield
    LocalContext.request.reset(token)


def write_set(folder, values, classes=None, suffix=".png"):
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(6):
        mask = np.repeat(np.asarray(values, np.uint8), 12)[None].repeat(24, 0)
        Image.fromarray(mask).save(folder / "masks" / f"{index}{suffix}")
        image = rng.integers(0, 256, mask.shape, np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
    (folder / "notes.pdf").write_text("x")
    if classes:
        (folder / "classes.txt").write_text(classes)
    return folder


@pytest.mark.parametrize(
    ("values", "classes", "mapping"),
    [
        ((0, 1, 2), None, None),
        ((0, 1, 2), "soil\nleaf\nrust\nunused\n", None),
        ((0, 255), None, None),
        ((0, 1, 2, 255), None, None),
        ((0, 7, 9), None, None),
        ((0, 7, 9), "9: car\n0: road\n7: tree\n", None),
        ((10, 100, 200), "a\nb\nc\n", None),
        ((10, 100, 200), None, None),
        ((0, 1, 2), None, {"0": "a", "*": "b"}),
        ((0, 1, 2), None, {"0": "a", "1": "b", "*": "nearest"}),
    ],
)
def test_what_a_check_says_is_said_in_chinese(tmp_path, chinese_reader, values, classes, mapping):
    """Sentences are recognised by their form: one that was reworded would stay English."""
    verdict = check_dataset(write_set(tmp_path / "set", values, classes), mapping=mapping).verdict
    sentences = [row.why for row in verdict.rows] + [verdict.sizes, *verdict.notes]
    sentences += [item.why for item in verdict.skipped]
    rests = ("Every value that the mapping does not name became",)  # Of the command line.
    for text in sentences:
        if not text.startswith(rests):
            assert re.search(r"[\u4e00-\u9fff]", said(text)), text


def test_what_is_not_known_stays_as_it_is(chinese_reader):
    assert said("From the Hub: alice/leaves at 012345.") == "From the Hub: alice/leaves at 012345."


def test_english_readers_get_the_sentence_itself():
    for text in ("all 64x48", "0 and 255 only: binary", "No pixel has the class a, {b}."):
        assert said(text) == text
