"""What the trials of one search share."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from search_helpers import fill_hub_cache, tiny_data

from autoseg.config import MAX_FROZEN_DEPTH, Geometry
from autoseg.data.batches import Pixels
from autoseg.search import bench as bench_module
from autoseg.search.bench import Bench
from autoseg.search.budget import EncoderCost, Plan
from autoseg.search.space import SearchSpace
from autoseg.training.schedule import Schedule
from autoseg.training.trial import TrainingData

ENCODER, VIT = "test_resnet.r160_in1k", "test_vit.r160_in1k"
GEOMETRY = Geometry(window=(32, 32), scale=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return tiny_data(tmp_path_factory.mktemp("bench"), GEOMETRY, n_val=2)


@pytest.fixture
def make_bench(tmp_path: Path, data: TrainingData, hub_weights):
    def make(pixels: Pixels | None = None, **changes: object) -> Bench:
        space = SearchSpace((ENCODER,), GEOMETRY, ("fpn",), batch_size=4, epochs=2.0)
        cost = EncoderCost(1e-4, 1e-4, 1e-4, 1e-4, bf16=False)
        plan = Plan(space, {ENCODER: cost}, 100.0, 60.0, 60.0, 4, 8, 8, data.val, 3.0)
        bench = Bench(data, plan, torch.device("cpu"), 0, tmp_path / "decoders", lambda: True)
        return bench if pixels is None else replace(bench, _pixels=pixels)

    return make


def keeping(data: TrainingData, n_images: int) -> Pixels:
    """Room for so many images, as a GPU has it."""
    return Pixels(data.cache, torch.device("cpu"), n_images * 4 * 32 * 48, GEOMETRY.window)


def test_trials_share_the_images_with_those_of_other_splits(make_bench, data):
    """Every trial copied all training images to the GPU again."""
    pixels = keeping(data, 8)
    bench = make_bench(pixels)
    fold = replace(bench, data=replace(data, train=(1, 2, 7), val=(0, 5)))
    trials = [b.open_trial(bench.plan.space.default, 0) for b in (bench, fold, bench)]
    assert {id(trial._source.windows.pixels) for trial in trials} == {id(pixels)}
    assert sorted(pixels._kept) == list(range(8))


def test_training_images_come_before_validation_images_where_memory_is_short(make_bench, data):
    pixels = keeping(data, 6)
    make_bench(pixels).open_trial(make_bench().plan.space.default, 0)
    assert sorted(pixels._kept) == [0, 1, 2, 3, 4]


def test_images_that_do_not_fit_leave_the_trial_as_it_is(make_bench, data):
    class Full(Pixels):
        """A device whose memory runs out after two images; torch's error, injected."""

        def keep(self, indices) -> None:
            super().keep(list(indices)[:2])
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    pixels = Full(data.cache, torch.device("cpu"), 2**30)
    trial = make_bench(pixels).open_trial(make_bench().plan.space.default, 0)
    assert pixels.kept_bytes == 0 == pixels.max_bytes
    images, _ = trial._source.windows.draw(3)
    assert images.shape == (3, 3, 32, 32)


def test_on_a_cpu_images_stay_where_they_are_mapped(make_bench):
    bench = make_bench()
    bench.open_trial(bench.plan.space.default, 0)
    assert bench._pixels.kept_bytes == 0 == bench._pixels.max_bytes


def test_weights_of_decoder_starts_lie_on_disk_and_not_in_memory(make_bench):
    bench = make_bench()
    recipe = bench.plan.space.default
    first, again = bench.decoder_start(recipe), bench.decoder_start(recipe)
    assert all(not start.weights for start in bench._starts.values())
    assert first.weights.keys() == again.weights.keys() and first.weights
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in first.weights.items())
    assert first.best.score == again.best.score


def test_a_decoder_phase_that_fills_a_time_caches_more_windows_but_ten_of_an_image(
    make_bench, data
):
    bench = make_bench()
    recipe = replace(bench.plan.space.default, frozen_depth=MAX_FROZEN_DEPTH)

    def drawn(bench: Bench, schedule: Schedule) -> int:
        trial, counts = bench.open_trial(recipe, 0), []
        draw = trial._source.draw
        trial._source.draw = lambda count: counts.append(count) or draw(count)
        bench.train_decoder(trial, schedule)
        return sum(counts)

    assert drawn(bench, Schedule(windows=8)) == bench.plan.decoder_features == 8
    minute = Schedule(windows=8, seconds=60.0)  # Whichever comes first.
    assert drawn(bench, minute) == 10 * len(data.train)
    slow = EncoderCost(1.0, 0.5, 0.5, 1e-2, bf16=False)
    slower = replace(bench, plan=replace(bench.plan, costs={ENCODER: slow}))
    assert drawn(slower, minute) == 60 / (0.5 + 5 * 0.5)


def test_a_decoder_that_learnt_from_fewer_windows_for_want_of_memory_says_so(
    make_bench, monkeypatch
):
    monkeypatch.setattr(bench_module, "_RAM_SHARE", 0.0)
    bench = make_bench()
    recipe = bench.plan.space.default
    notes = {bench.decoder_start(recipe).note for _ in range(2)}
    assert notes == {"Memory was short: the decoder learnt from 4 windows instead of 8."}
    monkeypatch.setattr(bench_module, "_RAM_SHARE", 1.0)
    enough = make_bench()
    (enough.folder / f"{ENCODER}+fpn.safetensors").unlink()
    assert enough.decoder_start(recipe).note == ""


def test_an_encoder_only_tried_frozen_has_a_decoder_phase_of_its_own(make_bench, hub_folder):
    fill_hub_cache(hub_folder, VIT)
    bench = make_bench()
    space = replace(
        bench.plan.space, encoders=(ENCODER, VIT), vit_encoders=(VIT,), frozen_encoders=(VIT,)
    )
    costs = {**bench.plan.costs, VIT: bench.plan.costs[ENCODER]}
    plan = replace(bench.plan, space=space, costs=costs, frozen_windows=24, frozen_features=12)
    bench = replace(bench, plan=plan)
    recipe = space.recipe(space.portfolio()[2])
    assert recipe.encoder_name == VIT and bench.decoder_start(recipe).windows == 24
    assert bench.decoder_start(space.default).windows == 8


def test_a_decoder_start_cut_short_stays_in_memory(make_bench):
    bench = replace(make_bench(), keep_going=lambda: False)
    start = bench.decoder_start(bench.plan.space.default)
    assert start.reason == "stopped" and start.weights
    assert not list(bench.folder.glob("*"))
