"""What encoders cost, measured on tiny data."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from autoseg.config import Geometry
from autoseg.data.cache import build_cache
from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.errors import TrainingError
from autoseg.inference import Segmentation, segment
from autoseg.search import measuring
from autoseg.search.measuring import (
    Workload,
    first_recipe,
    judging_limit_s,
    measure,
    measure_decoder,
    measure_judging,
)
from autoseg.training.trial import TrainingData, Trial

CPU = torch.device("cpu")
ENCODER = "test_resnet.r160_in1k"
GEOMETRY = Geometry(window=(32, 32), scale=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    folder = tmp_path_factory.mktemp("measuring")
    dataset = check_dataset(make_sample_dataset(folder / "set", 8, size=(64, 96)))
    cache = build_cache(dataset, GEOMETRY, folder / "cache")
    return TrainingData(cache, tuple(range(5)), (5, 6, 7), dataset.classes.num_classes)


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
