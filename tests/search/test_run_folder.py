import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autoseg.config import Geometry, Recipe, SearchConfig
from autoseg.errors import RunError, RunLockedError, RunVersionError
from autoseg.search.run_folder import (
    STALE_AFTER_S,
    CurvePoint,
    RunFolder,
    RunInfo,
    RunState,
    TrialRecord,
)

HOLD = """
import sys, time
from pathlib import Path
from autoseg.search.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "leaves-1")


def info() -> RunInfo:
    return RunInfo(SearchConfig(60.0, mapping=(("3", "ignore"),)), "/data", "ab", {"torch": "2"})


def state(**changes: object) -> RunState:
    return RunState("running", "searching", 60.0, 10.0, time.time(), pid=1, **changes)


def record(number: int = 0) -> TrialRecord:
    recipe = Recipe("test_resnet", Geometry(window=(64, 64), scale=0.5))
    curve = (CurvePoint(0.5, 1.0, None, 0.3, "decoder"), CurvePoint(1.0, 2.0, 0.7, 0.4))
    return TrialRecord(number, "complete", recipe, "default", curve, 0.4, tags=("winner",))


def test_records_are_read_as_they_were_written(run):
    assert run.info() is None and run.state() is None and run.trials() == ()
    assert not run.exists() and run.json("plan.json") is None
    run.write_info(info())
    run.write_state(state())
    for number in (0, 10, 2):
        run.write_trial(record(number))
    assert run.exists() and run.info() == info()
    assert run.state().phase == "searching"
    assert run.trials() == (record(0), record(2), record(10))


def test_a_running_search_that_went_silent_is_interrupted(run):
    run.write_state(state())
    assert run.state().status == "running" and run.state().is_live
    silent = replace(state(), updated_at=time.time() - STALE_AFTER_S - 1)
    run.write_state(silent)
    assert run.state().status == "interrupted"
    assert run.state().elapsed_s == silent.elapsed_s
    run.write_state(replace(silent, status="done"))
    assert run.state().status == "done"


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(run, version):
    run.write_info(info())
    file = run.path / "search.json"
    values = json.loads(file.read_text())
    values["format_version"] = version
    values["of_the_future"] = True
    file.write_text(json.dumps(values))
    with pytest.raises(RunVersionError, match="format version"):
        run.info()


def test_a_field_of_a_newer_version_is_no_damage(run):
    """It said that the folder is damaged, of a run that a newer autoseg had made."""
    run.write_info(info())
    file = run.path / "search.json"
    values = json.loads(file.read_text())
    values["config"]["of_the_future"] = 20.0
    file.write_text(json.dumps(values))
    with pytest.raises(RunVersionError, match="another version of autoseg.*of_the_future"):
        run.info()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"number": 1}', "\x00\xff", "7"])
@pytest.mark.parametrize("name", ["search.json", "state.json", "trials/0/trial.json"])
def test_a_damaged_record_is_an_error_of_the_run(run, name, content):
    file = run.path / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content.encode("latin-1"))
    reader = {"search.json": run.info, "state.json": run.state}.get(name, run.trials)
    with pytest.raises(RunError, match=file.name):
        reader()


def test_a_damaged_plan_is_an_error_of_the_run(run):
    run.path.mkdir()
    (run.path / "plan.json").write_text('{"space"')
    with pytest.raises(RunError, match="damaged"):
        run.json("plan.json")


def test_folders_that_are_no_trials_are_passed_over(run):
    run.write_trial(record(3))
    stray = run.path / "trials" / "copy of 3"
    stray.mkdir()
    (stray / "trial.json").write_text("{}")
    assert run.trials() == (record(3),)


def test_one_process_holds_a_run_and_its_end_lets_go(run):
    """Killed with -9, so that nothing of Python's lets go for it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunLockedError, match="another process"):
            with run.locked():
                pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with run.locked():
        pass


def test_a_run_is_held_once_in_one_process_too(run):
    with run.locked():
        with pytest.raises(RunLockedError):
            with RunFolder(run.path).locked():
                pass
    with run.locked():
        pass


def test_a_held_run_is_told_so_even_if_its_state_is_damaged(run):
    with run.locked():
        (run.path / "state.json").write_text("{")
        with pytest.raises(RunLockedError):
            with RunFolder(run.path).locked():
                pass


def test_a_request_to_stop_is_seen_and_forgotten(run):
    run.path.mkdir()
    assert not run.stop_requested()
    run.request_stop()
    run.request_stop()
    assert RunFolder(run.path).stop_requested()
    run.clear_requests()
    run.clear_requests()
    assert not run.stop_requested()


def test_a_request_to_pause_is_another_one(run):
    run.path.mkdir()
    run.request_pause()
    assert run.pause_requested() and not run.stop_requested()
    run.request_stop()
    run.clear_requests()
    assert not run.pause_requested() and not run.stop_requested()


def test_a_queued_search_that_went_silent_is_interrupted_and_waits_for_nobody(run):
    queued = replace(state(), status="queued", waits_for="leaves-1")
    run.write_state(queued)
    assert run.state() == queued and run.state().is_live
    run.write_state(replace(queued, updated_at=time.time() - STALE_AFTER_S - 1))
    assert run.state().status == "interrupted" and run.state().waits_for == ""


def test_a_request_made_after_the_start_is_kept(run):
    """The page's Stop, clicked while the search's process was loading, was forgotten by it."""
    run.path.mkdir()
    run.request_stop()
    run.clear_requests(asked_before=time.time() - 5)
    assert run.stop_requested()
    run.clear_requests(asked_before=time.time() + 5)
    assert not run.stop_requested()


def test_a_run_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be made"), RunFolder(tmp_path / "file/run").locked():
        pass
