from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from gradio.context import LocalContext

from autoseg.config import Geometry, Recipe
from autoseg.data.splits import Splits
from autoseg.evaluation import Predictions
from autoseg.judging import Judged, about_taken, default_note, report_note, taken_note
from autoseg.search.run_folder import TrialRecord
from autoseg.ui import report_words

SPLITS = Splits((0,), (1,), (2,), (), 0)
NOTHING = Predictions(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), int), np.zeros((10, 3)))

RECIPE = Recipe("test_resnet", Geometry(window=(64, 64), scale=1.0), epochs=4.5)
TAKEN = TrialRecord(3, "complete", RECIPE, "sampler", latency_ms=7.5)

NOTES = [
    *(
        report_note(Judged(split, (2,), NOTHING), replace(SPLITS, test_is_untouched=new), n)
        for split in ("test", "folds", "validation")
        for new in (True, False)
        for n in (1, 7)
    ),
    *(
        default_note(epochs, won, n)
        for epochs in (None, 4.5)
        for won in (True, False)
        for n in (1, 2)
    ),
    report_note(Judged("validation", (2,), NOTHING), SPLITS, 0, goes_on=True),
    *(text for text in report_words.FIXED if "trained for a shorter time" in text),
    default_note(None, True, 1, stopped=True),
    default_note(None, True, 1, asked_for_one=True),
    *(
        taken_note(Judged(split, (2,), NOTHING), replace(SPLITS, test_is_untouched=new), 7, 7)
        for split in ("test", "validation")
        for new in (True, False)
    ),
    about_taken(TAKEN, None),
    about_taken(TAKEN, replace(TAKEN, number=9, latency_ms=20.0)),
]
"""What a search writes, in every case."""


@pytest.fixture
def chinese_reader():
    before = LocalContext.request.set(gr.Request(headers={"accept-language": "zh-CN"}))
    yield
    LocalContext.request.reset(before)


def test_trials_that_were_not_made_are_told_in_chinese(chinese_reader):
    report = {"search": {"trials": {"complete": 2}, "asked_trials": 3}}
    said = report_words.missing_trials(report)
    assert "2" in said and "3" in said and not said.isascii()
    assert report_words.missing_trials({}) == ""


@pytest.mark.parametrize("text", sorted(set(NOTES)))
def test_what_a_search_writes_in_a_report_is_read_in_chinese(chinese_reader, text):
    said = report_words.note(text)
    assert said != text and not said.isascii()
    assert [
        number for number in ("7", "4.5") if number in text.split() and number not in said
    ] == []


@pytest.mark.parametrize("text", sorted(set(NOTES)))
def test_in_english_it_stays_as_it_was_written(text):
    assert report_words.note(text) == text


def test_what_nobody_translated_stays(chinese_reader):
    assert report_words.note("Something new.") == "Something new."
    assert report_words.note("") == ""
