"""Device, precision and memory: what the machine offers and how it runs out."""

import contextlib
import gc
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from autoseg.cgroups import ROOT
from autoseg.data.workers import cpu_count
from autoseg.errors import ConfigError, TrainingError

_OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    # oneDNN says no more than that. Of a step that ran before there is no other cause.
    "could not create a primitive",
    "could not execute a primitive",
    "std::bad_alloc",
)
"""What errors say that are none of torch's own kind."""


@dataclass(frozen=True)
class Precision:
    """How forward passes compute; weights and losses stay float32."""

    device: torch.device
    """Where tensors live."""
    bf16: bool = False
    """Whether forward passes run under bfloat16 autocast."""
    fp16: bool | None = None
    """Whether those of training run under float16 autocast where `bf16` is off; None: where the
    device has no other fast type."""

    @property
    def training_dtype(self) -> torch.dtype:
        """What training computes in; float16 needs its loss scaled."""
        if self.bf16:
            return torch.bfloat16
        half = only_fp16_is_fast(self.device) if self.fp16 is None else self.fp16
        return torch.float16 if half else torch.float32

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context of a forward pass that predicts.

        Never float16: an activation above 65,504 would spoil a mask, and nobody would be told. In
        training it ends the trial.
        """
        return self._autocast(torch.bfloat16 if self.bf16 else torch.float32)

    def training_autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context of a forward pass of training."""
        return self._autocast(self.training_dtype)

    def _autocast(self, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
        if dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype)


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first GPU, else the CPU.

    Raises:
        ConfigError: The name is no device of this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"Device {name!r} cannot be used here: {str(error).splitlines()[0]} "
            f'Try "auto" or "cpu".'
        ) from error
    return device


def limit_threads(root: Path = ROOT) -> int:
    """Leave torch no more threads than this process may use cores, and say how many it has.

    It takes one for each core of the host, and in a container with a quota of two of 64 the others
    only wait, each time for all. Who set `OMP_NUM_THREADS` chose; torch never gets more than it
    has.

    Args:
        root: Root of the file system, where the quota of a container stands.
    """
    threads = torch.get_num_threads()
    cores = cpu_count(root)
    if cores < threads and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(cores)
        return cores
    return threads


def device_name(device: torch.device) -> str:
    """What the maker calls the device, e.g. "NVIDIA H100 80GB HBM3"."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def gpu_uuid(device: torch.device) -> str | None:
    """The name under which NVIDIA's driver knows the GPU; None: it is none of NVIDIA's."""
    if device.type != "cuda" or torch.version.cuda is None:
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware may compute in bfloat16; on a CPU only a measurement knows if faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Older torch cannot tell; float32 is then the safe choice.
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def predicting_precision(device: torch.device) -> Precision:
    """How a finished model predicts on a device.

    On a CPU bf16 is sometimes slower and never more exact; on a GPU it is twice as fast.
    """
    return Precision(device, bf16=device.type == "cuda" and has_fast_bf16(device))


def only_fp16_is_fast(device: torch.device) -> bool:
    """Whether it is a GPU with tensor cores for float16 and none for bfloat16: V100, T4, RTX 20."""
    if device.type != "cuda" or has_fast_bf16(device):
        return False
    return (7, 0) <= torch.cuda.get_device_capability(device) < (8, 0)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that memory ran out: on a GPU, in torch's CPU allocator, in oneDNN,
    which computes convolutions on a CPU, or where memory of the CPU is pinned for a GPU.
    """
    return isinstance(error, torch.OutOfMemoryError) or any(
        text in str(error) for text in _OUT_OF_MEMORY
    )


@contextlib.contextmanager
def telling_of_memory(device: torch.device) -> Iterator[None]:
    """Tell that memory ran out inside this block, where a smaller step is no help: for a network's
    weights, the optimizer's state or copies of the weights.

    Until the error is dropped, its traceback keeps the tensors of what failed.

    Raises:
        TrainingError: It did.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"Memory ran out on {device}. Choose a smaller encoder or `max_side`, or close other "
            f"programs that use the device."
        ) from error


@contextlib.contextmanager
def autotuned(enabled: bool) -> Iterator[None]:
    """Whether cuDNN tries its algorithms on each new shape, and keeps the fastest, in this block.

    That pays where one shape comes again and again, and costs where each image has its own.
    Afterwards the setting is what it was. It holds for the process, as cuDNN's setting does.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def wait_for(device: torch.device) -> None:
    """Return once the device has done what it was given: before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reset_peak_memory(device: torch.device) -> None:
    """Start a new peak measurement."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Peak of tensors on the GPU since the reset; None on the CPU, where nobody counts it."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
