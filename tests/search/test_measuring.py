"""What encoders cost, measured on tiny data, also when a run goes on elsewhere."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from search_helpers import fill_hub_cache, tiny_data

from autoseg.config import Geometry, SearchConfig
from autoseg.errors import TrainingError
from autoseg.inference import Segmentation, segment
from autoseg.search import calibration, measuring
from autoseg.search.budget import (
    EVALUATION_MARGIN,
    RESERVE_S,
    RESERVE_SHARE,
    Clock,
    EncoderCost,
    Plan,
)
from autoseg.search.calibration import CALIBRATION_SHARE, make_plan, measure_again
from autoseg.search.measuring import (
    Workload,
    first_recipe,
    judging_limit_s,
    measure,
    measure_decoder,
    measure_judging,
)
from autoseg.search.planning import frozen_trial
from autoseg.search.space import MANY_TRIALS, SearchSpace
from autoseg.training.trial import TrainingData, Trial

CPU = torch.device("cpu")
ENCODER = "test_resnet.r160_in1k"
GEOMETRY = Geometry(window=(32, 32), scale=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("measuring"), GEOMETRY, size=(64, 96))


@pytest.fixture
def work(data: TrainingData, hub_weights) -> Workload:
    return Workload(data, GEOMETRY, "none", 3, (ENCODER,), lambda trial, most_s: 0.5)


def count(monkeypatch, then: Callable[[], None] = lambda: None) -> list[tuple[bool, int]]:
    """Note of every image that is timed whether autocast is on, and its pixels."""
    seen = []

    def noted(forward: object, image: np.ndarray, *rest: object, **more: object) -> Segmentation:
        seen.append((torch.is_autocast_enabled("cpu"), image.shape[0] * image.shape[1]))
        then()
        return segment(forward, image, *rest, **more)

    monkeypatch.setattr(measuring, "segment", noted)
    return seen


def test_the_time_of_an_image_is_that_of_a_model_in_use_also_where_bfloat16_trains(
    work, monkeypatch
):
    """A CPU trains in bfloat16 where that is faster, and its models predict in float32."""
    monkeypatch.setattr(measuring, "has_fast_bf16", lambda device: True)
    steps = iter([2.0, 1.0])
    monkeypatch.setattr(Trial, "time_step", lambda trial, count: next(steps))
    seen = count(monkeypatch)
    cost = measure(ENCODER, work, CPU, 2, seed=0)
    assert cost.bf16 and cost.latency_s > 0
    assert set(seen) == {(False, 64 * 96)} and len(seen) > 2


@pytest.mark.parametrize("decoder", ["unet", "segformer"])
def test_an_image_is_timed_alone_with_another_decoder(work, monkeypatch, decoder):
    seen = count(monkeypatch)
    assert measure_decoder(ENCODER, decoder, work, CPU) > 0
    assert set(seen) == {(False, 64 * 96)} and len(seen) > 2


def test_a_decoder_for_which_memory_runs_out_is_told_so(work, monkeypatch):
    def run_out() -> None:
        raise torch.OutOfMemoryError("out of memory")

    count(monkeypatch, run_out)
    with pytest.raises(TrainingError, match="Memory ran out"):
        measure_decoder(ENCODER, "unet", work, CPU)


def test_what_judging_takes_is_told_beside_the_network(work):
    recipe = first_recipe(ENCODER, work, 2)
    cost = measure(ENCODER, work, CPU, 2, seed=0)
    told_s = measure_judging(recipe, work, cost, CPU, 60.0)
    assert told_s == pytest.approx(0.5 - cost.image_s)


@pytest.mark.parametrize(("budget_s", "most_s"), [(10.0, 1.0), (50.0, 1.0), (3600.0, 72.0)])
def test_timing_it_takes_a_fiftieth_of_the_budget_or_a_second(budget_s, most_s):
    assert judging_limit_s(budget_s) == most_s


OTHER = "test_vit.r160_in1k"
GPU_COST = EncoderCost(1e-7, 2e-8, 3e-8, 4e-8, True, 5e-8, decoders_s={"unet": 6e-8})
"""What no CPU can keep up with."""


def plan_of_a_gpu(val: tuple[int, ...], **changes: object) -> Plan:
    space = SearchSpace(
        (ENCODER, OTHER), GEOMETRY, ("fpn", "unet"), vit_encoders=(OTHER,),
        frozen_encoders=(OTHER,), batch_size=2, expected_trials=MANY_TRIALS,
    )  # fmt: skip
    windows, features = frozen_trial(5, space.epochs)
    plan = Plan(
        space, {ENCODER: GPU_COST, OTHER: replace(GPU_COST, step_s=3e-7, decoders_s={})},
        1e6, 300.0, 310.0, 200, 50, 10, val, 15.0, 3.0, windows, features, 1e-3, "a GPU",
    )  # fmt: skip
    return replace(plan, **changes)


def test_a_run_that_goes_on_elsewhere_keeps_what_it_searches_and_learns_what_it_costs(
    work, monkeypatch
):
    """A CPU was given a GPU's costs and its bfloat16: a hundredth of the reserve that it needs."""
    monkeypatch.setattr(measuring, "has_fast_bf16", lambda device: False)
    former = plan_of_a_gpu(work.data.val[:2])
    clock = Clock(600.0, time.monotonic() - 100)
    plan = measure_again(former, work, CPU, clock, seed=0)
    assert (plan.space, plan.val, plan.max_trials) == (former.space, former.val, 200)
    assert plan.decoder_length(OTHER) == former.decoder_length(OTHER)
    assert list(plan.costs) == [ENCODER, OTHER]
    for name, cost in plan.costs.items():
        assert cost.step_s > 10 * former.costs[name].step_s and cost.image_s > 1e-5
        assert not cost.bf16 and cost.decoders_s.keys() == former.costs[name].decoders_s.keys()
    judged_s = EVALUATION_MARGIN * 3 * (plan.judging_s + plan.costs[ENCODER].image_s)
    assert plan.judging_s > 0.3  # Of the half second that `work` says.
    assert plan.reserve_s == clock.reserve_s
    assert plan.reserve_s == pytest.approx(RESERVE_S + RESERVE_SHARE * 600 + 2 * judged_s)
    assert 0 < plan.reference_epochs < former.reference_epochs


@pytest.mark.parametrize(("reserve_s", "off_s"), [(1000.0, 0.0), (18.0, 0.0), (10.0, 8.0)])
def test_a_longer_evaluation_elsewhere_comes_off_the_search(work, monkeypatch, reserve_s, off_s):
    monkeypatch.setattr(calibration, "reserve", lambda *_: 18.0)
    former = plan_of_a_gpu(work.data.val, reserve_s=reserve_s)
    plan = measure_again(former, work, CPU, Clock(600.0, time.monotonic()), seed=0)
    assert former.search_s - plan.search_s == pytest.approx(off_s)
    assert former.search_until_s - plan.search_until_s == pytest.approx(off_s)
    short = replace(former, search_s=10.0)
    again = measure_again(short, work, CPU, Clock(600.0, time.monotonic()), seed=0)
    assert again.search_s == pytest.approx(10.0 - min(off_s, 5.0))


@pytest.mark.parametrize("why", ["time", "memory"])
def test_encoders_that_cannot_be_measured_are_as_much_slower_as_the_reference(
    work, monkeypatch, why
):
    measured, decoders, real = [], [], calibration.measure_recipe

    def measure_recipe(recipe, *rest):
        measured.append(recipe.encoder_name)
        decoders.append(recipe.decoder_name)
        if why == "memory" and recipe.encoder_name == OTHER:
            raise TrainingError("Memory ran out")
        return real(recipe, *rest)

    monkeypatch.setattr(calibration, "measure_recipe", measure_recipe)
    if why == "time":
        monkeypatch.setattr(calibration, "CALIBRATION_SHARE", 0.0)
    former = plan_of_a_gpu(work.data.val)
    plan = measure_again(former, work, CPU, Clock(600.0, time.monotonic()), seed=0)
    # The plan is of before the U-Net became the default.
    assert decoders == ["fpn", "dpt"][: len(measured)]
    assert measured == ([ENCODER] if why == "time" else [ENCODER, OTHER])
    was, now = former.costs[ENCODER], plan.costs[ENCODER]
    cost = plan.costs[OTHER]
    assert cost.step_s / now.step_s == pytest.approx(3.0)  # As on the GPU.
    assert cost.image_s == pytest.approx(now.image_s) and cost.bf16 == now.bf16
    assert was.scaled(was, now).decoders_s == pytest.approx({"unet": 1.2 * now.image_s})
    assert 0 < CALIBRATION_SHARE < 0.2


def test_an_encoder_whose_network_does_not_fit_into_memory_is_left_out(
    work, hub_folder, monkeypatch
):
    """Memory that ran out beside a step ended the run with a traceback."""
    large = "test_vit.r160_in1k"
    fill_hub_cache(hub_folder, large)
    to = torch.nn.Module.to

    def full(model: torch.nn.Module, *args: object, **options: object) -> torch.nn.Module:
        if any("attn" in name for name, _ in model.named_modules()):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return to(model, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "to", full)
    clock = Clock(6000.0, time.monotonic())
    several = replace(work, encoder_names=(ENCODER, large))
    assert set(make_plan(several, SearchConfig(6000.0), CPU, clock).costs) == {ENCODER}
    with pytest.raises(TrainingError, match="Choose a smaller encoder"):
        make_plan(replace(work, encoder_names=(large,)), SearchConfig(6000.0), CPU, clock)
