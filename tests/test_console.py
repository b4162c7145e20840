"""What the terminal says of a run before it goes on."""

import io
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from search_helpers import once

from autoseg import console
from autoseg.config import Geometry, Recipe
from autoseg.search.run_folder import RunFolder, RunState, TrialRecord

HOLD = """
import sys, time
from pathlib import Path
from autoseg.search.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def told(run: RunFolder) -> str:
    """What is printed before a search."""
    screen = io.StringIO()
    console._say_what_is_there(run, Console(file=screen, width=100))
    return screen.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose record is of this moment."""
    run = RunFolder(tmp_path / "leaf-1")
    run.path.mkdir()
    run.write_state(RunState("running", "searching", 600.0, 90.0, time.time(), os.getpid()))
    return run


def logged(run: RunFolder) -> list[str]:
    """What a log has of a run as it stands, without the spaces between cells."""
    screen, done = io.StringIO(), threading.Event()
    done.set()
    console._print_changes(run, Console(file=screen, width=200), done)
    return [" ".join(line.split()) for line in screen.getvalue().splitlines()]


def test_a_log_names_the_columns_of_its_trials(run):
    recipe = Recipe("test_resnet.r160_in1k", Geometry(window=(32, 32), scale=1.0))
    run.write_trial(TrialRecord(0, "complete", recipe, "default", score=0.812, reason="ran out"))
    _, head, row = logged(run)
    assert head == "trial encoder frozen depth learning rate epochs score status"
    assert row == "0 test_resnet.r160_in1k 0 1.0e-03 81.2 complete: ran out"


def test_a_log_tells_a_trial_again_once_its_final_training_is_over(run):
    """Of a run that went on only the row from before its pause was told."""
    recipe = Recipe("test_resnet.r160_in1k", Geometry(window=(32, 32), scale=1.0))
    before = TrialRecord(0, "complete", recipe, "default", score=0.8)
    run.write_trial(before)
    screen, done = io.StringIO(), threading.Event()
    lines = Console(file=screen, width=200)
    thread = threading.Thread(target=console._print_changes, args=(run, lines, done))
    thread.start()
    once(lambda: "80.0" in screen.getvalue(), lambda: None).join(timeout=30)
    run.write_trial(replace(before, score=0.9))
    run.write_state(RunState("running", "evaluating", 600.0, 90.0, time.time(), os.getpid()))
    once(lambda: "90.0" in screen.getvalue(), lambda: None).join(timeout=30)
    done.set()
    thread.join(timeout=30)
    assert screen.getvalue().count("test_resnet") == 2


def test_a_run_whose_process_was_killed_just_now_is_said_to_go_on(run):
    """Its record still said "running", and nothing was said."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    with held:
        assert held.stdout is not None and held.stdout.readline() == "held\n"
        assert told(run) == ""  # The search itself says that it is taken.
        held.kill()
    assert told(run).startswith("Going on where it stood, with 1:30 of its time used.")
