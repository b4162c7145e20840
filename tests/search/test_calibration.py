"""The plan that follows from what encoders cost; the costs themselves are made up here."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from autoseg.config import Geometry, SearchConfig
from autoseg.errors import ConfigError
from autoseg.model import model_config
from autoseg.search import calibration
from autoseg.search.budget import Clock, EncoderCost, Plan
from autoseg.search.calibration import Workload, make_plan
from autoseg.search.planning import LIGHT_UP_TO_WINDOWS, choose_augmentation

VIT = "vit_small_patch16_dinov3.lvd1689m"


@pytest.fixture
def plan_of(monkeypatch):
    """The plan for encoders of equal cost, in so many seconds."""
    cost = EncoderCost(1e-3, 1e-4, 1e-4, 1e-3, bf16=False)
    monkeypatch.setattr(calibration, "measure", lambda *_: cost)

    def plan(encoder_names: tuple[str, ...], budget_s: float) -> Plan:
        data = SimpleNamespace(train=tuple(range(50)), val=tuple(range(50, 60)))
        work = Workload(data, Geometry((64, 64), scale=1.0), "none", 10, 1.0, encoder_names)
        clock = Clock(budget_s, time.monotonic())
        return make_plan(work, SearchConfig(budget_s), torch.device("cpu"), clock)

    return plan


@pytest.mark.parametrize("budget_s", [20.0, 60.0, 6000.0])
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
    assert extra_s == pytest.approx(10 * 1.75 * 2.0)  # Ten test images.


FAST, SLOW = "resnet18.a1_in1k", "resnet50.a1_in1k"


@pytest.fixture
def limited(monkeypatch):
    """The plan under a limit for one image, where each encoder has a time of its own, in ms."""

    def plan(times_ms: dict[str, float], limit_ms: float | None, budget_s: float) -> Plan:
        def measure(name: str, *_: object) -> EncoderCost:
            return EncoderCost(1e-2, 1e-4, 1e-4, 1e-3, False, times_ms[name] / 1000)

        monkeypatch.setattr(calibration, "measure", measure)
        data = SimpleNamespace(train=tuple(range(50)), val=tuple(range(50, 60)))
        work = Workload(data, Geometry((64, 64), scale=1.0), "none", 10, 1.0, tuple(times_ms))
        config = SearchConfig(budget_s, max_latency_ms=limit_ms)
        clock = Clock(budget_s, time.monotonic())
        return make_plan(work, config, torch.device("cpu"), clock)

    return plan


@pytest.mark.parametrize("budget_s", [8.0, 600.0])  # One recipe, and a search.
@pytest.mark.parametrize(("first", "second"), [(FAST, SLOW), (SLOW, FAST)])
def test_only_encoders_within_the_longest_time_are_searched(limited, first, second, budget_s):
    """Also where the one that is measured first, by its size, is the slower one."""
    times_ms = {first: 8.0 if first == FAST else 30.0, second: 8.0 if second == FAST else 30.0}
    plan = limited(times_ms, 20.0, budget_s)
    assert plan.space.encoders == (FAST,) and set(plan.costs) == {FAST}
    assert (plan.search_s > 0) == (budget_s > 100)
    free = limited(times_ms, None, 600.0)
    assert set(free.space.encoders) == {FAST, SLOW}


def test_a_limit_that_no_encoder_keeps_names_the_fastest(limited):
    with pytest.raises(ConfigError, match=rf"at most 5 ms.*{FAST}, takes 8\.0 ms"):
        limited({SLOW: 30.0, FAST: 8.0}, 5.0, 600.0)


@pytest.mark.parametrize(("n_train", "at_length"), [(50, "strong"), (400, "medium")])
def test_images_are_not_resampled_in_a_short_training_and_are_in_a_long_one(n_train, at_length):
    """Turning and zooming cost a short training a point of IoU (see `choose_augmentation`)."""
    assert choose_augmentation(LIGHT_UP_TO_WINDOWS, n_train) == "light"
    assert choose_augmentation(LIGHT_UP_TO_WINDOWS + 1, n_train) == at_length


def test_a_plan_augments_by_the_windows_that_it_has_time_for(plan_of):
    short, long = plan_of((FAST,), 4.0), plan_of((FAST,), 600.0)
    assert short.reference_epochs * 50 < LIGHT_UP_TO_WINDOWS < long.reference_epochs * 50
    assert (short.space.augmentation, long.space.augmentation) == ("light", "strong")
