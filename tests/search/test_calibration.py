"""The plan that follows from what encoders cost; the costs themselves are made up here."""

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import torch

from autoseg.config import MAX_FROZEN_DEPTH, Geometry, SearchConfig, from_dict, to_dict
from autoseg.errors import BudgetError, ConfigError, TrainingError
from autoseg.model import decoders_for, model_config
from autoseg.search import calibration
from autoseg.search.budget import EVALUATION_MARGIN, TRIAL_SHARE, Clock, EncoderCost, Plan
from autoseg.search.calibration import make_plan
from autoseg.search.encoder_choice import (
    FEW_IMAGES_ENCODER,
    default_encoders,
    few_images_encoders,
)
from autoseg.search.geometry import ObjectWidths, plan_geometry
from autoseg.search.measuring import Workload
from autoseg.search.planning import (
    LIGHT_UP_TO_EPOCHS,
    LIGHT_UP_TO_WINDOWS,
    TRAINING_SHARE,
    choose_augmentation,
    frozen_trial,
)
from autoseg.search.space import MANY_TRIALS, SearchSpace

VIT = "vit_small_patch16_dinov3.lvd1689m"
JUDGING_S = 0.01


def never(*_: object) -> float:
    """What times the final evaluation, where that is made up too."""
    raise AssertionError


@pytest.fixture(autouse=True)
def others(monkeypatch):
    """What judging a test image takes beside the network, and an image with other decoders."""
    monkeypatch.setattr(calibration, "measure_judging", lambda *_: JUDGING_S)
    monkeypatch.setattr(calibration, "measure_decoder", lambda *_: 1e-4)


@pytest.fixture
def plan_of(monkeypatch):
    """The plan for encoders of equal cost, in so many seconds."""
    cost = EncoderCost(1e-3, 1e-4, 1e-4, 1e-3, bf16=False)
    monkeypatch.setattr(calibration, "measure", lambda *_: cost)

    def plan(encoder_names: tuple[str, ...], budget_s: float) -> Plan:
        data = SimpleNamespace(train=tuple(range(50)), val=tuple(range(50, 60)))
        work = Workload(data, Geometry((64, 64), scale=1.0), "none", 10, encoder_names, never)
        clock = Clock(budget_s, time.monotonic())
        return make_plan(work, SearchConfig(budget_s), torch.device("cpu"), clock)

    return plan


@pytest.mark.parametrize("budget_s", [200.0, 600.0, 6000.0])
@pytest.mark.parametrize(
    "names", [(VIT, "resnet50.a1_in1k"), ("resnet18.a1_in1k", VIT), (VIT,), ("resnet18.a1_in1k",)]
)
def test_every_recipe_of_the_portfolio_can_be_built(plan_of, names, budget_s):
    """Beside a plain ViT as the smallest encoder, the others got the ViT's decoder."""
    space = plan_of(names, budget_s).space
    assert set(space.encoders) == set(names)
    for params in space.portfolio():
        recipe = space.recipe(params)
        model_config(recipe.encoder_name, recipe.decoder_name, 3)


def test_a_winner_that_is_slower_to_score_leaves_more_time_for_it(plan_of):
    """The reserve was that of the first encoder, and a budget was overrun where another won."""
    plan = plan_of(("resnet18.a1_in1k", "resnet50.a1_in1k"), 600.0)
    slower = replace(plan.costs["resnet50.a1_in1k"], validation_s=2.001)
    plan = replace(plan, costs={**plan.costs, "resnet50.a1_in1k": slower})
    assert plan.reserve_for("resnet18.a1_in1k") == plan.reserve_s
    extra_s = plan.reserve_for("resnet50.a1_in1k") - plan.reserve_s
    assert extra_s == pytest.approx(EVALUATION_MARGIN * 10 * 2.0)  # Ten test images.


@pytest.mark.parametrize(("budget_s", "n_models"), [(4.0, 1), (600.0, 2)])
def test_the_reserve_holds_what_judging_takes_beside_the_network(plan_of, budget_s, n_models):
    """It was the device's time for cached images in batches, and a GPU's budget was overrun."""
    plan = plan_of(("resnet18.a1_in1k",), budget_s)
    assert (plan.search_s > 0) == (n_models == 2)
    judged_s = EVALUATION_MARGIN * 10 * (JUDGING_S + plan.costs["resnet18.a1_in1k"].image_s)
    assert plan.reserve_s == pytest.approx(3 + 0.02 * budget_s + n_models * judged_s)
    assert plan.evaluation_s("resnet18.a1_in1k") == pytest.approx(judged_s)


def test_a_budget_that_judging_uses_up_is_refused(plan_of, monkeypatch):
    monkeypatch.setattr(calibration, "measure_judging", lambda *_: 1.0)
    with pytest.raises(BudgetError, match="evaluating will take 16 s"):
        plan_of(("resnet18.a1_in1k",), 12.0)


FAST, SLOW = "resnet18.a1_in1k", "resnet50.a1_in1k"


@pytest.fixture
def limited(monkeypatch):
    """The plan under a limit for one image, where each encoder has a time of its own, in ms."""

    def plan(times_ms: dict[str, float], limit_ms: float | None, budget_s: float) -> Plan:
        def measure(name: str, *_: object) -> EncoderCost:
            return EncoderCost(1e-2, 1e-4, 1e-4, 1e-3, False, times_ms[name] / 1000)

        monkeypatch.setattr(calibration, "measure", measure)
        data = SimpleNamespace(train=tuple(range(50)), val=tuple(range(50, 60)))
        work = Workload(data, Geometry((64, 64), scale=1.0), "none", 10, tuple(times_ms), never)
        config = SearchConfig(budget_s, max_latency_ms=limit_ms)
        clock = Clock(budget_s, time.monotonic())
        return make_plan(work, config, torch.device("cpu"), clock)

    return plan


@pytest.mark.parametrize("budget_s", [8.0, 720.0])  # One recipe, and a search.
@pytest.mark.parametrize(("first", "second"), [(FAST, SLOW), (SLOW, FAST)])
def test_only_encoders_within_the_longest_time_are_searched(limited, first, second, budget_s):
    """Also where the one that is measured first, by its size, is the slower one."""
    times_ms = {first: 8.0 if first == FAST else 30.0, second: 8.0 if second == FAST else 30.0}
    plan = limited(times_ms, 20.0, budget_s)
    assert plan.space.encoders == (FAST,) and set(plan.costs) == {FAST}
    assert (plan.search_s > 0) == (budget_s > 100)
    free = limited(times_ms, None, 720.0)
    assert set(free.space.encoders) == {FAST, SLOW}


DECODERS_MS = {
    FAST: {"fpn": 10.0, "segformer": 15.0},
    SLOW: {"fpn": 19.0, "segformer": 25.0},
}


@pytest.fixture
def decoders(monkeypatch):
    """Times of an image with the other decoders; the pairs that were measured."""
    measured = []

    def measure_decoder(encoder: str, decoder: str, *_: object) -> float:
        measured.append((encoder, decoder))
        return DECODERS_MS[encoder][decoder] / 1000

    monkeypatch.setattr(calibration, "measure_decoder", measure_decoder)
    return measured


def test_every_pair_of_encoder_and_decoder_that_is_searched_has_a_time(limited, decoders):
    """All had that of the default decoder: no front held two trials of an encoder."""
    plan = limited({FAST: 8.0, SLOW: 16.0}, None, 1200.0)
    assert plan.space.expected_trials >= MANY_TRIALS
    assert plan.space.decoder_names == ("unet", "fpn", "segformer")
    for name, default_s in ((FAST, 0.008), (SLOW, 0.016)):
        cost = plan.costs[name]
        assert cost.time_with("unet") == cost.image_s == default_s
        for decoder, milliseconds in DECODERS_MS[name].items():
            assert cost.time_with(decoder) == pytest.approx(milliseconds / 1000)
    slower_s = plan.reserve_for(SLOW, "segformer") - plan.reserve_for(SLOW)
    assert slower_s == pytest.approx(EVALUATION_MARGIN * 10 * 0.009)


@pytest.mark.parametrize(
    ("limit_ms", "encoders", "kept"),
    [
        (30.0, (FAST, SLOW), ("unet", "fpn", "segformer")),
        (20.0, (FAST, SLOW), ("unet", "fpn")),
        (17.0, (FAST, SLOW), ("unet",)),
        (15.5, (FAST,), ("unet", "fpn", "segformer")),
        (12.0, (FAST,), ("unet", "fpn")),
    ],
)
def test_no_pair_that_is_searched_is_slower_than_the_limit(
    limited, decoders, limit_ms, encoders, kept
):
    """An encoder within the limit was searched with decoders that broke it, and one might win."""
    plan = limited({FAST: 8.0, SLOW: 16.0}, limit_ms, 1200.0)
    assert plan.space.encoders == encoders and plan.space.decoder_names == kept
    for name in encoders:
        for decoder in kept:
            assert plan.costs[name].time_with(decoder) <= limit_ms / 1000
    assert all("decoder" in params and params["decoder"] in kept for params in sampled(plan.space))


def sampled(space: SearchSpace) -> list[dict[str, object]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    return [space.suggest(study.ask()) for _ in range(40)]


CONVNEXT = "convnext_atto.d2_in1k"


@pytest.mark.parametrize("reference", [FAST, CONVNEXT])
@pytest.mark.parametrize("budget_s", [720.0, 1200.0])
def test_beside_encoders_of_another_kind_each_is_trained_with_the_decoder_that_was_measured(
    limited, monkeypatch, reference, budget_s
):
    """A ConvNeXt was measured with its FPN and trained with the reference's U-Net."""
    asked: list[str] = []
    monkeypatch.setattr(
        calibration, "measure_decoder", lambda name, *_: asked.append(name) or 0.008
    )
    other = next(name for name in (FAST, CONVNEXT) if name != reference)
    plan = limited({reference: 8.0, other: 8.0}, None, budget_s)
    space = from_dict(SearchSpace, json.loads(json.dumps(to_dict(plan.space))), "plan.json")
    assert space == plan.space
    measured = {name: decoders_for(name)[0] for name in (FAST, CONVNEXT)}
    assert {space.recipe(params).encoder_name for params in space.portfolio()} == set(measured)
    for recipe in map(space.recipe, space.portfolio()):
        assert recipe.decoder_name == measured[recipe.encoder_name]
    recipes = [space.recipe(params) for params in sampled(space)]
    assert {r.decoder_name for r in recipes if r.encoder_name == other} == {measured[other]}
    others = {r.decoder_name for r in recipes if r.encoder_name == reference}
    searched = space.expected_trials >= MANY_TRIALS
    assert len(others) == (3 if searched else 1)
    assert set(asked) == ({reference} if searched else set())


def test_decoders_are_not_measured_where_they_are_not_searched(limited, decoders):
    plan = limited({FAST: 8.0}, None, 720.0)
    assert 0 < plan.space.expected_trials < MANY_TRIALS and decoders == []
    assert plan.costs[FAST].time_with("fpn") == plan.costs[FAST].image_s


@pytest.mark.parametrize(
    ("limit_ms", "kept"), [(None, ("unet", "fpn", "segformer")), (30.0, ("unet",))]
)
def test_once_the_time_for_measuring_is_up_no_decoder_is_measured(
    limited, decoders, monkeypatch, limit_ms, kept
):
    """Twelve pairs took half a minute off the search; one that might break a limit stays out."""
    monkeypatch.setattr(calibration, "CALIBRATION_SHARE", -1.0)
    plan = limited({FAST: 8.0}, limit_ms, 1200.0)
    assert plan.space.expected_trials >= MANY_TRIALS and decoders == []
    assert plan.space.decoder_names == kept


def test_a_decoder_too_large_for_the_memory_is_not_searched(limited, monkeypatch):
    def measure_decoder(encoder: str, decoder: str, *_: object) -> float:
        if decoder == "fpn" and encoder == SLOW:
            raise TrainingError("Memory ran out")
        return 0.01

    monkeypatch.setattr(calibration, "measure_decoder", measure_decoder)
    plan = limited({FAST: 8.0, SLOW: 16.0}, None, 1200.0)
    assert plan.space.decoder_names == ("unet", "segformer")


@pytest.mark.parametrize("step_ms", [9.9, 10.1])
def test_the_default_recipe_is_of_the_reference_however_timings_fall(monkeypatch, step_ms):
    """Of two encoders of nearly equal speed it was that of the one that was faster today."""
    steps_ms = {FAST: 10.0, SLOW: step_ms}
    monkeypatch.setattr(
        calibration,
        "measure",
        lambda name, *_: EncoderCost(steps_ms[name] / 1000, 1e-4, 1e-4, 1e-3, bf16=False),
    )
    data = SimpleNamespace(train=tuple(range(50)), val=tuple(range(50, 60)))
    work = Workload(data, Geometry((64, 64), scale=1.0), "none", 10, (FAST, SLOW), never)
    clock = Clock(720.0, time.monotonic())
    plan = make_plan(work, SearchConfig(720.0), torch.device("cpu"), clock)
    assert plan.space.encoders == (FAST, SLOW) and plan.space.default.encoder_name == FAST


def test_a_limit_that_no_encoder_keeps_names_the_fastest(limited):
    with pytest.raises(ConfigError, match=rf"at most 5 ms.*{FAST}, takes 8\.0 ms"):
        limited({SLOW: 30.0, FAST: 8.0}, 5.0, 600.0)


@pytest.mark.parametrize(("n_train", "at_length"), [(50, "strong"), (400, "medium")])
def test_images_are_not_resampled_in_a_short_training_and_are_in_a_long_one(n_train, at_length):
    """Turning and zooming cost a short training a point of IoU (see `choose_augmentation`)."""
    most = min(LIGHT_UP_TO_WINDOWS, LIGHT_UP_TO_EPOCHS * n_train)
    assert choose_augmentation(most, n_train) == "light"
    assert choose_augmentation(most + 1, n_train) == at_length


@pytest.mark.parametrize("decoder_name", ["unet", "fpn"])
@pytest.mark.parametrize("n_train", [200, 400, 5000])
def test_a_larger_budget_never_augments_less(decoder_name, n_train):
    """Windows grow by steps, and their number falls at each."""
    order = ["light", "medium"]
    sizes, widths = np.full((4, 2), 2000), ObjectWidths(32.0, 0.1, 0.1)
    chosen = []
    for affordable in np.geomspace(1e6, 1e10, 400):
        geometry = plan_geometry(sizes, widths, "cpu", None, affordable, decoder_name=decoder_name)
        windows = affordable / TRAINING_SHARE / np.prod(geometry.window)
        chosen.append(order.index(choose_augmentation(windows, n_train)))
    assert chosen == sorted(chosen) and set(chosen) == {0, 1}


def test_a_plan_augments_by_the_windows_that_it_has_time_for(plan_of):
    short, long = plan_of((FAST,), 4.0), plan_of((FAST,), 600.0)
    assert short.reference_epochs < LIGHT_UP_TO_EPOCHS < long.reference_epochs
    assert (short.space.augmentation, long.space.augmentation) == ("light", "strong")


@pytest.fixture
def cached(monkeypatch, tmp_path) -> Path:
    """Where the Hub's cache has the weights of the encoder for few images, without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / f"models--timm--{FEW_IMAGES_ENCODER}"
    file = repository / "snapshots" / ("0" * 40) / "model.safetensors"
    file.parent.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    file.write_bytes(b"")
    return file


def test_the_encoder_for_few_images_joins_below_a_hundred_that_train(cached):
    config = SearchConfig(600.0)
    assert few_images_encoders(config, 99) == (FEW_IMAGES_ENCODER,)
    assert few_images_encoders(config, 100) == ()
    assert FEW_IMAGES_ENCODER not in default_encoders(config, torch.device("cuda"))


def test_it_joins_only_where_its_weights_are_here(cached):
    cached.unlink()
    assert few_images_encoders(SearchConfig(600.0), 20) == ()


@pytest.mark.parametrize(
    "asked",
    [
        {"encoders": ("resnet18",)},
        {"start_from": "/models/leaf"},
        {"weights_files": (("vit_small_patch14_dinov2", "dino.safetensors"),)},
    ],
)
def test_it_joins_no_search_whose_encoders_the_user_chose(cached, asked):
    assert few_images_encoders(SearchConfig(600.0, **asked), 20) == ()


CHEAP = EncoderCost(1e-3, 2e-4, 2.5e-4, 1e-3, bf16=False)
FROZEN_COST = EncoderCost(1e-4, 2e-4, 4e-4, 2e-3, bf16=True)
"""Its steps, of the decoder alone, are cheaper than those that fine-tune the reference."""


@pytest.fixture
def with_frozen(monkeypatch):
    """The plan of a search of two encoders and one that is only tried frozen."""
    measured = []

    def plan(
        budget_s: float,
        cost: EncoderCost = FROZEN_COST,
        limit_ms=None,
        n_trials=None,
        reference: EncoderCost = CHEAP,
    ) -> Plan:
        def measure_frozen(name: str, *_: object) -> EncoderCost:
            measured.append(name)
            return cost

        monkeypatch.setattr(calibration, "measure", lambda *_: reference)
        monkeypatch.setattr(calibration, "measure_frozen", measure_frozen)
        data = SimpleNamespace(train=tuple(range(50)), val=tuple(range(50, 60)))
        work = Workload(
            data, Geometry((64, 64), scale=1.0), "none", 10, (FAST, SLOW), never,
            frozen_encoders=(FEW_IMAGES_ENCODER,),
        )  # fmt: skip
        config = SearchConfig(budget_s, max_latency_ms=limit_ms, n_trials=n_trials)
        return make_plan(work, config, torch.device("cpu"), Clock(budget_s, time.monotonic()))

    return SimpleNamespace(plan=plan, measured=measured)


def test_an_encoder_that_is_only_tried_frozen_comes_last_however_cheap_it_is(with_frozen):
    plan = with_frozen.plan(600.0)
    space = plan.space
    assert space.encoders == (FAST, SLOW, FEW_IMAGES_ENCODER)
    assert space.frozen_encoders == space.vit_encoders == (FEW_IMAGES_ENCODER,)
    assert plan.costs[FEW_IMAGES_ENCODER] == FROZEN_COST
    third = space.recipe(space.portfolio()[2])
    assert third.encoder_name == FEW_IMAGES_ENCODER and third.frozen_depth == MAX_FROZEN_DEPTH
    model_config(third.encoder_name, third.decoder_name, 3)
    assert plan.reserve_for(FEW_IMAGES_ENCODER) > plan.reserve_s == plan.reserve_for(FAST)


def test_its_trial_sees_as_many_windows_as_one_that_is_fine_tuned_and_every_image(with_frozen):
    plan = with_frozen.plan(600.0)
    assert plan.decoder_length(FEW_IMAGES_ENCODER) == frozen_trial(50, plan.space.epochs)
    assert plan.decoder_length(FAST) == (plan.decoder_windows, plan.decoder_features)
    for epochs in (4.0, 5.0, 8.0, 15.0):
        windows, features = frozen_trial(50, epochs)
        assert windows == 50 * epochs and 50 <= features <= windows


def test_it_is_admitted_by_what_its_decoder_phase_takes(with_frozen):
    free = with_frozen.plan(600.0)
    windows, features = free.decoder_length(FEW_IMAGES_ENCODER)
    limit_s = TRIAL_SHARE * free.search_s
    for share, fits in ((0.9, True), (1.1, False)):
        half_s = share * limit_s / 2
        cost = replace(FROZEN_COST, head_s=half_s / features, decoder_s=half_s / windows)
        plan = with_frozen.plan(600.0, cost)
        assert (FEW_IMAGES_ENCODER in plan.costs) == fits
        assert plan.space.frozen_encoders == ((FEW_IMAGES_ENCODER,) if fits else ())
        assert (plan.frozen_windows > 0) == fits


def test_where_there_is_no_time_for_it_it_is_not_even_measured(with_frozen):
    slow = replace(CHEAP, head_s=CHEAP.step_s, decoder_s=CHEAP.step_s)
    plan = with_frozen.plan(5.0, n_trials=2, reference=slow)
    assert plan.search_s > 0 and plan.space.frozen_encoders == () and with_frozen.measured == []


def test_the_longest_time_for_an_image_holds_for_it_too(with_frozen):
    slow = replace(FROZEN_COST, latency_s=0.030)
    assert with_frozen.plan(600.0, slow, limit_ms=40.0).space.frozen_encoders
    assert with_frozen.plan(600.0, slow, limit_ms=20.0).space.encoders == (FAST, SLOW)
    with pytest.raises(ConfigError, match="at most 0.5 ms"):
        with_frozen.plan(600.0, replace(FROZEN_COST, latency_s=1e-4), limit_ms=0.5)


def test_plans_are_read_back_also_those_of_before_there_was_such_an_encoder(with_frozen):
    plan = with_frozen.plan(600.0)
    values = json.loads(json.dumps(to_dict(plan)))
    assert from_dict(Plan, values, "plan.json") == plan
    del values["frozen_windows"], values["frozen_features"], values["space"]["frozen_encoders"]
    del values["judging_s"], values["costs"][FAST]["decoders_s"], values["space"]["own_decoders"]
    old = from_dict(Plan, values, "plan.json")
    assert old.space.frozen_encoders == () and old.frozen_windows == 0
    assert old.space.own_decoders == {}
    assert old.costs[FAST].time_with("fpn") == old.costs[FAST].image_s
