"""Searches that are killed, doubled or run out of disk."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from search_helpers import (
    Room,
    config,
    finished_trials,
    once,
    search_room,
    start,
    wait_until,
)

from autoseg.bundle import load_bundle
from autoseg.errors import RunError, RunLockedError
from autoseg.pipeline import run_search
from autoseg.search.devices import runs_in_line
from autoseg.search.run_folder import RunFolder

BUDGET_S = 180.0
"""Enough for a busy machine; no test uses it up."""


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with search_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture(scope="module")
def photos(room: Room) -> Path:
    return room.photos


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()


def test_a_killed_search_goes_on_with_what_it_had(room, photos, tmp_path):
    """kill -9 amid a trial; meanwhile a second process is refused."""
    run = RunFolder(tmp_path / "run")
    search = start(room, run.path, BUDGET_S)
    try:
        wait_until(lambda: finished_trials(run) >= 1, search)
        with pytest.raises(RunLockedError, match=f"process {search.pid}"):
            run_search(photos, config(BUDGET_S), run.path)
        numbers = {t.number for t in run.trials()}
        wait_until(lambda: any(t.number not in numbers for t in run.trials()), search)
    finally:
        kill(search)
    before = {t.number: t for t in run.trials() if t.status in ("complete", "pruned")}
    used = run.state().elapsed_s
    assert before and not run.model.exists()

    started = time.monotonic()
    result = run_search(
        photos, config(BUDGET_S), run.path,
        on_start=lambda stop: once(lambda: finished_trials(run) >= len(before) + 2, stop.ask),
    )  # fmt: skip
    seconds = time.monotonic() - started
    assert run.state().elapsed_s == pytest.approx(used + seconds, abs=5)
    after = {t.number: t for t in run.trials()}
    for number, trial in before.items():
        assert after[number].status in ("complete", trial.status)
        assert after[number].curve[: len(trial.curve)] == trial.curve
    lost = [t for t in after.values() if "interrupted" in t.reason]
    points = [(t.recipe.frozen_depth, t.recipe.decoder_lr) for t in after.values()]
    for trial in lost:  # Tried again.
        assert points.count((trial.recipe.frozen_depth, trial.recipe.decoder_lr)) >= 2
    assert not [t for t in after.values() if t.status == "running"]
    counted = [trial for trial in after.values() if trial.status != "set aside"]
    assert run.state().status == "done" and result.report["trials"] == len(counted)
    load_bundle(run.model)


@pytest.mark.alone
@pytest.mark.slow
def test_a_search_that_goes_on_keeps_to_what_is_left_of_its_budget(room, photos, tmp_path):
    budget_s = 45.0
    run = RunFolder(tmp_path / "run")
    search = start(room, run.path, budget_s)
    try:
        wait_until(lambda: finished_trials(run) >= 1, search)
    finally:
        kill(search)
    used = run.state().elapsed_s
    started = time.monotonic()
    run_search(photos, config(budget_s), run.path)
    assert run.state().status == "done"
    assert used + time.monotonic() - started <= 1.05 * budget_s + 10


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["checking data", "calibrating", "final training", "evaluating"])
def test_a_search_killed_in_any_phase_ends_with_a_model(room, photos, tmp_path, phase):
    run = RunFolder(tmp_path / "run")
    search = start(room, run.path, 30.0)
    try:
        wait_until(lambda: run.state() is not None and run.state().phase == phase, search)
    finally:
        kill(search)
    run_search(photos, config(30.0), run.path)
    assert run.state().status == "done"
    load_bundle(run.model)


@pytest.mark.slow
def test_stop_by_file_finishes_a_search_in_another_process(room, tmp_path):
    run = RunFolder(tmp_path / "run")
    search = start(room, run.path, 300.0)
    try:
        wait_until(lambda: finished_trials(run) >= 1, search)
        run.request_stop()
        _, errors = search.communicate(timeout=60)
    finally:
        search.kill()
    assert search.returncode == 0, errors
    assert run.state().status == "done"
    load_bundle(run.model)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.5 MB: room for the run's records, not for weights."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_named_and_the_search_goes_on_once_there_is_room(photos, small_disk):
    folder = small_disk / "run"
    with pytest.raises(RunError, match="is full. Free some space"):
        run_search(photos, config(BUDGET_S), folder)
    run = RunFolder(folder)
    assert run.state().status in ("interrupted", "running")  # As far as it could be written.
    for file in folder.rglob("*.json"):
        json.loads(file.read_text())
    assert not [p for p in folder.rglob("*.part")] and not run.model.exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    run_search(
        photos, config(BUDGET_S), folder,
        on_start=lambda stop: once(lambda: finished_trials(run) >= 1, stop.ask),
    )  # fmt: skip
    assert run.state().status == "done"
    load_bundle(run.model)


def test_a_disk_without_any_room_is_named(photos, small_disk):
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
    with pytest.raises(RunError, match="is full. Free some space"):
        run_search(photos, config(BUDGET_S), small_disk / "run")


def test_a_folder_that_may_not_be_written_fails_before_any_work(photos, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be made: Permission"):
        run_search(photos, config(20.0), tmp_path / "run")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A disk that nobody may write to, root neither."""
    disk = tmp_path / "read-only"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_home_that_cannot_be_written_is_named_with_the_way_out(
    photos, read_only, tmp_path, monkeypatch
):
    """`--run` elsewhere made the run, and then a traceback told of the place in line."""
    (tmp_path / "file").write_text("in the way")
    for number, home in enumerate((read_only, tmp_path / "file")):
        monkeypatch.setenv("AUTOSEG_HOME", str(home))
        run = RunFolder(tmp_path / f"run-{number}")
        with pytest.raises(RunError, match=f"{home} cannot be written.*Set AUTOSEG_HOME"):
            run_search(photos, config(20.0), run.path)
        assert run.state().status == "interrupted" and str(home) in run.state().error
        assert runs_in_line(home, torch.device("cpu")) == ()


def test_a_run_s_folder_that_cannot_be_written_is_named(photos, read_only):
    with pytest.raises(RunError, match=f"{read_only} cannot be written: Read-only.*--run"):
        run_search(photos, config(20.0), read_only)
