"""Building networks whose weights come from elsewhere, without first drawing random ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_FILLING = frozenset(
    [
        getattr(torch.Tensor, f"{name}_")
        for name in ("normal", "uniform", "erfinv", "mul", "add", "div", "clamp", "fill", "zero")
    ]
    # Of `nn.init` those that hand over to a mode whole, so that it does not see what they call.
    + [nn.init.constant_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_]
)
"""What gives a fresh layer its values, in place. What is missing here costs time alone."""


def filled_by(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    """The tensor that a call gives its first values; None: it does something else."""
    if func not in _FILLING:
        return None
    tensor: torch.Tensor = args[0] if args else kwargs["tensor"]
    return tensor


class _Unfilled(TorchFunctionMode):
    """Leave parameters as they are."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensor = filled_by(func, args, kwargs)
        return tensor if isinstance(tensor, nn.Parameter) else func(*args, **kwargs)


@contextmanager
def unfilled() -> Iterator[None]:
    """Build networks in this block whose parameters hold whatever lies in memory.

    Every parameter is part of a state dict, so loading one strictly gives each its value. Buffers
    are computed as ever, for some are in no state dict. The CPU's random numbers go on as if
    nothing had been built.
    """
    with torch.random.fork_rng(devices=[]), _Unfilled():
        yield
