"""Models made of other trials of a finished run, with a real search of two encoders."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from search_helpers import Room, config, make_photos, once, search_room
from typer.testing import CliRunner

import autoseg
from autoseg.bundle import load_bundle
from autoseg.checkpoint import load_weights
from autoseg.cli import app
from autoseg.config import Geometry, to_dict
from autoseg.continuing import load_start
from autoseg.errors import RunError, RunLockedError, StoppedEarlyError
from autoseg.files import write_json
from autoseg.image_roles import read_roles
from autoseg.judging import ScoredOnTest
from autoseg.pipeline import SearchResult, run_search
from autoseg.predictor import Predictor
from autoseg.search.budget import EncoderCost, Plan
from autoseg.search.devices import device_key
from autoseg.search.run_folder import RunFolder, TrialRecord
from autoseg.search.space import SearchSpace
from autoseg.taking import FinishedTrial, finished_trials, take_trial
from autoseg.training.hardware import choose_device
from autoseg.workspace import Workspace

FAST, GOOD = "test_resnet.r160_in1k", "tf_efficientnet_lite0.in1k"
"""An encoder with random weights, and a slower one that was pretrained."""


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with search_room(tmp_path_factory.mktemp("room")) as room:
        yield room


def ended(run: RunFolder, encoder_name: str) -> list[TrialRecord]:
    return [
        trial
        for trial in run.trials()
        if trial.recipe.encoder_name == encoder_name and trial.status in ("complete", "pruned")
    ]


def plan(val: tuple[int, ...]) -> Plan:
    """That of a machine on which an image takes 5 ms by one encoder and 20 ms by the other.

    Times of networks as small as these, measured beside other tests, are as good as drawn by lot.
    """
    geometry = Geometry(window=(64, 96), scale=1.0)
    cost = EncoderCost(0.01, 0.005, 0.005, 0.005, bf16=False, latency_s=0.005)
    return Plan(
        space=SearchSpace((FAST, GOOD), geometry, ("fpn",)),
        costs={FAST: cost, GOOD: replace(cost, latency_s=0.02)},
        reference_epochs=1000.0,
        search_s=800.0,
        search_until_s=850.0,
        max_trials=20,
        decoder_windows=56,
        decoder_features=56,
        val=val,
        reserve_s=5.0,
        device=device_key(choose_device("auto")),
    )


@pytest.fixture(scope="module")
def done(room: Room) -> SearchResult:
    """A search that was stopped when both encoders had a trial."""
    run = RunFolder(room.home / "runs" / "photos-1")
    asked = config(900.0, encoders=("test_resnet", "tf_efficientnet_lite0"))
    with pytest.raises(StoppedEarlyError):
        run_search(room.photos, asked, run.path, on_start=lambda stop: stop.ask())
    write_json(run.path / "plan.json", to_dict(plan(tuple(run.json("splits.json")["val"]))))
    return run_search(
        room.photos, asked, run.path,
        on_start=lambda stop: once(lambda: ended(run, FAST) and ended(run, GOOD), stop.ask),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fast(done: SearchResult) -> FinishedTrial:
    """What can be taken of it."""
    (trial,) = [trial for trial in finished_trials(done.run) if trial.can_be_taken]
    return trial


@pytest.fixture(scope="module")
def taken(done: SearchResult, fast: FinishedTrial) -> SearchResult:
    return autoseg.take("photos-1", fast.record.number)


@pytest.fixture
def copied(done: SearchResult, tmp_path: Path) -> RunFolder:
    """The run, to be spoilt."""
    return RunFolder(shutil.copytree(done.run.path, tmp_path / "copied"))


def test_a_finished_run_keeps_the_weights_of_its_front_beside_the_model(done, fast):
    trials = finished_trials(done.run)
    assert [t.record.score for t in trials] == sorted(
        (t.record.score for t in trials), reverse=True
    )
    (model,) = [trial for trial in trials if trial.is_model]
    assert model.record.recipe.encoder_name == GOOD and model.on_front
    assert fast.record.recipe.encoder_name == FAST and fast.on_front
    assert (fast.record.latency_ms, model.record.latency_ms) == (5.0, 20.0)
    kept = sorted(file.parent.name for file in done.run.path.glob("trials/*/*.safetensors"))
    assert kept == [str(fast.record.number)]
    assert autoseg.trials("photos-1") == trials


def test_the_model_is_the_trial_as_the_search_left_it(done, fast, taken, room):
    bundle = load_bundle(taken.run.model)
    assert bundle.info.recipe.encoder_name == FAST
    weights = bundle.model.state_dict()
    from_trial = load_weights(done.run.weights(fast.record.number))
    assert weights.keys() == from_trial.keys()
    assert all(torch.equal(weights[name], from_trial[name]) for name in weights)
    image = next((room.photos / "test" / "images").iterdir())
    prediction = Predictor.from_pretrained(taken.run.path, device="cpu").predict(image)
    assert prediction.mask.shape == (64, 96)


def test_it_is_judged_beside_the_winner_on_the_same_images(done, fast, taken):
    report = taken.report
    assert (report["split"], report["n_images"], report["untouched"]) == ("test", 12, True)
    assert report["compared_with"] == "winner of the search"
    for name, score in done.report["model"]["scores"].items():
        again = report["default_recipe"]["scores"][name]
        assert again["value"] == pytest.approx(score["value"], abs=1e-3), name
    ours = report["model"]["scores"]["macro_imagewise_iou"]
    assert ours["low"] <= ours["value"] <= ours["high"]
    assert report["difference"]["value"] < 0 < report["taken"]["latency_ms"]
    assert report["validation_score"] == fast.record.score
    scores = load_bundle(taken.run.model).info.scores
    assert scores["macro_iou"] == report["model"]["scores"]["macro_iou"]["value"]
    assert taken.run.json("report/report.json") == report


def test_the_report_says_that_it_had_no_final_training(taken, fast):
    number = fast.record.number
    assert f"trial {number} as the search trained it" in taken.report["default_note"]
    assert "without final training" in taken.report["default_note"]
    card = (taken.run.model / "README.md").read_text(encoding="utf-8")
    for text in ("without final training", f"a person took trial {number}", "been scored on them"):
        assert text in card
    assert f"Trial {number} won" not in card
    assert len(taken.report["examples"]) == 4


def test_the_run_counts_the_models_that_were_scored_on_its_test_images(copied, fast, tmp_path):
    number = fast.record.number
    before = ScoredOnTest.of(copied).trials
    n_models = len({*before, number})
    for k in (1, 2):
        report = take_trial(copied, number, RunFolder(tmp_path / f"model-{k}")).report
        assert f"{n_models} models of this run have been scored" in report["note"]
        assert report["taken"]["models_scored"] == n_models
    assert ScoredOnTest.of(copied).trials == (*before, number, number)


def test_the_default_recipe_counts_where_it_was_scored_beside_the_winner(done):
    (winner,) = [trial.number for trial in done.run.trials() if "winner" in trial.tags]
    models = [winner]
    if done.report["default_recipe"]:
        models += [t.number for t in done.run.trials() if t.origin == "default"][-1:]
    scored = ScoredOnTest.of(done.run).trials  # Behind them come those that were taken.
    assert scored[: len(models)] == tuple(models)


def test_a_run_of_an_earlier_autoseg_has_scored_its_winner(copied):
    (copied.path / "scored_on_test.json").unlink()
    (winner,) = [trial.number for trial in copied.trials() if "winner" in trial.tags]
    assert ScoredOnTest.of(copied).trials == (winner,)


def test_the_new_run_is_one_like_others(done, taken, room):
    workspace = Workspace(room.home)
    assert taken.run.path == room.home / "runs" / f"photos-1-trial-{taken.report['taken']['trial']}"
    assert taken.run.name in [run.name for run in workspace.runs()]
    (trial,) = taken.run.trials()
    assert taken.run.state().status == "done"
    assert taken.run.state().message == (
        f"Trial {trial.number} of photos-1 as the search trained it, without final training."
    )
    assert workspace.dataset_of(taken.run).source == room.photos
    assert workspace.training_outlook(taken.run) is not None
    with pytest.raises(RunError, match="winner.*None of its trials can be taken"):
        take_trial(taken.run, taken.run.trials()[0].number, RunFolder(room.home / "other"))


def test_training_on_knows_what_the_trial_has_seen(done, taken, tmp_path):
    start = load_start(str(taken.run.model), RunFolder(tmp_path / "next"))
    assert start.roles == read_roles(done.run) and start.roles is not None
    assert start.recipe.encoder_name == FAST


@pytest.mark.slow
def test_a_trial_that_was_taken_can_be_given_more_time(room, taken, tmp_path):
    asked = config(60.0, start_from=str(taken.run.model))
    result = run_search(room.photos, asked, tmp_path / "longer")
    assert result.report["compared_with"] == "former model" and result.report["untouched"] is True
    assert load_bundle(result.run.model).info.recipe.encoder_name == FAST


def test_data_that_was_moved_is_named(copied, fast, room, tmp_path):
    info = copied.info()
    copied.write_info(replace(info, source=str(tmp_path / "gone")))
    with pytest.raises(RunError, match=r"is not in .*gone.*--data"):
        take_trial(copied, fast.record.number, RunFolder(tmp_path / "model"))
    result = take_trial(copied, fast.record.number, RunFolder(tmp_path / "model"), data=room.photos)
    assert result.run.info().source == str(room.photos)


def test_other_data_is_refused_and_nothing_is_left(copied, fast, tmp_path):
    photos = make_photos(tmp_path / "set")
    (photos / "train" / "images" / "scene_003.jpg").unlink()
    (photos / "train" / "masks" / "scene_003.png").unlink()
    before = ScoredOnTest.of(copied)
    out = tmp_path / "out" / "model"
    with pytest.raises(RunError, match="is not as it was when copied searched in it"):
        take_trial(copied, fast.record.number, RunFolder(out), data=photos)
    assert list(out.parent.iterdir()) == []
    assert ScoredOnTest.of(copied) == before


def test_a_folder_that_is_there_is_left_alone(done, fast, taken, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is there already. Choose another name"):
        take_trial(done.run, fast.record.number, RunFolder(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(RunError, match="is there already"):
        autoseg.take("photos-1", fast.record.number)


def test_a_run_that_is_not_done_has_nothing_to_take(copied, fast, tmp_path):
    copied.write_state(replace(copied.state(), status="interrupted"))
    with pytest.raises(RunError, match="is not done yet .interrupted.*stop it with the best"):
        take_trial(copied, fast.record.number, RunFolder(tmp_path / "model"))
    assert not any(trial.can_be_taken for trial in finished_trials(copied))


def test_a_trial_that_cannot_be_taken_says_why_and_which_can(done, copied, fast, tmp_path):
    can = f"These can be taken: {fast.record.number}."
    out = RunFolder(tmp_path / "model")
    beaten = next(
        trial.record.number
        for trial in finished_trials(done.run)
        if not (trial.is_model or trial.can_be_taken)
    )
    write_json(
        copied.trial(98) / "trial.json",
        to_dict(replace(fast.record, number=98, status="failed", score=None)),
    )
    for number, why in {
        99: "has no trial 99",
        98: "Trial 98 of copied has no weights: failed",
        beaten: f"weights of trial {beaten} of copied are gone",
        next(t.record.number for t in finished_trials(copied) if t.is_model): "is the winner",
    }.items():
        with pytest.raises(RunError, match=f"{why}.*{can}"):
            take_trial(copied, number, out)
    shutil.rmtree(copied.trial(fast.record.number))
    with pytest.raises(RunError, match="None of its trials can be taken"):
        take_trial(copied, 99, out)


def test_a_run_that_is_held_is_refused(copied, fast, tmp_path):
    with copied.locked(), pytest.raises(RunLockedError):
        take_trial(copied, fast.record.number, RunFolder(tmp_path / "model"))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is no run"):
        finished_trials(RunFolder(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_lists_and_takes(done, fast, tmp_path):
    number = fast.record.number
    listed = CliRunner().invoke(app, ["trials", "photos-1", "--json"], catch_exceptions=False)
    rows = {row["trial"]: row for row in json.loads(listed.output)}
    assert rows[number]["can_be_taken"] and rows[number]["encoder_name"] == FAST
    assert sum(row["is_model"] for row in rows.values()) == 1
    table = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["trials", "photos-1"])
    assert FAST in table.output and "fpn, frozen" in table.output  # No name is broken.
    assert "can be taken" in table.output and "autoseg take photos-1 --trial" in table.output
    out = tmp_path / "my model"
    made = CliRunner().invoke(
        app, ["take", "photos-1", "--trial", str(number), "--out", str(out)], catch_exceptions=False
    )
    assert made.exit_code == 0, made.output
    said = " ".join(made.output.split())
    assert "without final training" in said and "winner of the search" in said
    assert f"--start-from '{out}'" in made.output
    load_bundle(out / "model")
