"""What a run costs in energy: measured where the machine counts it, else estimated, never guessed.

A GPU's energy comes from NVIDIA's own counter (the optional package `nvidia-ml-py`), a CPU's from
the RAPL counters of Linux. Both count the whole chip, whoever uses it. Where a CPU's cannot be
read, as in most virtual machines, it is estimated from the time its cores worked.
"""

import contextlib
import importlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoseg.config import from_dict, read_json
from autoseg.errors import ConfigError
from autoseg.files import write_json

_logger = logging.getLogger(__name__)

WATTS_PER_CORE = 12.0
"""Power of one working core. Source: Green Algorithms (Lannelongue et al. 2021, Advanced Science
8:2100707), its value for any CPU, in watts."""

SAVE_EVERY_S = 15.0
"""A killed run loses at most so much of its account; a RAPL counter turns over after some
20 minutes."""

UNCOUNTED = "GPU not counted"
"""How the words on a run begin where a GPU worked and its energy is not known."""

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Usage:
    """What one attempt of a run has used so far."""

    seconds: float
    """Wall-clock time, in seconds."""
    core_s: float
    """Time that cores worked for this process and its children, in core-seconds."""
    cpu_joules: float | None = None
    """Measured energy of the CPU; None: it cannot be measured here."""
    gpu_joules: float | None = None
    """Measured energy of the GPU; None: there is none, or it cannot be measured here."""
    on_gpu: bool = False
    """Whether the attempt computed on a GPU."""
    lost: bool = False
    """Whether this stands for earlier attempts whose account was damaged: all else is 0."""


class Counter:
    """A counter of energy that only grows, apart from turning over.

    Args:
        read: The counter, in joules.
        turns_over_at: Joules at which it begins anew; None: never.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(self, read: Callable[[], float], turns_over_at: float | None = None) -> None:
        self._read = read
        self._turns_over_at = turns_over_at
        self._last = read()
        self._joules = 0.0

    def joules(self) -> float:
        """Energy since this object was made; as last read where it cannot be read any more."""
        with contextlib.suppress(OSError, ValueError):
            now = self._read()
            grown = now - self._last
            self._joules += grown if grown >= 0 else grown + (self._turns_over_at or -grown)
            self._last = now
        return self._joules


def rapl_counters(folder: Path = _POWERCAP) -> tuple[Counter, ...]:
    """One counter per CPU socket; none where Linux does not show them to this user."""
    counters = []
    # AMD's CPUs have zones of the same names. Zones "core" and "dram" are parts of a socket's
    # "package-0", and "psys" contains it.
    for zone in sorted(folder.glob("intel-rapl:*")):
        with contextlib.suppress(OSError, ValueError):
            if (zone / "name").read_text().startswith("package"):
                limit = float((zone / "max_energy_range_uj").read_text()) / 1e6
                counters.append(Counter(_reader(zone / "energy_uj"), limit))
    return tuple(counters)


def _reader(file: Path) -> Callable[[], float]:
    return lambda: float(file.read_text()) / 1e6


def gpu_handle(uuid: str | None) -> tuple[Any, Any] | None:
    """NVIDIA's library and its handle of the GPU of that UUID; None without either."""
    if uuid is None:
        return None
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None  # The extra `energy` is not installed.
    try:
        nvml.nvmlInit()
        return nvml, nvml.nvmlDeviceGetHandleByUUID(uuid)
    except (nvml.NVMLError, OSError):
        return None  # No driver, or a part of a GPU (MIG).


def gpu_counter(uuid: str | None) -> Counter | None:
    """The energy counter of the GPU of that UUID; None without one, or without `nvidia-ml-py`."""
    found = gpu_handle(uuid)
    if found is None:
        return None
    nvml, handle = found

    def read() -> float:
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
        except nvml.NVMLError as error:
            raise OSError(str(error)) from error

    try:
        return Counter(read)
    except OSError:
        return None  # An older GPU.


class EnergyMeter:
    """Counts what one attempt uses, and keeps the account of all attempts in a file.

    Args:
        file: The account: a JSON list of `Usage`, one per attempt.
        gpu_uuid: The GPU it computes on, as "GPU-..."; None: a CPU.
        powercap: Folder of the RAPL counters.
    """

    def __init__(self, file: Path, gpu_uuid: str | None = None, powercap: Path = _POWERCAP) -> None:
        self._file = file
        self._before = _read_account(file)
        self._warned = False
        self._on_gpu = gpu_uuid is not None
        self._cpu = rapl_counters(powercap)
        self._gpu = gpu_counter(gpu_uuid)
        self._started = time.monotonic()
        self._core_s = _core_seconds()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> "EnergyMeter":
        self._save()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._save()

    def attempts(self) -> tuple[Usage, ...]:
        """What every attempt used, this one last."""
        now = Usage(
            seconds=round(time.monotonic() - self._started, 3),
            core_s=round(_core_seconds() - self._core_s, 3),
            cpu_joules=sum(c.joules() for c in self._cpu) if self._cpu else None,
            gpu_joules=self._gpu.joules() if self._gpu else None,
            on_gpu=self._on_gpu,
        )
        return (*self._before, now)

    def _keep(self) -> None:
        while not self._ended.wait(SAVE_EVERY_S):
            self._save()

    def _save(self) -> None:
        try:
            write_json(self._file, [asdict(usage) for usage in self.attempts()])
        except OSError as error:
            # An account that a full disk loses is no reason to lose the search.
            if not self._warned:
                _logger.warning("The account of energy cannot be kept in %s: %s", self._file, error)
            self._warned = True


def energy_facts(attempts: Sequence[Usage]) -> dict[str, Any]:
    """Energy of all attempts together, and in words how it is known.

    `energy_wh` is None where a GPU worked that was not counted: the rest is no measure of the run.
    """
    known = [usage for usage in attempts if not usage.lost]
    estimated = [usage for usage in known if usage.cpu_joules is None]
    core_s = sum(usage.core_s for usage in estimated)
    joules = core_s * WATTS_PER_CORE + sum(
        (usage.cpu_joules or 0.0) + (usage.gpu_joules or 0.0) for usage in known
    )
    estimate = f"estimated from {core_s:,.0f} core-seconds at {WATTS_PER_CORE:g} W per core"
    if not estimated:
        how = "measured by RAPL"
    elif len(estimated) == len(known):
        how = estimate
    else:
        how = f"measured by RAPL, for some attempts {estimate}"
    on_gpu = [usage for usage in known if usage.on_gpu]
    counted = all(usage.gpu_joules is not None for usage in on_gpu)
    if on_gpu:
        how = f"{'GPU measured by NVML' if counted else UNCOUNTED}, CPU {how}"
    if len(known) < len(attempts):
        how += "; what earlier attempts used was lost and is not in it"
    return {
        "attempts": len(attempts),
        "energy_wh": round(joules / 3600, 3) if counted else None,
        "energy_how": how,
    }


def _core_seconds() -> float:
    """Time that cores worked for this process and the children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _read_account(file: Path) -> tuple[Usage, ...]:
    """What earlier attempts used, or that it was lost where it cannot be read."""
    try:
        rows = read_json(file) if file.is_file() else []
        if isinstance(rows, list):
            return tuple(from_dict(Usage, row, str(file)) for row in rows)
        reason = "it is no list"
    except (ConfigError, OSError) as error:
        reason = str(error)
    _logger.warning("The account of energy in %s is damaged and begun anew: %s", file, reason)
    return (Usage(seconds=0.0, core_s=0.0, lost=True),)
