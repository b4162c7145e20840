"""The line of runs before a device."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from autoseg.errors import PausedError
from autoseg.search.devices import device_key, runs_in_line, turn_on

CPU = torch.device("cpu")

HOLD = """
import sys, time, torch
from pathlib import Path
from autoseg.search.devices import turn_on
with turn_on(Path(sys.argv[1]), torch.device("cpu"), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the CPU."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "leaf-1"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_free_device_is_had_at_once_and_given_back(tmp_path):
    assert runs_in_line(tmp_path, CPU) == ()
    for _ in range(2):
        with turn_on(tmp_path, CPU, "leaf-1", lambda names: pytest.fail("waited")):
            assert runs_in_line(tmp_path, CPU) == ("leaf-1",)
        assert runs_in_line(tmp_path, CPU) == ()


def test_who_waits_is_told_for_whom_and_may_leave_the_line(tmp_path, holder):
    told = []

    def leave(names):
        told.append(tuple(names))
        if len(told) == 2:
            raise PausedError("enough")

    with pytest.raises(PausedError), turn_on(tmp_path, CPU, "leaf-2", leave):
        pytest.fail("two have the device")
    assert told == [("leaf-1",)] * 2
    assert runs_in_line(tmp_path, CPU) == ("leaf-1",)


def test_the_death_of_the_holder_frees_the_device(tmp_path, holder):
    """Killed with -9, so that nothing of Python's gives its number back."""
    waited = []
    threading.Timer(0.3, holder.kill).start()
    with turn_on(tmp_path, CPU, "leaf-2", waited.append):
        assert runs_in_line(tmp_path, CPU) == ("leaf-2",)
    assert waited
    assert list((tmp_path / "devices" / device_key(CPU)).iterdir()) == []


def test_first_come_first_served(tmp_path, holder):
    order = []

    def search(name: str) -> None:
        with turn_on(tmp_path, CPU, name):
            order.append(name)
            assert runs_in_line(tmp_path, CPU)[0] == name
            time.sleep(0.05)

    threads = []
    for count, name in enumerate(["leaf-2", "leaf-3", "leaf-4"], start=2):
        threads.append(threading.Thread(target=search, args=(name,)))
        threads[-1].start()
        while len(runs_in_line(tmp_path, CPU)) < count:
            time.sleep(0.01)
    assert runs_in_line(tmp_path, CPU) == ("leaf-1", "leaf-2", "leaf-3", "leaf-4")
    holder.kill()
    for thread in threads:
        thread.join()
    assert order == ["leaf-2", "leaf-3", "leaf-4"]


def test_two_devices_have_two_lines(tmp_path, holder):
    other = torch.device("mps")
    with turn_on(tmp_path, other, "leaf-2", lambda names: pytest.fail("waited")):
        assert runs_in_line(tmp_path, CPU) == ("leaf-1",)
        assert runs_in_line(tmp_path, other) == ("leaf-2",)
