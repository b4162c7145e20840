"""What a search takes of the machine at this moment: memory, cores, GPU."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch

from autoseg.cgroups import memory_left
from autoseg.data.workers import cpu_count
from autoseg.energy import gpu_handle
from autoseg.files import write_json
from autoseg.training.hardware import device_name, gpu_uuid


def free_memory_bytes(device: torch.device) -> int:
    """Memory that can be had: the GPU's, or the machine's as far as a container may use it.

    Cached files count as free, for the system drops them when memory is wanted.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = int(psutil.virtual_memory().available)
    left = memory_left()
    return available if left is None else min(available, left)


@dataclass(frozen=True)
class GpuUse:
    """What a GPU has to do, for whomever."""

    name: str
    """What the maker calls it."""
    used_bytes: int
    """Memory in use, by all processes."""
    total_bytes: int
    """Memory it has."""
    utilization: float | None
    """Share of the last moment in which it computed, in [0, 1]; None: nobody counts it here."""


@dataclass(frozen=True)
class Resources:
    """What a search takes at one moment (`resources.json`)."""

    updated_at: float
    """Unix time of this record, in seconds."""
    memory_bytes: int
    """Main memory of the search and the processes it started."""
    memory_total_bytes: int
    """Main memory of the machine."""
    cpu_percent: float
    """Share of the cores that the search may use, since the last record, in [0, 100]."""
    gpu: GpuUse | None
    """None: it computes on the CPU."""


class ResourceMeter:
    """Measures this process and its children, from one call to the next.

    Args:
        device: Where the search computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        self._cores = cpu_count()
        self._gpu_name = device_name(device) if device.type == "cuda" else ""
        self._nvml = gpu_handle(gpu_uuid(device))
        self._read_at = time.monotonic()
        self._core_s = self._core_seconds(self._processes())

    def read(self) -> Resources:
        """Measure now."""
        processes = self._processes()
        now, core_s = time.monotonic(), self._core_seconds(processes)
        # Time of a child that ended may get lost.
        busy = max(0.0, core_s - self._core_s) / max(1e-3, now - self._read_at)
        self._read_at, self._core_s = now, core_s
        return Resources(
            updated_at=time.time(),
            memory_bytes=sum(self._memory(process) for process in processes),
            memory_total_bytes=psutil.virtual_memory().total,
            cpu_percent=round(min(100.0, 100 * busy / self._cores), 1),
            gpu=self._gpu(),
        )

    def save(self, file: Path) -> None:
        """Measure and write it down, whole or not at all."""
        write_json(file, asdict(self.read()))

    def _processes(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _memory(self, process: psutil.Process) -> int:
        with contextlib.suppress(psutil.Error):
            return int(process.memory_info().rss)
        return 0

    def _core_seconds(self, processes: Sequence[psutil.Process]) -> float:
        total = 0.0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
                if process is self._process:
                    total += times.children_user + times.children_system
        return total

    def _gpu(self) -> GpuUse | None:
        if self._device.type != "cuda":
            return None
        free, total = torch.cuda.mem_get_info(self._device)
        return GpuUse(self._gpu_name, total - free, total, self._utilization())

    def _utilization(self) -> float | None:
        if self._nvml is None:
            return None
        nvml, handle = self._nvml
        try:
            return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
        except nvml.NVMLError:
            return None  # A part of a GPU (MIG) has no count of its own.
