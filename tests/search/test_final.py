"""The final phase on tiny networks: what it continues, and what it falls back on."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from search_helpers import tiny_data

from autoseg.checkpoint import load_weights, save_weights
from autoseg.config import MAX_FROZEN_DEPTH, Geometry, Recipe
from autoseg.errors import BudgetError, PausedError, StoppedEarlyError, TrainingError
from autoseg.metrics import iou, macro_imagewise
from autoseg.model import build_model
from autoseg.report_facts import search_facts
from autoseg.search.bench import Bench
from autoseg.search.budget import Clock, EncoderCost, Plan
from autoseg.search.final import TRAINED_ON, FinalModel, _Kept, train_final
from autoseg.search.journal import Journal
from autoseg.search.run_folder import RunFolder
from autoseg.search.space import SearchSpace
from autoseg.training.compilation import Compilation, Note
from autoseg.training.compile_gains import case_of
from autoseg.training.trial import TrainResult, Trial

ENCODER, VIT = "test_resnet.r160_in1k", "test_vit.r160_in1k"
GEOMETRY = Geometry(window=(32, 32), scale=1.0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    data = tiny_data(tmp_path, GEOMETRY)
    space = SearchSpace((ENCODER,), GEOMETRY, ("fpn", "unet"), batch_size=4, epochs=2.0)
    cost = EncoderCost(1e-4, 1e-4, 1e-4, 1e-4, bf16=False)
    plan = Plan(space, {ENCODER: cost}, 100.0, 60.0, 60.0, 4, 8, 8, data.val, 3.0)
    return Bench(data, plan, torch.device("cpu"), 0, tmp_path / "decoders", lambda: True)


@pytest.fixture
def journal(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    journal = Journal(run, Clock(600.0, time.monotonic()), pid=1)
    yield journal
    journal.close("interrupted", "")


def final(bench: Bench, journal: Journal, number: int, decoder: str, seconds: float) -> FinalModel:
    recipe = Recipe(ENCODER, GEOMETRY, decoder_name=decoder, batch_size=4)
    journal.begin_trial(number, recipe, "default")
    torch.manual_seed(number)
    model = build_model(ENCODER, decoder, bench.data.num_classes, pretrained=False)
    ends = time.monotonic() + seconds
    return train_final(
        bench, journal, number, recipe, model.state_dict(), lambda: ends - time.monotonic()
    )


def test_a_decoder_on_an_encoder_that_is_only_tried_frozen_is_trained_to_the_end(bench, journal):
    space = replace(
        bench.plan.space, encoders=(ENCODER, VIT), vit_encoders=(VIT,), frozen_encoders=(VIT,)
    )
    costs = {**bench.plan.costs, VIT: bench.plan.costs[ENCODER]}
    plan = replace(bench.plan, space=space, costs=costs, frozen_windows=20, frozen_features=10)
    recipe = space.recipe(space.portfolio()[2])
    torch.manual_seed(0)
    begun = build_model(VIT, "dpt", bench.data.num_classes, pretrained=False).state_dict()
    journal.begin_trial(2, recipe, "portfolio")
    # Counted from the first step on: building the network takes seconds on a busy machine.
    result = train_final(replace(bench, plan=plan), journal, 2, recipe, begun, lambda: 4.0)
    assert journal.trials[2].reason == "trained to the end of the time"
    assert journal.trials[2].curve[-1].phase == "final"
    moved = {name for name in begun if not torch.equal(begun[name], result.weights[name])}
    assert moved and not any(name.startswith("encoder.") for name in moved)


def test_another_winner_does_not_get_the_weights_of_the_first(bench, journal):
    """A search that went on after a stop found another winner and loaded a foreign network."""
    first = final(bench, journal, 0, "fpn", seconds=1.0)
    second = final(bench, journal, 1, "unet", seconds=1.0)
    assert first.weights.keys() != second.weights.keys()


def test_training_that_breaks_keeps_the_weights_it_began_with(bench, journal, monkeypatch):
    """A loss that was not a number in the last phase cost the run its model."""

    def broken(self: Trial, *args: object, **options: object) -> None:
        with torch.no_grad():
            self.model.segmentation_head[0].weight.fill_(float("nan"))
        raise TrainingError("The loss became not a number.")

    monkeypatch.setattr(Trial, "fine_tune", broken)
    kept = final(bench, journal, 0, "fpn", seconds=1.0)
    assert all(bool(torch.isfinite(t).all()) for t in kept.weights.values())
    assert np.isfinite(journal.trials[0].recipe.epochs)


def begin(bench: Bench, journal: Journal, frozen_depth: int = 0) -> Recipe:
    """The one trial of a run without a search."""
    recipe = replace(bench.plan.space.default, frozen_depth=frozen_depth)
    journal.begin_trial(0, recipe, "default")
    return recipe


def test_a_decoder_that_was_trained_before_a_kill_is_a_model_where_no_time_is_left(
    bench, journal, hub_weights
):
    """It was read back as untrained, and the run ended with the sentence that no time was left."""
    recipe = begin(bench, journal)
    trained = bench.decoder_start(recipe)
    resumed = Bench(
        bench.data, bench.plan, bench.device, bench.seed, bench.folder, bench.keep_going
    )
    result = train_final(resumed, journal, 0, recipe, None, lambda: -5.0)
    assert all(torch.equal(result.weights[name], trained.weights[name]) for name in trained.weights)


@pytest.mark.parametrize("frozen_depth", [0, MAX_FROZEN_DEPTH])
def test_a_stop_before_the_first_step_makes_no_model_of_an_untrained_network(
    bench, journal, hub_weights, frozen_depth
):
    recipe = begin(bench, journal, frozen_depth)
    stopped = replace(bench, keep_going=lambda: False)
    with pytest.raises(StoppedEarlyError, match="The same command goes on"):
        train_final(stopped, journal, 0, recipe, None, lambda: 60.0)
    with pytest.raises(BudgetError, match="Give a larger budget"):
        train_final(stopped, journal, 0, recipe, None, lambda: -5.0)


def interrupted(bench: Bench) -> Bench:
    """Somebody pauses after some steps of training, features of a frozen encoder included."""
    steps = iter(range(30))

    def keep_going() -> bool:
        if next(steps, None) is None:
            raise PausedError("The search is paused.")
        return True

    return replace(bench, keep_going=keep_going)


@pytest.mark.parametrize("frozen_depth", [0, MAX_FROZEN_DEPTH])
def test_a_phase_that_is_interrupted_before_its_only_evaluation_goes_on_from_there(
    bench, journal, hub_weights, monkeypatch, frozen_depth
):
    """It was saved at evaluations alone: a kill after 90 % of the time lost all of it."""
    monkeypatch.setattr("autoseg.training.trainer.AVERAGE_EVERY_S", 0.0)
    recipe = begin(bench, journal, frozen_depth)
    begun = build_model(ENCODER, "fpn", bench.data.num_classes, pretrained=False).state_dict()
    weights = None if frozen_depth else begun
    slow = replace(bench.plan.costs[ENCODER], validation_s=1.0)  # One evaluation, at the end.
    bench = replace(bench, plan=replace(bench.plan, costs={ENCODER: slow}))
    with pytest.raises(PausedError):
        train_final(interrupted(bench), journal, 0, recipe, weights, lambda: 60.0)
    assert not journal.trials[0].curve
    (file,) = (journal.folder.path / "final").iterdir()
    left = load_weights(file)
    resumed = train_final(bench, journal, 0, recipe, weights, lambda: -5.0)
    assert all(torch.equal(resumed.weights[name], left[name]) for name in left)
    assert not all(torch.equal(begun[name], left[name]) for name in left)
    again = train_final(bench, journal, 0, recipe, weights, lambda: -5.0)
    assert all(torch.equal(again.weights[name], left[name]) for name in left)


def test_what_came_after_the_last_evaluation_is_scored_when_the_phase_goes_on(
    bench, journal, monkeypatch
):
    """Nobody has scored it: the earlier weights stay if they are clearly better."""
    recipe = begin(bench, journal)
    begun, best, latest = (
        build_model(ENCODER, "fpn", bench.data.num_classes, pretrained=False).state_dict()
        for _ in range(3)
    )
    for clearly, expected in ((False, latest), (True, begun)):
        monkeypatch.setattr(
            "autoseg.search.final.clearly_better", lambda first, second, clearly=clearly: clearly
        )
        save_weights(journal.folder.path / "final" / "0.safetensors", best)
        save_weights(journal.folder.path / "final" / "0-latest.safetensors", latest)
        result = train_final(bench, journal, 0, recipe, begun, lambda: -5.0)
        assert all(torch.equal(result.weights[name], expected[name]) for name in expected)
        assert [file.name for file in (journal.folder.path / "final").iterdir()] == [
            "0.safetensors"
        ]


def test_weights_that_a_loss_has_spoilt_do_not_replace_those_before(tmp_path):
    kept = _Kept(tmp_path, 0)
    kept.keep_latest({"weight": torch.ones(2)})
    kept.keep_latest({"weight": torch.tensor([1.0, float("nan")])})
    assert kept.best() is None and torch.equal(kept.latest()["weight"], torch.ones(2))


def full(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def test_memory_that_runs_out_beside_a_step_keeps_the_weights_it_began_with(
    bench, journal, monkeypatch
):
    """For the optimizer's state there is no smaller step: it ended the run with a traceback."""
    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    kept = final(bench, journal, 0, "fpn", seconds=30.0)
    assert journal.trials[0].reason.startswith("Memory ran out on cpu.")
    assert journal.trials[0].status == "complete" and len(kept.confusions) == 3


def test_a_network_that_does_not_fit_into_memory_is_told_with_a_way_out(
    bench, journal, monkeypatch
):
    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(TrainingError, match="close other programs"):
        final(bench, journal, 0, "fpn", seconds=30.0)


def test_what_it_began_with_may_be_scored_again_when_memory_ran_out_at_first(
    bench, journal, monkeypatch
):
    """The final phase ended with an UnboundLocalError."""
    scored, calls = Trial.scored, []

    def short(self: Trial) -> TrainResult:
        calls.append(self)
        if len(calls) == 1:
            raise TrainingError("Memory ran out while one image was scored.")
        return scored(self)

    monkeypatch.setattr(Trial, "scored", short)
    kept = final(bench, journal, 0, "fpn", seconds=30.0)
    assert len(kept.confusions) == 3 and journal.trials[0].reason.startswith("Memory ran out")


@pytest.mark.parametrize("left_s", [-5.0, 0.0001])
def test_a_former_model_without_time_to_train_it_is_not_handed_back(bench, journal, left_s):
    """It came back as "done", 0.0 points above itself, without one step of training."""
    weights = build_model(ENCODER, "fpn", bench.data.num_classes, pretrained=False).state_dict()
    recipe = Recipe(ENCODER, GEOMETRY, decoder_name="fpn", batch_size=4)
    journal.begin_trial(0, recipe, TRAINED_ON)
    with pytest.raises(BudgetError, match="Give it at least"):
        train_final(bench, journal, 0, recipe, weights, lambda: left_s)
    stopped = replace(bench, keep_going=lambda: False)
    with pytest.raises(StoppedEarlyError):
        train_final(stopped, journal, 0, recipe, weights, lambda: 60.0)


def test_what_was_chosen_stays_chosen_when_the_run_goes_on(bench, journal, monkeypatch):
    """A pause while the model was evaluated threw the choice away: the last weights were taken."""
    monkeypatch.setattr("autoseg.search.final.clearly_better", lambda first, second: True)
    begun = build_model(ENCODER, "fpn", bench.data.num_classes, pretrained=False).state_dict()
    recipe = Recipe(ENCODER, GEOMETRY, decoder_name="fpn", batch_size=4)
    journal.begin_trial(0, recipe, "default")
    ends = time.monotonic() + 1.0
    first = train_final(bench, journal, 0, recipe, begun, lambda: ends - time.monotonic())
    assert all(torch.equal(first.weights[name], begun[name]) for name in begun)
    journal.save_result(0, first.weights, first.confusions)
    second = train_final(bench, journal, 0, recipe, journal.weights(0), lambda: -5.0)
    assert all(torch.equal(second.weights[name], begun[name]) for name in begun)


def test_the_winners_score_is_that_of_the_weights_kept(bench, journal, monkeypatch):
    """It was the highest of its evaluations, and pushed other trials off the Pareto front."""
    monkeypatch.setattr("autoseg.search.final.clearly_better", lambda first, second: True)
    result = final(bench, journal, 0, "fpn", seconds=3.0)
    (record,) = journal.folder.trials()
    assert record.score == pytest.approx(float(macro_imagewise(iou, result.confusions)))
    assert record.score < max(point.score for point in record.curve)


def test_a_phase_that_was_paused_is_still_compared_with_its_beginning(bench, journal, monkeypatch):
    """A pause in the final training forgot the weights it began with, were they better or not."""
    monkeypatch.setattr("autoseg.search.final.clearly_better", lambda first, second: True)
    begun, halfway = (
        build_model(ENCODER, "fpn", bench.data.num_classes, pretrained=False).state_dict()
        for _ in range(2)
    )
    save_weights(journal.folder.path / "final" / "0.safetensors", halfway)
    recipe = Recipe(ENCODER, GEOMETRY, decoder_name="fpn", batch_size=4)
    journal.begin_trial(0, recipe, "default")
    result = train_final(bench, journal, 0, recipe, begun, lambda: -5.0)
    assert all(torch.equal(result.weights[name], begun[name]) for name in begun)
    monkeypatch.setattr("autoseg.search.final.clearly_better", lambda first, second: False)
    save_weights(journal.folder.path / "final" / "0.safetensors", halfway)
    result = train_final(bench, journal, 0, recipe, begun, lambda: -5.0)
    assert all(torch.equal(result.weights[name], halfway[name]) for name in begun)


def test_training_that_the_time_cut_short_was_not_stopped_on_request(bench, journal):
    """On a machine that was slower than measured the trial said that somebody had stopped it."""
    asked: list[float] = []

    def left() -> float:
        return 60.0 if len(asked) < 20 else -1.0

    def keep_going() -> bool:
        asked.append(left())
        return asked[-1] > 0

    recipe = Recipe(ENCODER, GEOMETRY, decoder_name="fpn", batch_size=4)
    journal.begin_trial(0, recipe, "default")
    begun = build_model(ENCODER, "fpn", bench.data.num_classes, pretrained=False).state_dict()
    train_final(replace(bench, keep_going=keep_going), journal, 0, recipe, begun, left)
    assert journal.trials[0].reason == "trained to the end of the time"


def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> None:
    raise FileNotFoundError("no C compiler here")


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is_and_the_trial_says_so(
    bench, journal, monkeypatch, tmp_path
):
    """On the CPU, for a phase that is said to last longer than it does."""
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def compilation(self: Trial, home: Path, seconds: float, note: Note) -> Compilation:
        case = case_of(self.recipe, 5, self.precision)
        device = self.precision.device
        return Compilation(
            self.model, 4, device, case, home, 3600.0, note, backend=broken, device_types=("cpu",)
        )

    monkeypatch.setattr(Trial, "compilation", compilation)
    final(bench, journal, 0, "fpn", seconds=6.0)
    record = journal.folder.trials()[0]
    assert record.speedup == 0 and "no C compiler here" in record.note
    assert record.curve[-1].phase == "final" and record.images_per_s
    assert journal.folder.state().message == record.note
    assert search_facts([record], 0)["winner"]["speedup"] == 0


def test_on_a_cpu_the_final_training_is_not_compiled(bench, journal, monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path))
    final(bench, journal, 0, "fpn", seconds=1.0)
    record = journal.folder.trials()[0]
    assert record.speedup is None and record.note == ""
    assert not (tmp_path / "compiled.json").exists()
