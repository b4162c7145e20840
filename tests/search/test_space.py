from dataclasses import replace

import optuna
import pytest

from autoseg.config import MAX_FROZEN_DEPTH, Geometry
from autoseg.search.space import (
    MANY_TRIALS,
    VERY_MANY_TRIALS,
    EarlierWinner,
    SearchSpace,
)

GEOMETRY = Geometry(window=(64, 64), scale=1.0)


def space(expected: int = 8, encoders: tuple[str, ...] = ("a", "b", "c"), **more) -> SearchSpace:
    decoders = ("fpn", "unet", "segformer")
    return SearchSpace(encoders, GEOMETRY, decoders, expected_trials=expected, **more)


def sample(of: SearchSpace, count: int = 200, seed: int = 0) -> list[dict[str, object]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    return [of.suggest(study.ask()) for _ in range(count)]


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_the_default_is_the_portfolios_first_and_tunes_the_whole_reference():
    of = space()
    assert of.default == of.recipe(of.portfolio()[0])
    assert of.default.encoder_name == "a" and of.default.frozen_depth == 0
    assert of.default.decoder_name == "fpn"


@pytest.mark.parametrize("encoders", [("a",), ("a", "b"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("expected", [5, MANY_TRIALS, VERY_MANY_TRIALS])
def test_the_portfolio_has_no_doubles_and_every_point_is_in_the_space(encoders, expected):
    of = space(expected, encoders)
    points = of.portfolio()
    assert len({tuple(sorted(point.items())) for point in points}) == len(points) >= 4
    study = optuna.create_study()
    for point in points:
        study.enqueue_trial(point)
    for point in points:
        assert of.suggest(study.ask()) == point
    if len(encoders) > 1:
        assert {point["encoder"] for point in points} >= {encoders[0], encoders[1], encoders[-1]}


def test_a_wholly_frozen_encoder_has_no_rate_of_its_own():
    for params in sample(space(VERY_MANY_TRIALS)):
        frozen = params["frozen_depth"] == MAX_FROZEN_DEPTH
        assert ("encoder_lr_ratio" in params) == (not frozen)
        assert ("layer_decay" in params) == (params["frozen_depth"] < MAX_FROZEN_DEPTH - 1)
        recipe = space(VERY_MANY_TRIALS).recipe(params)
        assert (recipe.encoder_lr_ratio == 0) == frozen


@pytest.mark.parametrize(
    ("expected", "searched"),
    [
        (5, set()),
        (MANY_TRIALS, {"decoder", "augmentation"}),
        (VERY_MANY_TRIALS, {"decoder", "augmentation", "drop_path", "layer_decay"}),
    ],
)
def test_more_trials_search_more_dimensions(expected, searched):
    found = set().union(*sample(space(expected)))
    core = {"encoder", "frozen_depth", "decoder_lr", "encoder_lr_ratio"}
    assert found == core | searched


def test_a_plain_vit_keeps_its_own_decoder():
    of = space(MANY_TRIALS, ("a", "vit"), vit_encoders=("vit",))
    for params in [*sample(of), *of.portfolio()]:
        assert ("decoder" in params) == (params["encoder"] == "a")
        assert (of.recipe(params).decoder_name == "dpt") == (params["encoder"] == "vit")


def test_an_encoder_with_a_decoder_of_its_own_keeps_it():
    of = space(MANY_TRIALS, ("a", "b"), own_decoders={"b": "segformer"})
    for params in [*sample(of), *of.portfolio()]:
        assert ("decoder" in params) == (params["encoder"] == "a")
        if params["encoder"] == "b":
            assert of.recipe(params).decoder_name == "segformer"
    assert of.default.decoder_name == "fpn"


FROZEN = {"vit_encoders": ("vit",), "frozen_encoders": ("vit",)}


@pytest.mark.parametrize("expected", [5, MANY_TRIALS, VERY_MANY_TRIALS])
def test_an_encoder_that_is_only_tried_frozen_is_never_unfrozen(expected):
    of = space(expected, ("a", "b", "vit"), **FROZEN)
    sampled = sample(of)
    for params in [*sampled, *of.portfolio()]:
        recipe = of.recipe(params)
        if recipe.encoder_name == "vit":
            assert recipe.frozen_depth == MAX_FROZEN_DEPTH and recipe.encoder_lr_ratio == 0
            assert recipe.decoder_name == "dpt" and recipe.drop_path == 0
    rates = {p["decoder_lr"] for p in sampled if p["encoder"] == "vit"}
    assert len(rates) > 30 and min(rates) < 5e-4 < 2e-3 < max(rates)
    depths = {p["frozen_depth"] for p in sampled if p["encoder"] != "vit"}
    assert depths == set(range(MAX_FROZEN_DEPTH + 1))


@pytest.mark.parametrize("encoders", [("a",), ("a", "b"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("expected", [5, MANY_TRIALS, VERY_MANY_TRIALS])
def test_it_is_tried_third_and_the_rest_of_the_portfolio_stays(encoders, expected):
    of = space(expected, (*encoders, "vit"), **FROZEN)
    without = space(expected, encoders).portfolio()
    points = of.portfolio()
    assert (points[2]["encoder"], points[2]["decoder_lr"]) == ("vit", 1e-3)
    assert points[:2] + points[3:] == without and of.default == space(expected, encoders).default
    study = optuna.create_study()
    for point in points:
        study.enqueue_trial(point)
    assert [of.suggest(study.ask()) for _ in points] == points


@pytest.mark.parametrize("expected", [5, MANY_TRIALS, VERY_MANY_TRIALS])
def test_encoders_that_the_user_named_are_each_tried_before_anything_else(expected):
    """Of two that were named and three trials, one was never tried: an earlier run's winner and
    another rate of the first encoder came before it."""
    plain = space(expected, ("a", "b", "c", "vit"), **FROZEN)
    won = plain.portfolio()[1]
    earlier = (EarlierWinner("last week", won),)
    of = replace(plain, tries_each=True, earlier=earlier)
    points = of.first_points()
    assert [point.params["encoder"] for point in points[:5]] == ["a", "b", "c", "vit", "a"]
    assert points[0].origin == "default" and points[4].params == won
    assert [of.recipe(point.params).encoder_lr_ratio for point in points[:4]] == [0.3] * 3 + [0.0]
    # Nothing is lost, and nothing comes twice.
    kept = [point.params for point in points]
    assert all(params in kept for params in plain.portfolio())
    assert len({tuple(sorted(params.items())) for params in kept}) == len(kept)
    twice = replace(of, earlier=(EarlierWinner("last week", points[1].params),)).first_points()
    assert [point.params for point in twice].count(points[1].params) == 1


def test_what_is_not_searched_is_that_of_the_space():
    of = space(flip="both", augmentation="strong", batch_size=3, epochs=5.0)
    recipe = of.recipe(sample(of, 1)[0])
    assert recipe.geometry == GEOMETRY and recipe.batch_size == 3 and recipe.epochs == 5
    assert (recipe.flip, recipe.augmentation) == ("both", "strong")
