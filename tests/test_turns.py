"""Searches that are paused, and searches that wait for their device."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from search_helpers import (
    Room,
    config,
    finished_trials,
    make_photos,
    once,
    search_room,
    start,
)

from autoseg import console
from autoseg.bundle import load_bundle
from autoseg.config import SearchConfig, from_dict, to_dict
from autoseg.data.sample import make_sample_dataset
from autoseg.errors import ConfigError, PausedError, RunError, RunLockedError
from autoseg.files import write_json
from autoseg.pipeline import run_search
from autoseg.search.budget import EncoderCost, Plan
from autoseg.search.devices import device_key, runs_in_line, turn_on
from autoseg.search.run_folder import RunFolder
from autoseg.training.hardware import choose_device
from autoseg.workspace import Workspace

CPU = torch.device("cpu")
BUDGET_S = 180.0


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with search_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "photos-1")


@pytest.mark.alone
def test_a_pause_leaves_at_once_and_the_same_search_goes_on(room, run):
    asked: list[float] = []

    def pause() -> None:
        asked.append(time.monotonic())
        run.request_pause()

    thread = once(lambda: finished_trials(run) >= 1, pause)
    with pytest.raises(PausedError):
        run_search(room.photos, config(BUDGET_S), run.path)
    thread.join()
    assert time.monotonic() - asked[0] < 2
    paused = run.state()
    told = any(trial.status == "set aside" for trial in run.trials())
    assert paused.message.endswith("starts again.") == told
    assert paused.status == "paused" and not run.pause_requested() and not run.model.exists()
    assert not [trial for trial in run.trials() if trial.status == "running"]
    kept = {trial.number: trial for trial in run.trials() if trial.status == "complete"}
    time.sleep(0.3)
    assert run.state() == paused  # No time passes.

    started = time.monotonic()
    # It ends soon, with what it had.
    result = run_search(room.photos, config(BUDGET_S), run.path, on_start=lambda stop: stop.ask())
    used = paused.elapsed_s + time.monotonic() - started
    assert run.state().elapsed_s == pytest.approx(used, abs=3)
    trials = {trial.number: trial for trial in run.trials()}
    for number, trial in kept.items():
        assert trials[number].curve[: len(trial.curve)] == trial.curve
    counted = [trial for trial in trials.values() if trial.status != "set aside"]
    assert run.state().status == "done" and result.report["trials"] == len(counted)
    assert sum(result.report["search"]["trials"].values()) == len(counted)
    load_bundle(run.model)


def test_a_run_that_goes_on_on_another_machine_measures_its_costs_anew(room, run):
    """It kept those of the first: on a CPU a GPU's, and bfloat16 where nothing computes in it."""
    asked = config(BUDGET_S, n_trials=4)
    search_paused(room.photos, asked, run, lambda: finished_trials(run) >= 2)
    before = from_dict(Plan, run.json("plan.json"), "plan.json")
    tried = {trial.number: trial for trial in run.trials() if trial.status == "complete"}
    assert before.device == device_key(choose_device("auto"))
    fast = EncoderCost(1e-9, 1e-9, 1e-9, 1e-9, True, 1e-9)
    costs = dict.fromkeys(before.costs, fast)
    write_json(run.path / "plan.json", to_dict(replace(before, costs=costs, device="elsewhere")))
    run_search(room.photos, asked, run.path, on_start=lambda stop: stop.ask())
    after = from_dict(Plan, run.json("plan.json"), "plan.json")
    assert after.device == before.device
    assert (after.space, after.val, after.max_trials) == (before.space, before.val, 4)
    for cost in after.costs.values():
        assert min(cost.step_s, cost.validation_s, cost.image_s) > 1e-6
    trials = {trial.number: trial for trial in run.trials()}
    for number, trial in tried.items():
        assert trials[number].curve[: len(trial.curve)] == trial.curve
        image_s = after.costs[trial.recipe.encoder_name].time_with(trial.recipe.decoder_name)
        assert trials[number].latency_ms == pytest.approx(1000 * image_s)


@pytest.mark.parametrize("phase", ["checking data", "calibrating"])
def test_a_pause_is_heard_before_there_are_trials(room, run, phase):
    thread = once(lambda: phase_of(run) == phase, run.request_pause)
    with pytest.raises(PausedError):
        run_search(room.photos, config(60.0), run.path)
    thread.join()
    assert run.state().status == "paused"


def search_paused(
    source: Path, asked: SearchConfig, run: RunFolder, moment: Callable[[], bool]
) -> None:
    """Search, be told to pause at a moment that the run's folder shows, and leave soon."""
    told: list[float] = []

    def pause() -> None:
        told.append(time.monotonic())
        run.request_pause()

    thread = once(lambda: moment() or has_ended(run), pause)
    with pytest.raises(PausedError):
        run_search(source, asked, run.path)
    left_after_s = time.monotonic() - told[0]
    thread.join()
    assert left_after_s < 5
    assert run.state().status == "paused" and not run.model.exists()


def has_ended(run: RunFolder) -> bool:
    state = run.state()
    return state is not None and state.status in ("done", "failed")


def phase_of(run: RunFolder) -> str:
    state = run.state()
    return "" if state is None else state.phase


def scored(run: RunFolder, phase: str) -> int:
    """How often a phase of training was scored."""
    return sum(point.phase == phase for trial in run.trials() for point in trial.curve)


def judged_folds(run: RunFolder) -> dict[str, int]:
    """When the folds' predictions were written."""
    return {file.name: file.stat().st_mtime_ns for file in run.path.glob("folds/*.npz")}


def share_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let five networks share any time."""
    monkeypatch.setattr("autoseg.search.networks.NETWORK_PIXELS", 1.0)
    monkeypatch.setattr("autoseg.search.networks.NETWORK_WINDOWS", 1)


@pytest.mark.alone
@pytest.mark.slow
def test_a_pause_in_the_last_training_repeats_no_trial_and_no_fold(run, tmp_path, monkeypatch):
    """One in the final training, and one between the folds."""
    share_any_time(monkeypatch)
    source = make_sample_dataset(tmp_path / "few", 24, size=(32, 32))
    asked = config(150.0, max_side=32, n_trials=1)  # Each attempt takes seconds to begin.
    search_paused(source, asked, run, lambda: scored(run, "final") > 0)
    assert run.state().phase == "final training"
    first = scored(run, "final")
    assert {trial.number for trial in run.trials()} == {0} and judged_folds(run) == {}

    search_paused(source, asked, run, lambda: len(judged_folds(run)) > 0)
    assert run.state().phase == "training folds"
    trained, folds = scored(run, "final"), judged_folds(run)
    assert trained > first and 0 < len(folds) < 4

    seen: list[dict[str, int]] = []
    once(lambda: len(judged_folds(run)) == 4, lambda: seen.append(judged_folds(run)))
    result = run_search(source, asked, run.path)
    assert len(seen) == 1 and folds.items() <= seen[0].items()
    assert {trial.number for trial in run.trials()} == {0} and scored(run, "final") == trained
    assert run.state().status == "done" and result.report["split"] == "folds"
    assert result.report["n_images"] == 24
    load_bundle(run.model)


@pytest.mark.slow
def test_a_stop_while_folds_are_trained_gives_the_model_that_is_trained(run, tmp_path, monkeypatch):
    """They came first, and there was none."""
    share_any_time(monkeypatch)
    source = make_sample_dataset(tmp_path / "few", 24, size=(32, 32))
    once(lambda: phase_of(run) == "training folds", run.request_stop)
    result = run_search(source, config(50.0, max_side=32, n_trials=1), run.path)
    assert run.state().status == "done" and result.report["split"] == "validation"
    load_bundle(run.model)


@pytest.mark.alone
@pytest.mark.slow
def test_a_pause_while_the_test_images_are_judged_trains_nothing_again(run, tmp_path):
    """They are large, so that there is time to pause."""
    source = make_photos(tmp_path / "large")
    make_sample_dataset(source / "test", 12, 2, size=(400, 600))
    (source / "test" / "classes.txt").unlink()
    asked = config(30.0, n_trials=1)
    search_paused(source, asked, run, lambda: phase_of(run) == "evaluating")
    paused, trials = run.state(), run.trials()
    assert paused.phase == "evaluating" and not (run.report / "report.json").exists()

    result = run_search(source, asked, run.path)
    assert [trial.curve for trial in run.trials()] == [trial.curve for trial in trials]
    assert result.report["split"] == "test" and result.report["n_images"] == 12
    assert run.state().status == "done" and run.state().elapsed_s > paused.elapsed_s
    load_bundle(run.model)


def test_a_search_waits_until_its_device_is_free_and_no_time_counts(room, run):
    seen = []

    def hold() -> None:
        with turn_on(room.home, CPU, "leaves-7"):
            held.set()
            while (state := run.state()) is None or state.status != "queued":
                time.sleep(0.02)
            time.sleep(3)
            seen.append(run.state())
        while run.state().status == "queued":
            time.sleep(0.02)
        seen.append(run.state())
        run.request_pause()

    held = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    started = time.monotonic()
    with pytest.raises(PausedError):
        run_search(room.photos, config(60.0), run.path, started_at=started - 20)
    seconds = time.monotonic() - started
    holder.join()
    queued, began = seen
    assert queued.waits_for == "leaves-7" and "leaves-7" in queued.message
    assert queued.elapsed_s == 0 and queued.is_live
    assert began.status == "running" and (began.waits_for, began.message) == ("", "")
    assert run.state().elapsed_s < seconds - 3  # Nor do the 20 s of loading count.
    assert runs_in_line(room.home, CPU) == ()


@pytest.mark.parametrize("ask", ["request_stop", "request_pause"])
def test_who_waits_can_be_told_to_leave_the_line(room, run, ask):
    def is_queued() -> bool:
        state = run.state()
        return state is not None and state.status == "queued"

    with turn_on(room.home, CPU, "leaves-7"):
        thread = once(is_queued, getattr(run, ask))
        with pytest.raises(PausedError):
            run_search(room.photos, config(60.0), run.path)
        thread.join()
        assert runs_in_line(room.home, CPU) == ("leaves-7",)
    state = run.state()
    assert state.status == "paused" and state.waits_for == ""
    assert not run.stop_requested() and not run.pause_requested()
    info = run.info()  # What the page needs to go on with it.
    assert info is not None and (info.config, info.source) == (config(60.0), str(room.photos))


def test_the_command_line_says_that_it_waits_and_how_to_go_on(room, run, capsys):
    def pause() -> None:
        time.sleep(2 / console.REFRESH_PER_S)
        run.request_pause()

    with turn_on(room.home, CPU, "leaves-7"):
        thread = once(lambda: (state := run.state()) and state.status == "queued", pause)
        console.run(room.photos, config(60.0), run.path, time.monotonic())
        thread.join()
    printed = " ".join(capsys.readouterr().out.split())
    assert "Waits for leaves-7" in printed
    assert printed.endswith("It goes on where it stood. Give the same command for that.")


def test_a_device_that_is_not_there_is_told_in_the_run(room, run):
    with pytest.raises(ConfigError, match="cannot be used here"):
        run_search(room.photos, config(60.0, device="cuda:77"), run.path)
    assert run.state().status == "failed" and "cuda:77" in run.state().error


@pytest.mark.alone
@pytest.mark.slow
def test_of_two_searches_of_the_page_the_second_waits_and_both_can_be_paused(room, monkeypatch):
    """As the page does it: in processes of their own, seen through the runs' folders alone."""
    monkeypatch.setenv("HF_HUB_CACHE", str(room.cache))
    workspace = Workspace(room.home)
    first = workspace.start_search(room.photos, config(60.0), "first-1")
    with pytest.raises(RunLockedError):
        wait_for(lambda: workspace.is_held(first))
        workspace.start_search(room.photos, config(60.0), "first-1")
    wait_for(lambda: runs_in_line(room.home, CPU) == ("first-1",))
    second = workspace.start_search(room.photos, config(60.0), "second-1")
    wait_for(lambda: second.state().status == "queued")
    assert second.state().waits_for == "first-1"
    workspace.pause_search(first)
    wait_for(lambda: first.state().status == "paused" and second.state().status == "running")
    assert second.state().elapsed_s < 5  # What loading took does not count.
    workspace.pause_search(second)
    wait_for(lambda: second.state().status == "paused")
    for run in (first, second):
        with pytest.raises(RunError, match="nothing to pause"):
            workspace.pause_search(run)
    # The same command goes on with the run that is paused.
    assert workspace.name_run(room.photos, config(60.0)) in (first.path, second.path)


@pytest.mark.slow
def test_a_search_that_is_killed_makes_room_for_the_one_that_waits(room, run, tmp_path):
    """By kill -9, in the middle of its work."""
    killed = RunFolder(tmp_path / "killed-1")
    search = start(room, killed.path, 300.0)
    wait_for(lambda: runs_in_line(room.home, CPU) == ("killed-1",))
    thread = once(lambda: (state := run.state()) is not None and state.status == "queued",
                  search.kill)  # fmt: skip
    pause = once(lambda: finished_trials(run) >= 1, run.request_pause)
    with pytest.raises(PausedError):
        run_search(room.photos, config(BUDGET_S), run.path)
    thread.join()
    pause.join()
    search.communicate()
    assert finished_trials(run) >= 1


def wait_for(condition: Callable[[], bool], timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
