import json
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch

from autoseg.cgroups import memory_left
from autoseg.search.resources import ResourceMeter, free_memory_bytes


@pytest.fixture
def meter() -> ResourceMeter:
    return ResourceMeter(torch.device("cpu"))


def test_memory_that_the_search_takes_is_seen(meter):
    before = meter.read()
    ballast = np.ones(100 * 2**20, np.uint8)
    after = meter.read()
    assert 90 * 2**20 < after.memory_bytes - before.memory_bytes < 150 * 2**20
    assert after.memory_bytes < after.memory_total_bytes
    assert ballast[-1] == 1


def test_memory_that_only_caches_files_counts_as_free(tmp_path):
    """On a machine that has read many files little is unused, and the decoder learnt from as much.

    The system's own count is read right after, so the nearer of the two is what was told.
    """
    (tmp_path / "photos.bin").write_bytes(bytes(2**28))
    told, memory = free_memory_bytes(torch.device("cpu")), psutil.virtual_memory()
    left = memory_left()
    if memory.available - memory.free < 2**27 or (left is not None and left < memory.available):
        pytest.skip("this system caches no files, or a container has less")
    assert abs(told - memory.available) < abs(told - memory.free)


def worked(pid: int) -> float:
    """Core-seconds of a process."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@pytest.mark.alone
def test_the_work_of_a_child_process_counts(meter):
    """Images are read by processes of their own."""
    code = "print(1, flush=True)\nwhile True: pass"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        meter.read()
        before, started = worked(child.pid), time.monotonic()
        time.sleep(1)
        busy = meter.read()
        share = (worked(child.pid) - before) / (time.monotonic() - started) / meter._cores
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert 0.9 * 100 * share - 2 < busy.cpu_percent <= 100
    assert share > 0.01  # However much else runs on this machine.
    assert busy.gpu is None


def test_a_record_is_json_for_the_page(meter, tmp_path):
    meter.save(tmp_path / "resources.json")
    record = json.loads((tmp_path / "resources.json").read_text())
    assert record["updated_at"] == pytest.approx(time.time(), abs=5)
    assert set(record) == {
        "updated_at", "memory_bytes", "memory_total_bytes", "cpu_percent", "gpu"
    }  # fmt: skip
