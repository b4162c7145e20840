"""The loop over trials: a study, a journal, and real training of tiny networks."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from search_helpers import tiny_data

from autoseg.config import MAX_FROZEN_DEPTH, Geometry
from autoseg.errors import PausedError
from autoseg.metrics import iou, macro_imagewise
from autoseg.search import bench as bench_module
from autoseg.search.bench import Bench
from autoseg.search.budget import Clock, EncoderCost, Plan
from autoseg.search.journal import Journal
from autoseg.search.loop import MOST_FAILURES, SearchLoop
from autoseg.search.run_folder import CurvePoint, RunFolder
from autoseg.search.space import MANY_TRIALS, EarlierWinner, SearchSpace
from autoseg.search.study import Study
from autoseg.training.trial import TrainingData, Trial

ENCODER = "test_resnet.r160_in1k"
GEOMETRY = Geometry(window=(32, 32), scale=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("loop"), GEOMETRY)


@pytest.fixture
def make_loop(tmp_path: Path, data: TrainingData, hub_weights):
    """A loop over `max_trials` trials in a run folder; a second call resumes it."""
    journals = []

    def make(
        max_trials: int = 4,
        keep_going: Callable[[], bool] = lambda: True,
        seed: int = 0,
        name: str = "run",
        **changes: object,
    ) -> SearchLoop:
        space = SearchSpace((ENCODER,), GEOMETRY, ("fpn",), batch_size=4, epochs=2.0)
        space = replace(space, **changes)
        cost = EncoderCost(1e-4, 1e-4, 1e-4, 1e-4, False, 0.01, decoders_s={"unet": 0.02})
        plan = Plan(space, {ENCODER: cost}, 100.0, 60.0, 60.0, max_trials, 8, 8, data.val, 3.0)
        run = RunFolder(tmp_path / name)
        run.path.mkdir(exist_ok=True)
        bench = Bench(
            data, plan, torch.device("cpu"), seed, run.path / "decoders", keep_going=keep_going
        )
        journal = Journal(run, Clock(600.0, time.monotonic()), pid=1)
        journals.append(journal)
        return SearchLoop(Study(run.study, space, seed), bench, journal, lambda: 100.0)

    yield make
    for journal in journals:
        journal.close("interrupted", "")


def recipes(loop: SearchLoop) -> list[tuple[int, float, float]]:
    return [
        (t.recipe.frozen_depth, t.recipe.decoder_lr, t.recipe.encoder_lr_ratio)
        for t in loop.journal.trials.values()
    ]


def test_every_trial_says_that_memory_was_short_for_the_decoder_it_started_from(
    make_loop, monkeypatch
):
    monkeypatch.setattr(bench_module, "_RAM_SHARE", 0.0)
    loop = make_loop(max_trials=2)
    loop.run()
    said = "Memory was short: the decoder learnt from 4 windows instead of 8."
    assert [trial.note for trial in loop.journal.trials.values()] == [said, said]
    assert loop.journal.folder.state().message == said


def test_trials_run_until_there_are_enough(make_loop):
    loop = make_loop(max_trials=3)
    loop.run()
    trials = loop.journal.trials
    assert len(trials) == 3 and loop.study.finished() == 3
    assert trials[0].status == "complete" and trials[0].origin == "default"
    for number, trial in trials.items():
        assert trial.status in ("complete", "pruned") and 0 <= trial.score <= 1
        assert loop.journal.confusions(number).shape == (3, 5, 5)
        assert trial.curve[0].phase == "decoder"
        assert (trial.curve[-1].phase == "decoder") == (
            trial.recipe.frozen_depth == MAX_FROZEN_DEPTH
        )
    assert loop.study.finished() == len(trials)


def test_a_trial_has_the_time_of_its_own_decoder(make_loop):
    """All had that of their encoder with the default decoder, and the front was wrong."""
    point = {
        "encoder": ENCODER, "frozen_depth": MAX_FROZEN_DEPTH, "decoder_lr": 1e-3,
        "augmentation": "light", "decoder": "unet",
    }  # fmt: skip
    loop = make_loop(
        max_trials=2,
        decoder_names=("fpn", "unet"),
        expected_trials=MANY_TRIALS,
        earlier=(EarlierWinner("leaf-1", point),),
    )
    loop.run()
    trials = loop.journal.trials.values()
    assert [trial.recipe.decoder_name for trial in trials] == ["fpn", "unet"]
    assert [trial.latency_ms for trial in trials] == [10.0, 20.0]


@pytest.mark.slow
def test_the_same_seed_runs_the_same_recipes(make_loop):
    found = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        loop = make_loop(max_trials=7, seed=seed, name=name)
        loop.run()
        found.append(recipes(loop))
    assert found[0] == found[1] != found[2]


def test_a_trial_that_was_killed_is_tried_again_and_the_rest_is_kept(make_loop):
    first = make_loop(max_trials=2)
    first.run()
    trial, params, origin = first.study.ask()  # And then the process dies.
    first.journal.begin_trial(trial.number, first.bench.plan.space.recipe(params), origin)
    kept = dict(first.journal.trials)
    second = make_loop(max_trials=3)
    second.run()
    trials = second.journal.trials
    assert trials[0] == kept[0] and trials[1] == kept[1]
    assert trials[2].status == "set aside" and "interrupted" in trials[2].reason
    assert trials[3].status in ("complete", "pruned")
    assert recipes(second)[3][:2] == recipes(second)[2][:2]
    assert trials[3].origin == kept[2].origin


def test_a_diverged_trial_fails_and_comes_back_slower_once(make_loop, monkeypatch):
    """Its loss becomes not a number in real training: weights of infinity are put in."""
    loop = make_loop(max_trials=1)
    open_trial = loop.bench.open_trial
    opened = []

    def exploding(recipe, seed, weights=None):
        trial = open_trial(recipe, seed, weights)
        if weights is not None:  # Not the decoder's start.
            opened.append(recipe)
            with torch.no_grad():
                trial.model.segmentation_head[0].weight.fill_(float("inf"))
        return trial

    monkeypatch.setattr(loop.bench, "open_trial", exploding)
    loop.run_one()
    loop.run_one()
    first, second = loop.journal.trials.values()
    assert first.status == second.status == "failed" and "not a number" in first.reason
    assert second.recipe.decoder_lr == pytest.approx(first.recipe.decoder_lr / 3)
    assert loop.study.finished() == 0
    monkeypatch.undo()
    loop.run()
    third = loop.journal.trials[2]
    assert third.status == "complete" and third.recipe.encoder_lr_ratio == 1.0


def test_a_stop_ends_the_trial_at_once_with_its_score(make_loop):
    asked = iter([True] * 12)
    loop = make_loop(max_trials=50, keep_going=lambda: next(asked, False))
    started = time.monotonic()
    loop.run()
    assert time.monotonic() - started < 30
    trials = loop.journal.trials
    assert 1 <= len(trials) < 10
    assert all(t.status != "running" and t.score is not None for t in trials.values())
    assert all(loop.journal.confusions(number) is not None for number in trials)


def test_a_trial_that_a_stop_leaves_untrained_is_set_aside_and_tried_again(make_loop):
    """It won with 0 windows trained, and the run said that the model is ready."""
    asked = iter([True])
    loop = make_loop(max_trials=2, keep_going=lambda: next(asked, False))
    loop.run()
    (trial,) = loop.journal.trials.values()
    assert trial.status == "set aside" and loop.journal.confusions(trial.number) is None
    again = make_loop(max_trials=2)
    again.run()
    second = again.journal.trials[1]
    assert second.status == "complete"
    assert replace(second.recipe, epochs=trial.recipe.epochs) == trial.recipe


def test_a_search_of_which_no_trial_can_end_is_given_up(make_loop, monkeypatch):
    """With memory filled by another program it failed trials until its time was up."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    loop = make_loop(max_trials=50)
    monkeypatch.setattr(loop.bench, "open_trial", full, raising=False)
    loop.run()
    assert len(loop.journal.trials) == MOST_FAILURES


def test_decoder_starts_are_made_once_and_found_by_a_resumed_search(make_loop):
    loop = make_loop(max_trials=2)
    loop.run()
    (file,) = loop.bench.folder.iterdir()
    written = file.stat().st_mtime_ns
    again = make_loop(max_trials=3)
    again.run()
    assert file.stat().st_mtime_ns == written
    (start,) = again.bench._starts.values()
    (made,) = loop.bench._starts.values()
    assert start.best.score == pytest.approx(made.best.score, abs=1e-6)


def test_a_decoder_start_cut_short_by_a_stop_is_no_start_for_a_resumed_search(make_loop):
    """An unfinished decoder was kept on disk, and every later trial began from it."""
    loop = make_loop(keep_going=lambda: False)
    loop.bench.decoder_start(loop.bench.plan.space.default)
    assert not list(loop.bench.folder.glob("*"))


def test_a_score_is_that_of_the_weights_kept_and_not_of_the_decoder_they_began_with(make_loop):
    """Trials that fine-tuning had spoilt were ranked by the decoder all of them began with."""
    loop = make_loop(max_trials=5)
    loop.run()
    for number, trial in loop.journal.trials.items():
        score = float(macro_imagewise(iou, loop.journal.confusions(number)))
        assert trial.score == pytest.approx(score)
        if trial.status == "complete":
            assert loop.study._study.trials[number].value == pytest.approx(score)


def test_memory_that_runs_out_outside_a_step_ends_the_trial_and_not_the_search(
    make_loop, monkeypatch
):
    loop = make_loop(max_trials=2)
    evaluate = Trial.evaluate
    calls = []

    def full(self, indices):
        calls.append(indices)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return evaluate(self, indices)

    monkeypatch.setattr(Trial, "evaluate", full)
    loop.run()
    first, *others = loop.journal.trials.values()
    assert first.status == "failed" and "out of memory" in first.reason
    assert [t.status for t in others] == ["complete", "complete"]


def test_a_paused_trial_is_set_aside_and_tried_again(make_loop):
    def keep_going() -> bool:
        ended = [trial.status != "running" for trial in loop.journal.trials.values()]
        if len(ended) >= 3 and not ended[-1]:
            raise PausedError("paused")
        return True

    loop = make_loop(max_trials=3, keep_going=keep_going)
    with pytest.raises(PausedError):
        loop.run()
    *kept, paused = loop.journal.trials.values()
    assert paused.status == "set aside" and "paused" in paused.reason
    again = make_loop(max_trials=3)
    again.run()
    trials = again.journal.trials
    assert [trials[t.number] for t in kept] == kept
    assert trials[paused.number].reason == paused.reason
    retried = trials[paused.number + 1]
    assert retried.recipe.frozen_depth == paused.recipe.frozen_depth
    assert retried.status in ("complete", "pruned")


def test_a_search_that_ended_for_want_of_gains_does_not_begin_again(make_loop, monkeypatch):
    """Paused in the final training, it ran another dozen trials and might choose another winner."""
    monkeypatch.setattr("autoseg.search.loop.PATIENCE", 2)
    monkeypatch.setattr("autoseg.search.loop.MIN_IMPROVEMENT", 0.5)
    loop = make_loop(max_trials=50)
    loop.run()
    *_, winner, last = loop.journal.trials.values()
    assert winner.origin == last.origin == "sampler"
    trained = CurvePoint(9.0, 9.0, None, 1.0, "final", 9.0)
    loop.journal.record(replace(winner, score=1.0, curve=(*winner.curve, trained)))
    again = make_loop(max_trials=50)
    again.run()
    assert again.journal.trials == loop.journal.trials
