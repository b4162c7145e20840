"""What is told of a search before it starts, and what real searches then do."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from search_helpers import Room, config, fill_hub_cache, search_room

from autoseg import estimate
from autoseg.config import SearchConfig
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.dataset_facts import Facts
from autoseg.errors import BudgetError, ConfigError, DatasetError, EncoderError
from autoseg.estimate import estimate_search
from autoseg.pipeline import run_search
from autoseg.search.devices import turn_on
from autoseg.search.encoder_choice import FEW_IMAGES_ENCODER
from autoseg.search.run_folder import RunFolder, RunState
from autoseg.search.speed import (
    Speed,
    StepMemory,
    known_speeds,
    measure_on_noise,
    remember_speeds,
    step_memory,
)

CPU = torch.device("cpu")
ENCODER = "test_resnet.r160_in1k"
LITE = "tf_efficientnet_lite0.in1k"
SPEED = Speed(4e-6, 1e-6, 8e-7, 1.5e-6, StepMemory(1800.0, 20.0), "noise", "unet")
"""That of Lite0 on two cores."""


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with search_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture(scope="module")
def dataset(room: Room) -> CheckedDataset:
    return check_dataset(room.photos)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home where the speed of Lite0 is known."""
    remember_speeds(tmp_path, CPU, {LITE: SPEED})
    return tmp_path


def many_photos(count: int = 400, side: int = 512) -> Facts:
    """As a check would know a data set of photos: half an object of a fifth of the width."""
    sizes = np.full((count, 2), side, np.int32)
    pixels = np.tile([0.8, 0.2], (count, 1)) * side * side
    boundary = np.tile([4.0 * side / 5 * 4] * 2, (count, 1))
    parts = np.split(np.arange(count), [int(0.7 * count), int(0.85 * count)])
    return Facts(
        ("background", "leaf"), sizes, pixels.astype(np.int64), boundary.astype(np.int64), *parts
    )


def test_facts_are_read_as_they_were_written(dataset, tmp_path):
    facts = Facts.of(dataset)
    facts.save(tmp_path / "facts.npz")
    read = Facts.load(tmp_path / "facts.npz")
    assert read.class_names == dataset.classes.names
    for name in ("sizes", "class_pixels", "class_boundary", "train", "val", "test"):
        assert np.array_equal(getattr(read, name), getattr(facts, name)), name
    assert [len(read.train), len(read.val), len(read.test)] == [14, 10, 12]


@pytest.mark.parametrize("content", [None, b"", b"PK", b"no archive"])
def test_damaged_facts_are_an_error_that_says_what_to_do(tmp_path, content):
    file = tmp_path / "facts.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match="Check the data set again"):
        Facts.load(file)


def test_more_time_is_spent_on_larger_images_and_then_on_more_training(home):
    facts = many_photos()
    budgets = np.geomspace(60, 100 * 3600, 40)
    told = [estimate_search(facts, SearchConfig(budget), home) for budget in budgets]
    pixels = [np.prod(one.working_size) for one in told]
    trained = [one.epochs * size for one, size in zip(told, pixels, strict=True)]
    assert pixels == sorted(pixels) and pixels[0] < pixels[-1]
    # A second model to judge takes its time from training where a search begins, and so does a
    # larger window, whose border is trained on for nothing.
    assert (np.array(trained) >= 0.85 * np.maximum.accumulate(trained)).all()
    assert [one.ends_after_s for one in told] == budgets.tolist()
    assert all(one.trials_low <= one.trials_high for one in told)
    assert estimate.ONE_RECIPE in told[0].notes and estimate.ONE_RECIPE not in told[-1].notes


def test_at_one_size_more_time_means_more_trials(home):
    """Trials become longer in steps, which costs some of them for a moment."""
    facts = many_photos()
    asked = [SearchConfig(budget, max_side=48) for budget in np.geomspace(60, 100 * 3600, 40)]
    told = [estimate_search(facts, one, home) for one in asked]
    epochs = [one.epochs for one in told]
    assert epochs == sorted(epochs)
    for name in ("trials_low", "trials_high"):
        values = [getattr(one, name) for one in told]
        so_far = np.maximum.accumulate(values)
        assert (np.array(values) >= 0.6 * so_far).all(), name
        assert values[0] == 1 and values[-1] >= 20


def test_images_too_few_for_a_test_split_share_a_long_time_with_the_networks_that_judge(home):
    facts = many_photos(40)
    few = replace(facts, val=np.concatenate([facts.val, facts.test]), test=facts.test[:0])
    asked = SearchConfig(4 * 3600.0, max_side=48)
    alone, shared = (estimate_search(one, asked, home).epochs for one in (facts, few))
    assert shared == pytest.approx(alone / 5, rel=0.1)
    trained_on = estimate_search(few, replace(asked, start_from="a-model"), home)
    assert trained_on.epochs == pytest.approx(alone, rel=0.1)


@pytest.mark.alone
def test_the_answer_is_there_at_once_when_the_speed_is_known(home):
    facts = many_photos(2000)
    estimate_search(facts, SearchConfig(600.0), home)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        estimate_search(facts, SearchConfig(600.0), home)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.05


def test_what_the_user_asks_shows_in_the_answer(home):
    facts = many_photos()
    asked = SearchConfig(3600.0)
    told = estimate_search(facts, asked, home)
    assert estimate_search(facts, replace(asked, n_trials=3), home).trials_high == 3
    small = estimate_search(facts, replace(asked, max_side=64), home)
    assert max(small.working_size) <= 64 < max(told.working_size)
    assert small.memory_bytes <= told.memory_bytes
    goes_on = estimate_search(facts, replace(asked, start_from="/models/leaf"), home)
    assert (goes_on.trials_low, goes_on.trials_high) == (1, 1)
    assert goes_on.notes == (estimate.GOES_ON,)


def test_a_larger_encoder_takes_more_memory_and_leaves_fewer_trials(home):
    facts = many_photos()
    remember_speeds(home, CPU, {"resnet50.a1_in1k": SPEED.times(4)})
    small = estimate_search(facts, SearchConfig(7200.0, encoders=(LITE,)), home)
    large = estimate_search(facts, SearchConfig(7200.0, encoders=("resnet50",)), home)
    assert large.trials_high < small.trials_high and large.epochs < small.epochs
    assert large.memory_bytes > small.memory_bytes
    assert estimate.FETCHES in large.notes and estimate.FETCHES not in small.notes


def test_encoders_that_are_too_slow_are_left_out_of_the_answer(home):
    facts, slow = many_photos(), "resnet50.a1_in1k"
    remember_speeds(home, CPU, {slow: SPEED.times(1.4)})
    both = SearchConfig(7200.0, encoders=(LITE, slow), max_side=256)
    free = estimate_search(facts, both, home)
    fast_ms = 1000 * SPEED.validation_s * np.prod(free.working_size)
    wide, narrow = (
        estimate_search(facts, replace(both, max_latency_ms=factor * fast_ms), home)
        for factor in (1.5, 1.2)
    )
    assert replace(wide, load=None) == replace(free, load=None)  # That of the machine changes.
    assert narrow.memory_bytes < free.memory_bytes
    with pytest.raises(ConfigError, match=rf"at most 1 ms .*{LITE}, takes \d"):
        estimate_search(facts, replace(both, max_latency_ms=1.0), home)


def test_the_encoder_for_few_images_is_told_where_there_is_time_for_it(home, tmp_path, monkeypatch):
    few = many_photos(60, 128)
    hour, short = SearchConfig(3600.0, max_side=64), SearchConfig(20.0, max_side=64)
    without = estimate_search(few, hour, home)
    assert estimate.FEW_IMAGES not in without.notes
    cache = fill_hub_cache(tmp_path / "hub", FEW_IMAGES_ENCODER)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    told = estimate_search(few, hour, home)
    assert estimate.FEW_IMAGES in told.notes
    assert told.memory_bytes > without.memory_bytes and told.trials_low <= without.trials_low
    assert estimate.FEW_IMAGES not in estimate_search(few, short, home).notes
    assert estimate.FEW_IMAGES not in estimate_search(many_photos(400, 128), hour, home).notes


def test_what_cannot_be_searched_is_refused_as_the_search_would(home):
    facts = many_photos()
    with pytest.raises(BudgetError, match=r"at least \d+ s"):
        estimate_search(facts, SearchConfig(5.0), home)
    with pytest.raises(EncoderError, match="resnet5000"):
        estimate_search(facts, SearchConfig(600.0, encoders=("resnet5000",)), home)
    with pytest.raises(ConfigError, match="cuda:77"):
        estimate_search(facts, SearchConfig(600.0, device="cuda:77"), home)


def test_the_wait_for_the_device_counts(home):
    facts, asked = many_photos(), SearchConfig(600.0)
    run = RunFolder(home / "runs" / "leaf-1")
    run.write_state(RunState("running", "searching", 900.0, 300.0, time.time(), 1))
    with turn_on(home, CPU, "leaf-1"):
        told = estimate_search(facts, asked, home)
    assert told.ends_after_s == 600 + 600 and estimate.WAITS in told.notes
    free = estimate_search(facts, asked, home)
    assert free.ends_after_s == 600 and estimate.WAITS not in free.notes


def test_an_unknown_speed_is_measured_once_and_anew_if_the_device_was_busy(tmp_path):
    facts = many_photos(60, 64)
    asked = config(60.0)
    with turn_on(tmp_path, CPU, "leaf-1"):
        estimate_search(facts, asked, tmp_path)
    assert known_speeds(tmp_path, CPU)[ENCODER].measured_on == "noise while busy"
    estimate_search(facts, asked, tmp_path)
    measured = known_speeds(tmp_path, CPU)[ENCODER]
    assert measured.measured_on == "noise" and measured.step_s > 0
    estimate_search(facts, asked, tmp_path)
    assert known_speeds(tmp_path, CPU)[ENCODER] == measured


@pytest.mark.parametrize("content", ["", "[]", '{"x": {"y": 1}}'])
def test_a_damaged_table_of_speeds_is_made_anew(tmp_path, content):
    (tmp_path / "speed.json").write_text(content)
    assert known_speeds(tmp_path, CPU) == {}
    remember_speeds(tmp_path, CPU, {ENCODER: SPEED})
    assert known_speeds(tmp_path, CPU) == {ENCODER: SPEED}


def test_a_speed_with_another_decoder_than_the_default_is_measured_again(tmp_path):
    """The default changed, and a search was foretold by what an FPN took."""
    remember_speeds(tmp_path, CPU, {ENCODER: replace(SPEED, decoder_name="fpn"), LITE: SPEED})
    assert known_speeds(tmp_path, CPU) == {LITE: SPEED}


def test_features_are_those_of_all_maps_that_the_decoder_takes():
    """A U-Net takes the map of half size too, which is most of them."""
    memory = step_memory("resnet18.a1_in1k")
    maps = {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
    assert memory.feature_bytes == 4 * sum(c / stride**2 for stride, c in maps.items())


@pytest.mark.alone
def test_what_a_step_keeps_grows_with_the_network():
    tiny, lite = (measure_on_noise(name, CPU) for name in (ENCODER, LITE))
    assert 0 < tiny.memory.saved_bytes < lite.memory.saved_bytes
    assert 0 < tiny.step_s < lite.step_s


@pytest.mark.alone
def test_a_real_search_does_about_what_was_told(room, dataset, tmp_path):
    """Before it, by noise, and after it, by what it measured itself."""
    facts, asked = Facts.of(dataset), config(25.0)
    before = estimate_search(facts, asked, room.home)
    started = time.monotonic()
    result = run_search(room.photos, asked, tmp_path / "run")
    seconds = time.monotonic() - started
    after = estimate_search(facts, asked, room.home)
    assert known_speeds(room.home, CPU)[ENCODER].measured_on == "run"
    assert known_speeds(room.home, CPU)[ENCODER].latency_s > 0
    plan = result.run.json("plan.json")
    assert plan["judging_s"] > 0 and plan["evaluation_images"] == len(facts.test)
    geometry = plan["space"]["geometry"]
    peak = result.run.json("resources.json")["memory_bytes"]
    assert after.trials_low / 4 <= len(result.run.trials()) <= 4 * after.trials_high
    assert 0.4 < after.epochs / plan["reference_epochs"] < 2.5
    # Other work on the machine, now or then, counts in full.
    assert 0.1 < before.epochs / plan["reference_epochs"] < 10
    for told in (before, after):
        assert told.ends_after_s == pytest.approx(seconds, rel=0.3)
        assert 0.3 < told.memory_bytes / peak < 3
        assert max(told.working_size) <= 64
    assert geometry["scale"] == pytest.approx(max(after.working_size) / 96, abs=0.01)
