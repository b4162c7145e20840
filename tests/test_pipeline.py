"""Whole searches on tiny data, with real training."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from search_helpers import (
    IGNORED_MARGIN,
    Room,
    config,
    finished_trials,
    make_photos,
    once,
    search_room,
)

from autoseg.bundle import load_bundle
from autoseg.errors import (
    BudgetError,
    EncoderError,
    RunError,
    RunLockedError,
    StoppedEarlyError,
    TrainingError,
)
from autoseg.pipeline import SearchResult, run_search
from autoseg.predictor import Predictor
from autoseg.search.run_folder import RunFolder

BUDGET_S = 40.0
"""On a machine that is busy with other tests a third of it goes before the search begins."""

ASKED = config(BUDGET_S)


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with search_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture(scope="module")
def photos(room: Room) -> Path:
    return room.photos


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> tuple[SearchResult, float]:
    """One finished search and the time it took."""
    started = time.monotonic()
    folder = tmp_path_factory.mktemp("runs") / "photos-1"
    return run_search(photos, ASKED, folder), time.monotonic() - started


def test_the_budget_is_kept(done):
    _, seconds = done
    assert seconds <= 1.05 * BUDGET_S + 10
    assert seconds >= 0.6 * BUDGET_S  # And used.


def test_trials_that_are_asked_for_are_made_in_a_short_budget_too(done):
    result, _ = done
    trials = result.run.trials()
    assert len(trials) >= 2
    assert trials[0].origin == "default" and trials[0].status == "complete"
    assert {trial.status for trial in trials} <= {"complete", "pruned", "failed"}
    (winner,) = [trial for trial in trials if "winner" in trial.tags]
    assert winner.curve[-1].phase == "final"
    assert result.report["trials"] == len(trials)


def test_everything_in_the_run_folder_can_be_read(done):
    result, _ = done
    run = result.run
    for file in run.path.rglob("*.json"):
        json.loads(file.read_text(encoding="utf-8"))
    info, state = run.info(), run.state()
    assert info.config == ASKED and len(info.data_fingerprint) == 64
    assert state.status == "done" and state.phase == "finished" and state.error == ""
    assert state.elapsed_s == pytest.approx(done[1], abs=5)
    assert state.best_score == max(trial.score for trial in run.trials())
    assert run.json("report/report.json") == result.report
    assert result.report["stopped_after_s"] is None
    for name in ("verdict.json", "splits.json", "plan.json"):
        assert run.json(name)
    leftovers = [p.name for p in run.path.rglob("*") if p.suffix == ".part" or p.name == "stop"]
    assert leftovers == []


def test_the_splits_are_apart_and_whole(done):
    splits = done[0].run.json("splits.json")
    parts = [set(splits[name]) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [14, 10, 12] and len(set.union(*parts)) == 36
    assert set(done[0].run.json("plan.json")["val"]) <= parts[1]


def test_the_report_is_about_the_test_images_and_holds_together(done):
    report = done[0].report
    assert report["split"] == "test" and report["untouched"] is True
    assert report["n_images"] == len(done[0].run.json("splits.json")["test"])
    counted = (64 - 2 * IGNORED_MARGIN) * (96 - 2 * IGNORED_MARGIN)
    assert np.array(report["confusion"]).sum() == report["n_images"] * counted
    for table in (report["model"], report["default_recipe"]):
        if table is not None:
            for name, score in table["scores"].items():
                assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1, name
    if report["difference"] is not None:
        assert 0 <= report["difference"]["probability_better"] <= 1


def test_the_model_is_a_bundle_that_scores_what_the_report_says(done, photos):
    result, _ = done
    bundle = load_bundle(result.run.model)
    assert bundle.info.scores["macro_iou"] == result.report["model"]["scores"]["macro_iou"]["value"]
    predictor = Predictor.from_pretrained(result.run.path, device="cpu")
    image = next((photos / "test" / "images").iterdir())
    assert predictor.predict(image).mask.shape == (64, 96)


def test_the_report_says_what_was_read_how_the_search_went_and_what_it_cost(done):
    result, seconds = done
    data, search = result.report["data"], result.report["search"]
    assert data["pairs"] == 36 and data["splits"] == {"train": 14, "val": 10, "test": 12}
    meanings = {row["class_name"] for row in data["values"]}
    assert meanings == {*result.report["class_names"], "ignore"}
    assert [row["name"] for row in data["classes"]] == result.report["class_names"]
    trials = result.run.trials()
    assert sum(search["trials"].values()) == len(trials) == result.report["trials"]
    assert sum(row["trials"] for row in search["frozen_depths"]) == len(trials)
    (winner,) = [trial for trial in trials if "winner" in trial.tags]
    assert search["winner"]["number"] == winner.number
    assert 0 < search["seconds"] <= seconds and search["attempts"] == 1
    assert search["energy_wh"] > 0 and search["energy_how"]


def test_no_name_of_a_users_file_is_in_what_is_published(done, photos):
    model = done[0].run.model
    published = (model / "README.md").read_text() + (model / "report.json").read_text()
    assert "scene_0" not in published and str(photos) not in published


def test_the_examples_are_images_of_the_test_split_from_best_to_worst(done):
    result, _ = done
    examples = result.report["examples"]
    assert [row["rank"] for row in examples] == [1, 5, 8, 12]
    scores = [row["score"] for row in examples]
    assert scores == sorted(scores, reverse=True)
    assert {(row["split"], row["n_images"]) for row in examples} == {("test", 12)}
    files = sorted(path.name for path in (result.run.model / "examples").iterdir())
    assert files == [f"example_{k}.jpg" for k in (1, 2, 3, 4)]
    card = (result.run.model / "README.md").read_text(encoding="utf-8")
    for row in examples:
        assert row["file"] in card
        with Image.open(result.run.model / row["file"]) as picture:
            assert picture.width <= 1200


def test_a_finished_run_returns_its_result_at_once(done, photos):
    result, _ = done
    before = {p: p.stat().st_mtime_ns for p in result.run.path.rglob("*.json")}
    started = time.monotonic()
    again = run_search(photos, ASKED, result.run.path)
    assert time.monotonic() - started < 2
    assert again.report == result.report
    assert before == {p: p.stat().st_mtime_ns for p in result.run.path.rglob("*.json")}


def test_a_finished_run_is_no_answer_for_other_data(done, tmp_path):
    """The scores of the first data set were printed for the second."""
    with pytest.raises(RunError, match="is a finished search in"):
        run_search(tmp_path, ASKED, done[0].run.path)


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"flip": "none"}, {"n_trials": 2}, {"max_side": 32}]
)
def test_another_configuration_is_refused_by_the_field(done, photos, change):
    result, _ = done
    with pytest.raises(RunError, match=next(iter(change))):
        run_search(photos, replace(ASKED, **change), result.run.path)


def test_a_run_that_is_held_is_refused(done, photos):
    result, _ = done
    with result.run.locked():
        with pytest.raises(RunLockedError, match="another process"):
            run_search(photos, ASKED, result.run.path)
    assert result.run.state().status == "done"


@pytest.mark.alone
def test_too_small_a_budget_says_what_would_do_and_leaves_the_run_usable(photos, tmp_path):
    """The number it names, given to the same run, is enough."""
    folder = tmp_path / "small"
    with pytest.raises(BudgetError, match=r"at least (\d+) s") as caught:
        run_search(photos, config(0.5), folder)
    run = RunFolder(folder)
    assert run.state().status == "failed" and run.state().error == str(caught.value)
    assert not run.model.exists() and not run.report.exists() and run.trials() == ()
    assert run.json("plan.json") is None
    least = float(str(caught.value).rsplit("at least ", 1)[1].split()[0])
    assert least < 60
    result = run_search(photos, config(least), folder)
    assert result.run.state().status == "done" and result.run.model.is_dir()
    assert result.report["search"]["attempts"] == 2, "the first one used energy too"


def test_a_stop_finishes_soon_with_a_model(photos, tmp_path):
    folder = tmp_path / "stopped"
    run = RunFolder(folder)
    asked = []

    def stop_when_searching() -> None:
        while not any(trial.curve for trial in run.trials()):
            time.sleep(0.1)
        asked.append(time.monotonic())
        run.request_stop()

    thread = threading.Thread(target=stop_when_searching)
    thread.start()
    result = run_search(photos, config(300.0), folder)
    thread.join()
    assert time.monotonic() - asked[0] < 30
    assert run.state().status == "done" and result.report["trials"] >= 1
    assert 0 < result.report["stopped_after_s"] <= result.report["seconds"] < 300
    winner = next(trial for trial in run.trials() if "winner" in trial.tags)
    assert winner.reason == "stopped on request"
    load_bundle(run.model)


def test_a_stop_before_anything_was_trained_keeps_the_run_resumable(photos, tmp_path):
    folder = tmp_path / "early"
    with pytest.raises(StoppedEarlyError):
        run_search(photos, config(60.0), folder, on_start=lambda stop: stop.ask())
    run = RunFolder(folder)
    assert run.state().status == "interrupted" and not run.model.exists()
    assert run.json("splits.json")


@pytest.mark.slow
def test_memory_that_runs_out_while_images_are_judged_is_told_and_the_model_is_kept(
    photos, tmp_path, monkeypatch
):
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    run, asked = RunFolder(tmp_path / "photos-1"), config(30.0, n_trials=1)
    with monkeypatch.context() as patch:
        patch.setattr("autoseg.judging.predict_split", full)
        with pytest.raises(TrainingError, match="Memory ran out on cpu"):
            run_search(photos, asked, run.path)
    assert run.state().status == "failed" and not run.model.exists()
    trained = run.trials()[0].curve
    assert run_search(photos, asked, run.path).report["split"] == "test"
    assert run.trials()[0].curve == trained


def test_a_folder_of_other_things_is_no_run(photos, tmp_path):
    """At its end a run removes `final/` and more: `--run .` cost the user such a folder."""
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files and no run"):
        run_search(photos, config(60.0), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_changed_data_is_refused(tmp_path):
    photos = make_photos(tmp_path / "set")
    folder = tmp_path / "run"
    with pytest.raises(StoppedEarlyError):
        run_search(photos, config(60.0), folder, on_start=lambda stop: stop.ask())
    (photos / "train" / "images" / "scene_003.jpg").unlink()
    (photos / "train" / "masks" / "scene_003.png").unlink()
    with pytest.raises(RunError, match="has changed since run began"):
        run_search(photos, config(60.0), folder)


def test_an_unknown_encoder_is_told_before_the_time_is_gone(photos, tmp_path):
    started = time.monotonic()
    with pytest.raises(EncoderError, match="resnet5000"):
        run_search(photos, config(600.0, encoders=("resnet5000",)), tmp_path / "run")
    assert time.monotonic() - started < 10


def test_interrupting_leaves_at_once_and_resumable(photos, tmp_path, monkeypatch):
    """What Ctrl-C does the second time."""
    folder = tmp_path / "run"

    def interrupt(self: torch.nn.Module) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_search(photos, config(60.0), folder)
    assert RunFolder(folder).state().status == "interrupted"
    with RunFolder(folder).locked():
        pass


def test_the_page_can_show_what_the_best_trial_makes_of_images(photos, tmp_path):
    run = RunFolder(tmp_path / "run")
    result = run_search(
        photos, config(600.0), run.path,
        on_start=lambda stop: once(lambda: finished_trials(run) >= 1, stop.ask),
    )  # fmt: skip
    shown = run.json("live/live.json")
    assert 1 <= len(shown["images"]) <= 4
    assert all((run.live / row["file"]).is_file() for row in shown["images"])
    assert shown["trial"] in {trial.number for trial in result.run.trials()}
    assert 0 < shown["score"] <= run.state().best_score + 0.05


def test_the_page_can_show_how_a_search_went(done):
    """What is written beside the records: importances, resources, latencies."""
    result, _ = done
    resources = result.run.json("resources.json")
    assert 0 < resources["memory_bytes"] < resources["memory_total_bytes"]
    assert all(trial.latency_ms > 0 for trial in result.run.trials())
    known = result.run.json("importances.json")
    complete = [trial for trial in result.run.trials() if trial.status == "complete"]
    assert (known is None) == (len(complete) < 4)
    if known is not None:
        assert "decoder_lr" in known["importances"]
