import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.config import Geometry, Recipe
from autoseg.errors import PausedError
from autoseg.search.budget import Clock
from autoseg.search.journal import HEARTBEAT_S, KEPT_WEIGHTS, Journal
from autoseg.search.resources import ResourceMeter
from autoseg.search.run_folder import RunFolder, RunState, TrialStatus
from autoseg.training.trainer import Evaluation

RECIPE = Recipe("test_resnet", Geometry(window=(64, 64), scale=1.0))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def journal(run: RunFolder):
    opened = Journal(run, Clock(100.0, time.monotonic() - 7), pid=42)
    yield opened
    opened.close("done", "")


def evaluation(score: float, windows: int = 8) -> Evaluation:
    right, wrong = round(2000 * score), round(1000 * (1 - score))
    return Evaluation(1.0, windows, 1.0, 0.5, np.array([[[right, wrong], [wrong, right]]]))


def finish(
    journal: Journal,
    number: int,
    score: float,
    origin: str = "sampler",
    latency_s: float | None = None,
    status: TrialStatus = "complete",
) -> None:
    """A trial from its beginning to its end, in the order of the search."""
    journal.begin_trial(number, RECIPE, origin, latency_s)
    journal.add_point(number, evaluation(score), 4, "fine-tuning")
    weights = {"w": torch.full((3,), float(number))}
    journal.save_result(number, weights, evaluation(score).confusions)
    journal.record(replace(journal.trials[number], status=status))


def test_a_sentence_on_a_trial_is_shown_until_the_next_phase_and_kept(journal, run):
    journal.begin_trial(3, RECIPE, "default")
    journal.enter("final training")
    journal.note(3, "Compiled.", 1.6)
    assert run.state().message == "Compiled."
    journal.enter("evaluating")
    assert run.state().message == ""
    (record,) = run.trials()
    assert (record.note, record.speedup) == ("Compiled.", 1.6)


def with_weights(journal: Journal) -> set[int]:
    return {number for number in journal.trials if journal.has_weights(number)}


def within(seconds: float, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def next_beat(run: RunFolder, before: RunState) -> RunState:
    """The state that the heart writes next."""
    within(5 * HEARTBEAT_S, lambda: run.state().updated_at > before.updated_at)
    return run.state()


def test_the_state_is_on_disk_from_the_start_and_beats(journal, run):
    first = run.state()
    assert first.status == "running" and first.pid == 42
    assert first.elapsed_s == pytest.approx(7, abs=1)
    journal.progress(1, 4)
    later = next_beat(run, first)
    assert later.elapsed_s > first.elapsed_s
    assert later.progress == 0.25


def test_a_heart_that_missed_a_beat_beats_again(journal, run):
    """A disk that was full for a moment ended the thread, and the run looked dead ever after."""
    aside = run.path.with_name("aside")
    run.path.rename(aside)
    run.path.write_text("in the way")  # Nothing can be written below a file.
    time.sleep(HEARTBEAT_S + 0.5)
    run.path.unlink()
    aside.rename(run.path)
    next_beat(run, run.state())


def test_a_run_that_goes_on_still_has_its_best_score(journal, run):
    """After a pause the card and the list of runs lost it until the next trial was scored."""
    finish(journal, 3, 0.6)
    known = run.state()
    journal.close("paused", "")
    again = Journal(run, Clock(100.0), pid=43)
    state = run.state()
    again.close("interrupted", "")
    assert state.status == "running" and state.best_score is not None
    assert (state.best_trial, state.best_score) == (known.best_trial, known.best_score)


def test_a_trials_curve_and_best_are_kept_and_found_again(journal, run):
    journal.begin_trial(0, RECIPE, "default")
    assert run.trials()[0].status == "running"
    journal.add_point(0, evaluation(0.4, windows=4), 8, "decoder")
    journal.add_point(0, evaluation(0.3, windows=4), 8, "fine-tuning")
    journal.add_point(0, evaluation(0.35, windows=8), 8, "fine-tuning")
    (trial,) = run.trials()
    assert [point.epochs for point in trial.curve] == [0.5, 1.0, 1.5]
    times = [point.at_s for point in trial.curve]
    assert times == sorted(times) and times[0] == pytest.approx(7, abs=1)
    assert trial.score == pytest.approx(0.4)
    assert run.state().best_trial == 0 and run.state().best_score == pytest.approx(0.4)
    again = Journal(run, journal.clock, pid=43)
    assert again.trials == journal.trials
    again.close("interrupted", "")


def test_the_weights_of_the_best_few_and_of_the_default_stay(journal):
    finish(journal, 0, 0.1, origin="default")
    for number, score in enumerate((0.5, 0.9, 0.3, 0.7, 0.2, 0.8), start=1):
        finish(journal, number, score)
        assert journal.has_weights(number)  # The last one is kept until the next comes.
    finish(journal, 7, 0.1)
    assert with_weights(journal) == {0, 2, 4, 6, 7}
    assert journal.finalists() == {0, 2, 4, 6} and len(journal.finalists()) == KEPT_WEIGHTS + 1
    assert torch.equal(journal.weights(4)["w"], torch.full((3,), 4.0))
    for number in range(8):
        assert journal.confusions(number) is not None
    assert journal.confusions(99) is None


def test_the_weights_of_the_front_stay_as_long_as_they_are_on_it(journal):
    """Best ones of one encoder left a faster one that was good enough without its weights."""
    for number, score in enumerate((0.6, 0.7, 0.8, 0.9)):
        finish(journal, number, score, latency_s=0.02)
    finish(journal, 4, 0.5, latency_s=0.005, status="pruned")
    finish(journal, 5, 0.4, latency_s=0.006)
    finish(journal, 6, 0.1, latency_s=0.03)
    finish(journal, 7, 0.1, latency_s=0.04)
    assert with_weights(journal) == {1, 2, 3, 4, 7}, "the three best, the front, the last one"
    assert journal.finalists() == {1, 2, 3}, "what is only fast does not win"
    finish(journal, 8, 0.55, latency_s=0.004)
    finish(journal, 9, 0.2, latency_s=0.03)
    assert with_weights(journal) == {1, 2, 3, 8, 9}, "8 is both faster and better than 4"


def test_the_weights_of_the_front_outlive_the_run_but_for_the_winners(journal):
    for number, (score, latency_s) in enumerate([(0.5, 0.005), (0.6, 0.01), (0.9, 0.02)]):
        finish(journal, number, score, latency_s=latency_s)
    finish(journal, 3, 0.8, latency_s=0.02)
    journal.record(replace(journal.trials[2], tags=("winner",)))
    journal.drop_weights()
    assert with_weights(journal) == {0, 1}


def test_what_only_a_resumed_search_needs_goes_in_the_end(journal, run):
    finish(journal, 0, 0.5)
    for name in ("decoders", "final"):
        (run.path / name).mkdir()
    journal.drop_weights()
    assert not journal.has_weights(0) and journal.confusions(0) is not None
    assert not (run.path / "decoders").exists() and not (run.path / "final").exists()


@pytest.mark.parametrize("status", ["interrupted", "failed", "done"])
def test_closing_writes_the_last_word(run, status):
    journal = Journal(run, Clock(100.0), pid=1)
    journal.close(status, "a message", "an error")
    state = run.state()
    assert (state.status, state.message, state.error) == (status, "a message", "an error")
    assert (state.phase == "finished") == (status == "done")
    time.sleep(HEARTBEAT_S + 0.3)
    assert run.state() == state  # Nothing beats any more.


def test_who_waits_for_a_device_says_for_whom_and_beats(journal, run):
    journal.wait_for(["leaves-1", "leaves-2"])
    queued = run.state()
    assert queued.status == "queued" and queued.waits_for == "leaves-1" and queued.is_live
    assert "leaves-1" in queued.message and "1 more" in queued.message
    next_beat(run, queued)
    assert run.json("resources.json") is None  # It takes nothing yet.
    journal.begin(ResourceMeter(torch.device("cpu")))
    began = run.state()
    assert (began.status, began.message, began.waits_for) == ("running", "", "")
    within(5 * HEARTBEAT_S, lambda: run.json("resources.json") is not None)
    assert run.json("resources.json")["updated_at"] == pytest.approx(time.time(), abs=HEARTBEAT_S)


def test_a_request_to_pause_is_heard_where_work_reports_its_progress(journal, run):
    journal.progress(1, 4)
    run.request_pause()
    for report in (lambda: journal.progress(2, 4), lambda: journal.enter("searching")):
        with pytest.raises(PausedError, match="goes on"):
            report()
    assert run.state().phase == "checking data"
    journal.close("paused", "later")
    assert run.state().status == "paused" and run.state().progress == 0.25
