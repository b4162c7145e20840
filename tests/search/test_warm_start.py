"""Recipes of earlier runs: which runs count, which points they become, and a search with them."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import optuna
import pytest
from rich.console import Console
from search_helpers import Room, config, finished_trials, once, search_room

from autoseg import console
from autoseg.config import (
    MAX_FROZEN_DEPTH,
    Geometry,
    Recipe,
    SearchConfig,
    from_dict,
    read_json,
    to_dict,
)
from autoseg.files import write_json
from autoseg.image_roles import ImageRole, ImageRoles, has_seen
from autoseg.pipeline import SearchResult, run_search
from autoseg.search.budget import EncoderCost, Plan
from autoseg.search.earlier_runs import LEAST_COMPARED, Traits, finished_searches
from autoseg.search.run_folder import RunFolder, RunInfo, RunState, TrialRecord
from autoseg.search.space import (
    DECODER_LR,
    ENCODER_LR_RATIO,
    MANY_TRIALS,
    VERY_MANY_TRIALS,
    EarlierWinner,
    SearchSpace,
)
from autoseg.search.warm_start import (
    FIELD_FACTOR,
    MOST_WINNERS,
    SHARE_FACTOR,
    TRAIN_FACTOR,
    is_similar,
    overlap,
    shows_alike,
    warm_started,
)

GEOMETRY = Geometry(window=(256, 256), scale=1.0)
NEW = Traits("f" * 64, {"background": 0.7, "leaf": 0.25, "spot": 0.05}, 100)
OTHER_DATA = "0" * 64


def space(expected: int = 8, encoders: tuple[str, ...] = ("a", "b"), **more: object) -> SearchSpace:
    decoders = ("fpn", "unet", "segformer")
    return SearchSpace(encoders, GEOMETRY, decoders, expected_trials=expected, **more)


def recipe(**changes: object) -> Recipe:
    """A recipe that no portfolio has."""
    values = {"frozen_depth": 1, "decoder_lr": 7e-4, "encoder_lr_ratio": 0.2}
    return Recipe(**{"encoder_name": "a", "geometry": GEOMETRY, **values, **changes})


class Home:
    """The runs of a user."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self._count = 0

    def add(
        self,
        won: Recipe,
        data: Traits = NEW,
        *,
        searched: SearchSpace | None = None,
        status: str = "done",
        trials: dict[str, int] | None = None,
        taken: bool = False,
        start_from: str | None = None,
    ) -> RunFolder:
        """A search that ended, newer than those before; its winner is trial 3."""
        self._count += 1
        run = RunFolder(self.runs / f"leaf-{self._count}")
        asked = SearchConfig(60.0, seed=data.seed, start_from=start_from)
        run.write_info(RunInfo(asked, "/data", data.fingerprint, {}))
        run.write_state(RunState(status, "finished", 60, 60, time.time(), 1))
        run.write_trial(TrialRecord(3, "complete", won, "sampler", score=0.8, tags=("winner",)))
        cost = EncoderCost(1e-4, 1e-4, 1e-4, 1e-4, bf16=False)
        plan = Plan(searched or space(), {"a": cost}, 100.0, 60.0, 60.0, 200, 8, 8, (1, 2), 3.0)
        write_json(run.path / "plan.json", to_dict(plan))
        classes = [{"name": n, "share": s, "train_images": 9} for n, s in data.class_shares.items()]
        report = {
            "data": {"classes": classes, "splits": {"train": data.n_train, "val": 9, "test": 9}},
            "search": {"trials": trials or {"complete": 3, "pruned": 2}, "winner": {"number": 3}},
            **({"taken": {"trial": 3}} if taken else {}),
        }
        write_json(run.report / "report.json", report)
        for name in ("search.json", "state.json"):
            os.utime(run.path / name, (self._count, self._count))
        return run

    def winners(self, of: SearchSpace | None = None, data: Traits = NEW) -> list[EarlierWinner]:
        return list(warm_started(of or space(), data, self.runs, self.new).earlier)

    @property
    def new(self) -> RunFolder:
        return RunFolder(self.runs / "new")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def changed(data: Traits = NEW, **changes: object) -> Traits:
    """Another data set."""
    return replace(data, **{"fingerprint": OTHER_DATA, **changes})


# Which data are similar


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        ({"LEAF", " Spot ", "void"}, 1),
        ({"leaf"}, 1 / 2),
        ({"leaf", "stem"}, 1 / 3),
        ({"background", "ignore"}, 0),
        ({"cell"}, 0),
    ],
)
def test_classes_are_told_by_their_names_and_background_is_none(names, shared):
    other = changed(class_shares=dict.fromkeys(names, 0.1))
    assert overlap(NEW, other) == overlap(other, NEW) == pytest.approx(shared)


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        ({}, True),
        ({"class_shares": {"leaf": 0.25, "stem": 0.05}}, False),  # One of three classes.
        ({"class_shares": {"leaf": 0.30 / (SHARE_FACTOR + 0.1), "spot": 0.0}}, False),
        ({"class_shares": {"leaf": 0.30 / (SHARE_FACTOR - 0.1), "spot": 0.0}}, True),
        ({"n_train": int(100 * TRAIN_FACTOR) + 1}, False),
        ({"n_train": int(100 / TRAIN_FACTOR)}, True),
        ({"n_train": 0}, False),
        ({"class_shares": {"leaf": float("nan"), "spot": 0.0}}, False),
    ],
)
def test_areas_and_numbers_of_images_must_be_alike_too(changes, alike):
    other = changed(**changes)
    assert is_similar(NEW, other) is is_similar(other, NEW) is alike


def test_a_foreground_is_not_any_foreground():
    cells, cracks = ({"background": 1 - share, "foreground": share} for share in (0.13, 0.01))
    assert not is_similar(changed(class_shares=cells), changed(class_shares=cracks))


@pytest.mark.parametrize(
    ("window", "where", "alike"),
    [
        ((256, 256), {"scale": 1.0}, True),
        ((512, 512), {"scale": 1.0}, True),  # On a GPU.
        ((160, 160), {"scale": 0.625}, True),  # For a short budget.
        ((256, 256), {"scale": 1 / FIELD_FACTOR}, True),
        ((256, 256), {"scale": 0.9 / FIELD_FACTOR}, False),
        ((256, 256), {"box": (256, 256)}, False),
    ],
)
def test_windows_must_show_objects_about_as_large(window, where, alike):
    other = Geometry(window=window, **where)
    assert shows_alike(GEOMETRY, other) is shows_alike(other, GEOMETRY) is alike


def test_of_boxes_the_share_that_a_window_shows_counts():
    whole, half, sixth = (Geometry((192, 192), box=(192 * k, 192 * k)) for k in (1, 2, 6))
    assert shows_alike(whole, half) and not shows_alike(whole, sixth)


# Which runs count


def test_what_won_on_the_same_data_is_taken_and_its_run_named(home):
    run = home.add(recipe())
    expected = {"encoder": "a", "frozen_depth": 1, "decoder_lr": 7e-4, "encoder_lr_ratio": 0.2}
    assert home.winners() == [EarlierWinner(run.name, expected)]


def test_the_same_data_is_similar_however_it_was_searched(home):
    small = replace(space(), geometry=Geometry(window=(96, 96), scale=0.1))
    home.add(recipe(), replace(NEW, n_train=3), searched=small)
    assert len(home.winners()) == 1


def test_the_same_data_with_another_seed_is_left_out(home):
    """Its recipe may have been chosen by images that are test images now."""
    home.add(recipe(), replace(NEW, seed=NEW.seed + 1))
    assert home.winners() == []


@pytest.mark.parametrize(
    ("splits", "seen"),
    [
        ({"x": "train", "y": "val", "z": "test"}, False),
        ({"a": "test", "b": "test"}, False),
        ({"a": "train"}, True),
        ({"x": "train", "b": "val"}, True),
        (None, False),  # A run of an earlier autoseg.
        ("damaged", True),
    ],
    ids=str,
)
def test_a_run_that_knows_a_test_image_is_left_out(home, splits, seen):
    """A data set that grew, or was corrected, has another fingerprint and images in common."""
    run = home.add(recipe(), changed())
    if splits == "damaged":
        (run.path / "images.json").write_text("{")
    elif splits is not None:
        images = tuple(
            ImageRole(f"{digest}.png", split, digest) for digest, split in splits.items()
        )
        write_json(run.path / "images.json", to_dict(ImageRoles(images)))
    tests = frozenset("ab")
    assert has_seen(run, tests) is seen
    of = warm_started(
        space(), NEW, home.runs, home.new, knows_too_much=lambda run: has_seen(run, tests)
    )
    assert [winner.run for winner in of.earlier] == ([] if seen else [run.name])


def test_only_test_images_that_are_nothing_else_judge():
    """Of copies in several splits the search knows too, so they keep no run out."""
    images = [("test", "a"), ("train", "a"), ("val", "b"), ("test", "b"), ("test", "c")]
    roles = ImageRoles(tuple(ImageRole("", split, digest) for split, digest in images))
    assert roles.judging() == {"c"}


def test_other_data_must_show_objects_as_large(home):
    small = replace(space(), geometry=Geometry(window=(96, 96), scale=0.1))
    home.add(recipe(), changed(), searched=small)
    assert home.winners() == []
    home.add(recipe(), changed())
    assert len(home.winners()) == 1


def test_a_dissimilar_run_gives_nothing(home):
    home.add(recipe(), changed(class_shares={"cell": 0.3}))
    assert home.winners() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "interrupted"},
        {"status": "failed"},
        {"trials": {"complete": LEAST_COMPARED - 1, "failed": 4}},
        {"taken": True},
        {"start_from": "/models/leaf"},
    ],
)
def test_only_what_a_search_chose_among_others_is_taken(home, changes):
    home.add(recipe(), **changes)
    assert home.winners() == []


def test_the_search_itself_is_no_earlier_one(home):
    run = home.add(recipe())
    assert warm_started(space(), NEW, home.runs, run).earlier == ()


def test_without_runs_there_are_no_winners(home):
    assert home.winners() == []


@pytest.mark.parametrize(
    "name", ["state.json", "search.json", "plan.json", "trials/3/trial.json", "report/report.json"]
)
@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b"\xff", b'{"data": 3}', b"null"])
def test_a_damaged_or_foreign_run_is_passed_over(home, name, content):
    home.add(recipe(frozen_depth=3))
    damaged = home.add(recipe())
    file = damaged.path / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert [winner.params["frozen_depth"] for winner in home.winners()] == [3]


def test_what_is_no_run_is_passed_over(home):
    home.add(recipe())
    (home.runs / "notes.txt").write_text("mine")
    (home.runs / "photos" / "search.json").mkdir(parents=True)
    (home.runs / "gone").symlink_to(home.runs / "nowhere")
    assert len(home.winners()) == 1


def test_a_run_of_another_version_is_passed_over(home):
    run = home.add(recipe())
    values = read_json(run.path / "trials/3/trial.json")
    write_json(run.path / "trials/3/trial.json", {**values, "phase_of_the_moon": 1})
    assert home.winners() == []


def test_a_winner_whose_report_does_not_fit_is_passed_over(home):
    run = home.add(recipe())
    report = read_json(run.report / "report.json")
    report["search"]["winner"]["number"] = "3"
    write_json(run.report / "report.json", report)
    assert finished_searches(home.runs, home.new) == []


# Which points they become


def test_the_nearest_come_first_and_of_these_the_newest(home):
    half = changed(class_shares={"leaf": 0.3})
    order = [changed(), NEW, half, half, NEW, changed()]
    for number, data in enumerate(order):
        home.add(recipe(decoder_lr=3e-4 * 1.4**number), data)
    found = [winner.run for winner in home.winners()]
    assert found == ["leaf-5", "leaf-2", "leaf-6"] and len(found) == MOST_WINNERS


def test_equal_recipes_of_several_runs_are_one_point(home):
    for factor in (1, 1.1, 1.2):
        home.add(recipe(decoder_lr=factor * 7e-4))
    home.add(recipe(frozen_depth=3))
    assert [winner.run for winner in home.winners()] == ["leaf-4", "leaf-3"]


def test_an_encoder_that_is_not_searched_is_left_out(home):
    home.add(recipe(encoder_name="c"))
    home.add(recipe(encoder_name="b"))
    assert [winner.params["encoder"] for winner in home.winners()] == ["b"]


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("expected", [8, MANY_TRIALS, VERY_MANY_TRIALS])
def test_rates_out_of_range_are_brought_into_it_and_optuna_takes_them(home, side, expected):
    factor = (0.01, 100)[side]
    ratio = min(1.0, factor * ENCODER_LR_RATIO[side])
    home.add(recipe(decoder_lr=factor * DECODER_LR[side], encoder_lr_ratio=ratio))
    of = space(expected)
    (winner,) = home.winners(of)
    assert winner.params["decoder_lr"] == DECODER_LR[side]
    assert winner.params["encoder_lr_ratio"] == ENCODER_LR_RATIO[side]
    study = optuna.create_study()
    study.enqueue_trial(winner.params)
    assert of.suggest(study.ask()) == winner.params  # Warnings are errors here.


def test_a_wholly_frozen_encoder_has_no_rate(home):
    home.add(recipe(frozen_depth=MAX_FROZEN_DEPTH, encoder_lr_ratio=0.0))
    (winner,) = home.winners()
    assert "encoder_lr_ratio" not in winner.params


FULL = {
    "augmentation": "strong", "decoder_name": "unet", "drop_path": 0.1, "layer_decay": 0.8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("then", "now", "taken"),
    [
        (
            VERY_MANY_TRIALS, VERY_MANY_TRIALS,
            {"augmentation", "decoder", "drop_path", "layer_decay"},
        ),
        (VERY_MANY_TRIALS, MANY_TRIALS, {"augmentation", "decoder"}),
        (MANY_TRIALS, VERY_MANY_TRIALS, {"augmentation", "decoder"}),
        (8, VERY_MANY_TRIALS, set()),
        (VERY_MANY_TRIALS, 8, set()),
    ],
)  # fmt: skip
def test_what_both_searched_is_taken_and_the_rest_is_the_default(home, then, now, taken):
    home.add(recipe(**FULL), searched=space(then, augmentation="light"))
    of = space(now, augmentation="medium")
    (winner,) = home.winners(of)
    full = {name.removesuffix("_name"): value for name, value in FULL.items()}
    usual = {"augmentation": "medium", "decoder": "fpn", "drop_path": 0.0, "layer_decay": 1.0}
    chosen = {name: value for name, value in winner.params.items() if name in full}
    assert chosen == {name: full[name] if name in taken else usual[name] for name in chosen}
    assert taken <= chosen.keys()


def test_an_encoder_that_is_only_tried_frozen_stays_frozen(home):
    arm = space(vit_encoders=("b",), frozen_encoders=("b",))
    home.add(recipe(encoder_name="b", frozen_depth=0, decoder_name="dpt"))
    (winner,) = home.winners(arm)
    assert winner.params["frozen_depth"] == MAX_FROZEN_DEPTH
    assert "encoder_lr_ratio" not in winner.params


def test_a_plain_vit_keeps_its_own_decoder(home):
    of = space(MANY_TRIALS, ("a", "vit"), vit_encoders=("vit",))
    home.add(recipe(encoder_name="vit", decoder_name="dpt"), searched=of)
    (winner,) = home.winners(of)
    assert "decoder" not in winner.params and of.recipe(winner.params).decoder_name == "dpt"


# The order


def test_winners_come_after_the_default_and_before_the_rest(home):
    run = home.add(recipe())
    of = warm_started(space(), NEW, home.runs, home.new)
    points = of.first_points()
    assert of.default == space().default == of.recipe(points[0].params)
    assert [(point.origin, point.run) for point in points[:3]] == [
        ("default", None), ("earlier run", run.name), ("portfolio", None),
    ]  # fmt: skip
    assert [p.params for p in points if p.origin != "earlier run"] == of.portfolio()


def test_a_winner_that_is_almost_in_the_portfolio_moves_it_forward(home):
    last = space().portfolio()[-1]
    lr, ratio = 1.1 * last["decoder_lr"], 0.95 * last["encoder_lr_ratio"]
    home.add(recipe(frozen_depth=last["frozen_depth"], decoder_lr=lr, encoder_lr_ratio=ratio))
    points = warm_started(space(), NEW, home.runs, home.new).first_points()
    assert points[1].params == last and points[1].origin == "earlier run"
    assert [point.params for point in points[2:]] == space().portfolio()[1:-1]


def test_a_winner_that_is_almost_the_default_takes_no_place(home):
    home.add(recipe())
    home.add(recipe(frozen_depth=0, decoder_lr=1.1e-3, encoder_lr_ratio=0.28))
    assert [winner.run for winner in home.winners()] == ["leaf-1"]


def test_a_plan_keeps_its_winners_and_an_older_plan_has_none(home):
    home.add(recipe())
    of = warm_started(space(VERY_MANY_TRIALS), NEW, home.runs, home.new)
    stored = json.loads(json.dumps(to_dict(of)))
    assert from_dict(SearchSpace, stored, "plan.json") == of
    del stored["earlier"]
    assert from_dict(SearchSpace, stored, "plan.json") == space(VERY_MANY_TRIALS)


# Whole searches


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with search_room(tmp_path_factory.mktemp("room")) as room:
        yield room


def search(room: Room, name: str, **changes: object) -> SearchResult:
    """A search with time to spare that is told to finish once it has compared two trials."""
    run = RunFolder(room.home / "runs" / name)
    stopping = once(lambda: finished_trials(run) >= LEAST_COMPARED, run.request_stop)
    result = run_search(room.photos, config(400.0, **changes), run.path)
    stopping.join(5)
    return result


@pytest.fixture(scope="module")
def first(room: Room) -> tuple[RunFolder, Recipe]:
    """A finished search, whose winner is given rates that no portfolio has."""
    run = search(room, "photos-1").run
    (won,) = [trial for trial in run.trials() if "winner" in trial.tags]
    odd = replace(won.recipe, frozen_depth=1, decoder_lr=7e-4, encoder_lr_ratio=0.2)
    run.write_trial(replace(won, recipe=odd))
    return run, odd


def printed(run: RunFolder) -> str:
    """The table of a run as the command line shows it."""
    table = Console(file=StringIO(), width=200)
    table.print(console._view(run))
    return table.file.getvalue()


def test_the_second_search_tries_first_what_won_the_first(first, room):
    run, won = first
    done = search(room, "photos-2").run
    default, second, *_ = done.trials()
    assert (default.origin, default.from_run) == ("default", None)
    assert (second.origin, second.from_run) == ("earlier run", run.name)
    for name in ("encoder_name", "frozen_depth", "decoder_lr", "encoder_lr_ratio"):
        assert getattr(second.recipe, name) == getattr(won, name)
    assert "its recipe won photos-1" in printed(done)
    stored = from_dict(Plan, done.json("plan.json"), "plan.json").space
    assert [winner.run for winner in stored.earlier] == [run.name]


def test_a_search_takes_nothing_from_one_that_learnt_from_its_test_images(first, room, tmp_path):
    """The data set's fingerprint is another one as soon as an image has another place."""
    divided = shutil.copytree(room.photos, tmp_path / "set")
    for kind in ("images", "masks"):
        for file in sorted((divided / "train" / kind).iterdir())[:1]:
            file.rename(divided / "test" / kind / f"moved-{file.name}")
    run = search(replace(room, photos=divided), "photos-4").run
    assert from_dict(Plan, run.json("plan.json"), "plan.json").space.earlier == ()


def test_it_can_be_turned_off(first, room):
    done = search(room, "photos-3", warm_start=False).run
    assert {trial.origin for trial in done.trials()} <= {"default", "portfolio"}
    assert from_dict(Plan, done.json("plan.json"), "plan.json").space.earlier == ()
