import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from autoseg.energy import (
    WATTS_PER_CORE,
    Counter,
    EnergyMeter,
    Usage,
    energy_facts,
    gpu_counter,
    rapl_counters,
)


def make_zone(folder: Path, name: str, kind: str, joules: float, limit: float = 1000.0) -> Path:
    zone = folder / name
    zone.mkdir()
    (zone / "name").write_text(f"{kind}\n")
    (zone / "energy_uj").write_text(f"{int(joules * 1e6)}\n")
    (zone / "max_energy_range_uj").write_text(f"{int(limit * 1e6)}\n")
    return zone


def test_the_cpu_is_measured_per_socket_and_nothing_twice(tmp_path):
    sockets = [make_zone(tmp_path, f"intel-rapl:{k}", f"package-{k}", 100) for k in range(2)]
    make_zone(tmp_path, "intel-rapl:0:0", "core", 50)
    make_zone(tmp_path, "intel-rapl:2", "psys", 300)
    with EnergyMeter(tmp_path / "energy.json", powercap=tmp_path) as meter:
        for socket in sockets:
            (socket / "energy_uj").write_text("136000000")
        (usage,) = meter.attempts()
    assert usage.cpu_joules == pytest.approx(72)
    assert energy_facts([usage])["energy_wh"] == pytest.approx(0.02)
    assert energy_facts([usage])["energy_how"] == "measured by RAPL"


def test_a_counter_that_turns_over_goes_on_counting(tmp_path):
    zone = make_zone(tmp_path, "intel-rapl:0", "package-0", 990, limit=1000)
    (counter,) = rapl_counters(tmp_path)
    (zone / "energy_uj").write_text("5000000")
    assert counter.joules() == pytest.approx(15)
    (zone / "energy_uj").unlink()
    assert counter.joules() == pytest.approx(15), "what was read stays"


@pytest.mark.alone
def test_without_a_counter_the_cores_time_is_what_counts(tmp_path):
    file = tmp_path / "energy.json"
    with EnergyMeter(file, powercap=tmp_path / "nowhere") as meter:
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        (usage,) = meter.attempts()
    assert 0.28 <= usage.core_s <= 1.0 and usage.cpu_joules is None
    facts = energy_facts([Usage(seconds=60, core_s=300)])
    assert facts["energy_wh"] == pytest.approx(300 * WATTS_PER_CORE / 3600)
    assert facts["energy_how"] == "estimated from 300 core-seconds at 12 W per core"


@pytest.mark.alone
def test_the_time_of_child_processes_counts(tmp_path):
    with EnergyMeter(tmp_path / "energy.json", powercap=tmp_path) as meter:
        code = "import time\nwhile time.process_time() < 0.4: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert meter.attempts()[-1].core_s >= 0.38


def test_a_resumed_run_adds_to_its_account(tmp_path):
    file = tmp_path / "energy.json"
    for _ in range(2):
        with EnergyMeter(file, powercap=tmp_path):
            pass
    with EnergyMeter(file, powercap=tmp_path) as meter:
        assert energy_facts(meter.attempts())["attempts"] == 3
    assert len(json.loads(file.read_text())) == 3


def test_a_killed_attempt_keeps_what_was_saved(tmp_path):
    """Nothing but the file survives `kill -9`."""
    file = tmp_path / "energy.json"
    code = (
        "import os, signal, sys; from pathlib import Path; import autoseg.energy as energy\n"
        "energy.SAVE_EVERY_S = 0.1\n"
        "with energy.EnergyMeter(Path(sys.argv[1])):\n"
        "    while os.times().user < 1.5: pass\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], env=os.environ, check=False)
    (usage,) = json.loads(file.read_text())
    assert usage["core_s"] > 0.3


@pytest.mark.parametrize("content", ["", "[1]", '[{"seconds": "x"}]', "{}", "\0"])
def test_a_damaged_account_is_begun_anew_and_says_that_something_is_missing(
    tmp_path, content, caplog
):
    (tmp_path / "energy.json").write_text(content)
    for _ in range(2):
        with EnergyMeter(tmp_path / "energy.json", powercap=tmp_path) as meter:
            pass
    assert caplog.text.count("is damaged and begun anew") == 1
    facts = energy_facts(meter.attempts())
    assert facts["attempts"] == 3
    assert facts["energy_how"].startswith("estimated from")
    assert facts["energy_how"].endswith("what earlier attempts used was lost and is not in it")


def test_an_account_that_cannot_be_written_is_a_warning_and_no_error(tmp_path, caplog):
    (tmp_path / "energy.json").mkdir()
    with EnergyMeter(tmp_path / "energy.json", powercap=tmp_path):
        pass
    assert caplog.text.count("cannot be kept in") == 1


def test_without_nvidias_package_or_driver_the_gpu_is_said_not_to_be_counted(tmp_path):
    assert gpu_counter("GPU-00000000-0000-0000-0000-000000000000") is None
    usage = Usage(seconds=1, core_s=1, on_gpu=True)
    facts = energy_facts([usage])
    assert facts["energy_how"].startswith("GPU not counted, CPU estimated")
    assert facts["energy_wh"] is None, "the CPU's part is no measure of the run"


def test_the_gpus_own_counter_is_read_by_its_uuid(monkeypatch):
    """NVML counts millijoules; the first GPU of CUDA need not be NVML's first."""
    nvml = types.ModuleType("pynvml")
    nvml.NVMLError = type("NVMLError", (Exception,), {})
    millijoules = {"GPU-a": iter([5000, 8000])}
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetHandleByUUID = lambda uuid: millijoules[uuid]
    nvml.nvmlDeviceGetTotalEnergyConsumption = next
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    counter = gpu_counter("GPU-a")
    assert isinstance(counter, Counter) and counter.joules() == 3.0


def test_attempts_that_were_counted_in_different_ways_are_told_apart():
    attempts = [Usage(60, 100, cpu_joules=360.0, gpu_joules=720.0, on_gpu=True), Usage(60, 300)]
    facts = energy_facts(attempts)
    assert facts["energy_wh"] == pytest.approx((360 + 720 + 300 * WATTS_PER_CORE) / 3600)
    assert facts["energy_how"] == (
        "GPU measured by NVML, CPU measured by RAPL, for some attempts estimated from 300 "
        "core-seconds at 12 W per core"
    )
