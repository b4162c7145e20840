"""How a run's stages hear of requests."""

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from autoseg.config import Geometry, Recipe, SearchConfig
from autoseg.errors import PausedError
from autoseg.report_facts import missing_trials, search_facts
from autoseg.search.budget import Clock, Plan
from autoseg.search.journal import Journal
from autoseg.search.run_folder import RunFolder, TrialRecord
from autoseg.search.space import SearchSpace
from autoseg.search.stop_request import StopRequest
from autoseg.stages import ASKED_SHARE, LOOK_EVERY_S, Stages

RECIPE = Recipe("test_resnet.r160_in1k", Geometry(window=(32, 32), scale=1.0))


@pytest.fixture
def stages(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    clock = Clock(600.0, time.monotonic())
    journal = Journal(run, clock, pid=1)
    yield Stages(tmp_path, SearchConfig(600.0), run, clock, journal, StopRequest(run))
    journal.close("interrupted", "")


def test_training_does_not_look_on_the_disk_before_every_step(stages, monkeypatch):
    """Two looks a step cost a network file system more than a small network's step."""
    looks: Counter[str] = Counter()
    for name in ("pause_requested", "stop_requested"):
        real = getattr(RunFolder, name)

        def counted(run: RunFolder, name: str = name, real=real) -> bool:
            looks[name] += 1
            return real(run)

        monkeypatch.setattr(RunFolder, name, counted)
    started = time.monotonic()
    for _ in range(2000):
        assert stages._keep_going()
    most = 1 + (time.monotonic() - started) / LOOK_EVERY_S
    assert 1 <= looks["pause_requested"] <= most and 1 <= looks["stop_requested"] <= most


def test_training_hears_of_requests_soon(stages):
    assert stages._keep_going()
    stages.run.request_stop()
    time.sleep(LOOK_EVERY_S)
    assert not stages._keep_going() and not stages._keep_going()
    stages.run.request_pause()
    time.sleep(LOOK_EVERY_S)
    with pytest.raises(PausedError):
        stages._keep_going()


def test_a_stop_of_this_process_needs_no_look(stages):
    assert stages._keep_going()
    stages.stop.ask()
    assert not stages._keep_going()


def test_time_that_is_up_ends_training_but_no_fold(stages):
    """A fold has its own time."""
    stages.clock.spent_before_s += stages.clock.left() + 1
    assert not stages._keep_going() and stages._not_stopped()
    stages.stop.ask()
    assert not stages._not_stopped()


def test_trials_that_were_asked_for_may_take_some_of_the_final_trainings_time(stages):
    """Their length is planned by the default's; larger encoders take longer, and were left out."""
    space = SearchSpace((RECIPE.encoder_name,), RECIPE.geometry, ("fpn",), expected_trials=2)
    plan = Plan(space, {}, 100.0, 180.0, 200.0, 3, 8, 8, (0,), 30.0)
    assert stages._search_until_s(plan) == 200.0
    stages.config = replace(stages.config, n_trials=3)
    assert stages._search_until_s(plan) == pytest.approx(200 + ASKED_SHARE * 400, abs=1)
    stages.config = replace(stages.config, n_trials=100)
    assert stages._search_until_s(plan) == 200.0


def test_a_pause_says_that_the_trial_that_ran_starts_again(stages):
    """It said only that the search goes on where it stood, and the trial was lost."""
    stages.journal.enter("searching")
    stages.run.request_pause()
    with pytest.raises(PausedError, match="where it stood.$"):
        stages.journal.leave_if_paused()
    stages.journal.begin_trial(0, RECIPE, "default")
    with pytest.raises(PausedError, match="The trial that ran starts again.$"):
        stages.journal.leave_if_paused()


def test_a_trial_that_was_set_aside_is_no_trial_of_the_report():
    trials = [
        TrialRecord(0, "complete", RECIPE, "default", score=0.5),
        TrialRecord(1, "set aside", RECIPE, "sampler"),
        TrialRecord(2, "pruned", RECIPE, "sampler", score=0.4),
    ]
    facts = search_facts(trials, 0)
    assert facts["trials"] == {"complete": 1, "pruned": 1}
    assert facts["encoders"][0]["trials"] == 2
    assert missing_trials({"search": facts}) == ""


def test_trials_that_were_asked_for_and_not_made_are_told():
    """Of three there were two, and nothing said so."""
    trials = [TrialRecord(k, "complete", RECIPE, "default", score=0.5) for k in range(2)]
    for n_asked, said in ((None, ""), (2, ""), (3, "2 of the 3 trials that were asked for")):
        report = {"search": search_facts(trials, 0, n_asked)}
        assert missing_trials(report).startswith(said) and bool(missing_trials(report)) == bool(
            said
        )
