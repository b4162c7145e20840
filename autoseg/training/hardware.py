"""Device, precision and memory: what the machine offers and how it runs out."""

import contextlib
import gc
from dataclasses import dataclass

import torch

from autoseg.errors import ConfigError


@dataclass(frozen=True)
class Precision:
    """How forward passes compute; weights and losses stay float32."""

    device: torch.device
    """Where tensors live."""
    bf16: bool = False
    """Whether forward passes run under bfloat16 autocast."""

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context of a forward pass."""
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


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


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware may compute in bfloat16; on a CPU only a measurement knows if faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Older torch cannot tell; float32 is then the safe choice.
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that memory ran out, on a GPU or in torch's CPU allocator."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


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
