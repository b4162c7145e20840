import base64
import re
import time
from dataclasses import replace

import pytest
from test_views import EVIL, text_of
from ui_helpers import trial

from autoseg.search.run_folder import RunState
from autoseg.ui import search_views


def state(status: str = "running", **changes: object) -> RunState:
    known = RunState(
        status=status, phase="searching", budget_s=600, elapsed_s=60, updated_at=time.time(), pid=1
    )
    return replace(known, **changes)


RESOURCES = {
    "memory_bytes": 2e9,
    "memory_total_bytes": 8e9,
    "cpu_percent": 150.0,
    "gpu": {"name": EVIL, "used_bytes": 1e9, "total_bytes": 4e9, "utilization": 0.5},
}
PICTURES = {"trial": 2, "score": 0.7, "images": [{"file": "0.jpg", "name": EVIL, "iou": 0.5}]}


def test_texts_from_outside_are_escaped():
    evil = replace(
        trial(0), reason=EVIL, recipe=replace(trial(0).recipe, encoder_name=EVIL), from_run=EVIL
    )
    shown = [
        search_views.run_card(EVIL, state(message=EVIL, error=EVIL), EVIL, 1, RESOURCES, None),
        search_views.trials([evil], 0),
        search_views.importances({"n_trials": 4, "importances": {EVIL: 1.0}}),
    ]
    assert not any("<img" in html for html in shown)
    assert search_views.pictures(PICTURES, {"0.jpg": b"jpeg"}).count("<img") == 1


def test_running_trials_come_first_and_then_the_best():
    trials = [trial(0), trial(1, "pruned"), trial(2), trial(3, "running")]
    assert [record.number for record in search_views.ranked(trials)] == [3, 2, 1, 0]


def test_the_best_trial_is_marked_in_words_too():
    html = search_views.trials([trial(0), trial(2)], best_trial=2)
    marked = re.findall(r'<tr class="best">(.*?)</tr>', html)
    assert len(marked) == 1 and ">2 <" in marked[0] and "Best so far" in marked[0]


def test_a_recipe_that_won_another_run_is_marked_in_words_too():
    html = search_views.trials([replace(trial(0), from_run="leaf-1"), trial(2)], best_trial=0)
    assert html.count("Its recipe won the run leaf-1") == html.count("Best so far") == 2
    assert "won the run" not in search_views.trials([trial(0)], best_trial=0)


def test_a_running_card_counts_down_and_says_when_it_is_done():
    html = search_views.run_card("run", state(), "on photos", 3, RESOURCES, None)
    assert "9 min" in text_of(html) and "2.0 of 8.0 GB" in html
    at = float(re.search(r'data-at="(\d+)"', html)[1])
    assert at == pytest.approx(time.time() + 540, abs=5)


def test_the_time_of_a_paused_run_stands_still():
    rest = state("paused", updated_at=time.time() - 300)
    assert search_views.elapsed_s(rest) == 60
    html = search_views.run_card("run", rest, "", 3, RESOURCES, None)
    assert "1 min" in text_of(html) and "data-at" not in html


def test_the_time_of_a_waiting_run_has_not_begun():
    waiting = state("queued", elapsed_s=0.0, updated_at=time.time() - 20)
    assert search_views.elapsed_s(waiting) == 0
    html = search_views.run_card("run", replace(waiting, message="Waits for a"), "", 0, None, None)
    assert "Waits for a" in html and "waiting" in html


def test_a_machine_without_a_gpu_shows_what_it_has():
    html = search_views.run_card("run", state(), "", 1, {**RESOURCES, "gpu": None}, None)
    assert "Processor" in html and "GPU" not in html


def test_importances_come_largest_first_with_plain_names():
    values = {"n_trials": 6, "importances": {"frozen_depth": 0.2, "encoder": 0.7}}
    text = text_of(search_views.importances(values))
    assert text.index("Encoder") < text.index("Frozen depth")
    assert "70 %" in text and "6 trials" in text
    assert "four finished trials" in search_views.importances(None)


def test_pictures_are_those_that_are_there():
    values = {**PICTURES, "images": [*PICTURES["images"], {"file": "1.jpg", "name": "b"}]}
    html = search_views.pictures(values, {"0.jpg": b"jpeg"})
    assert base64.b64encode(b"jpeg").decode() in html and html.count("<figure") == 1
    assert search_views.pictures(PICTURES, {}) == ""


def test_the_front_in_words_says_score_and_time():
    records = [replace(trial(number), latency_ms=10.0 * (number + 1)) for number in range(2)]
    text = text_of(search_views.front(records))
    assert "Trial 0: 52.0 % in 10 ms" in text and "Trial 1" in text
    assert search_views.front(records[:1]) == ""
