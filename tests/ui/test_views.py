import re

import gradio as gr
import pytest
from gradio.context import LocalContext
from ui_helpers import REPORT

from autoseg.data.formats import Skipped
from autoseg.data.verdict import Verdict
from autoseg.ui import data_view, report_view, views

EVIL = "<img src=x onerror=alert(1)>"


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", html)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3900, "1 h 5 min"), (-3, "0 s")],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert views.duration(seconds) == text


def test_texts_from_outside_are_escaped(tmp_path):
    verdict = Verdict((), 3, "", skipped=(Skipped(EVIL, EVIL),), skipped_count=1, notes=(EVIL,))
    shown = [
        data_view.sentences(verdict, tmp_path),
        views.error(EVIL),
        views.note(EVIL),
        views.empty(EVIL, EVIL),
        views.prediction([(EVIL, (1, 2, 3), 0.5, 7, None)], 0.1),
        report_view.report(REPORT),
    ]
    for html in shown:
        assert "<img" not in html and "<b>cell" not in html
    assert "&lt;b&gt;cell&lt;/b&gt;" in shown[-1]


def test_a_report_shows_the_default_recipe_beside_the_model():
    text = text_of(report_view.report(REPORT))
    for expected in ("72.0 %", "67.0 to 77.0", "61.0 %", "11.0 points above", "Default recipe"):
        assert expected in text


def test_a_report_without_a_default_recipe_is_shown():
    text = text_of(report_view.report({**REPORT, "default_recipe": None, "difference": None}))
    assert "72.0 %" in text
    assert "Default recipe" not in text


def test_a_model_that_was_trained_on_is_compared_with_the_former_one():
    text = text_of(report_view.report({**REPORT, "compared_with": "former model"}))
    assert "Former model" in text and "11.0 points above the former one" in text
    assert "Default recipe" not in text


def test_a_report_tells_the_difference_of_the_scores_that_it_shows():
    """It said 0.2 points below 81.3 % of 81.2 %, and the interval began with a hyphen."""
    worse, better = ({"scores": {"macro_imagewise_iou": {"value": v}}, "per_class": []}
                     for v in (0.81160, 0.81315))  # fmt: skip
    difference = {"value": -0.00155, "low": -0.013, "high": 0.01, "name": "macro_imagewise_iou"}
    text = text_of(
        report_view.report(
            {**REPORT, "model": worse, "default_recipe": better, "difference": difference}
        )
    )
    assert "81.2 %" in text and "81.3 %" in text and "0.1 points below" in text
    assert "\N{MINUS SIGN}1.3 to +1.0" in text and "-1.3" not in text


def test_a_run_that_was_stopped_says_so_in_its_report():
    """It said that there was no time to compare recipes, and nothing of the stop."""
    sentence = "The run was stopped by request after 38 s."
    assert sentence in text_of(report_view.report({**REPORT, "stopped_after_s": 38.2}))
    assert "stopped" not in text_of(report_view.report({**REPORT, "stopped_after_s": None}))


def test_an_undefined_score_is_a_dash():
    assert views.percent(None) == "–"


def test_what_was_predicted_is_told_in_the_readers_language():
    request = gr.Request(headers={"accept-language": "zh-CN"})
    token = LocalContext.request.set(request)
    try:
        shown = views.prediction([("leaf", (1, 2, 3), 0.5, 7, None)], 0.1)
    finally:
        LocalContext.request.reset(token)
    assert "用时 0.10 秒" in shown and "占图像的比例" in shown
    assert "Found in" not in shown and "Pixels" not in shown


@pytest.mark.parametrize(
    ("shares", "texts"),
    [
        ([0.018, 0.016, 0.011], ["1.8 %", "1.6 %", "1.1 %"]),
        ([0.0184, 0.0181, None], ["1.84 %", "1.81 %", ""]),
        ([0.5, 0.5], ["50.0 %", "50.0 %"]),
        ([], []),
    ],
)
def test_shares_are_written_so_that_they_can_be_told_apart(shares, texts):
    """A gallery sorted by uncertainty said "2 %, 2 %, 1 %"."""
    assert views.told_apart(shares) == texts
