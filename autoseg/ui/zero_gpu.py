"""ZeroGPU of Hugging Face Spaces: a GPU that is lent for each call of a decorated function.

Its package is called `spaces`, which is also the folder of this project's Spaces. Importing this
module keeps the two apart, and on ZeroGPU imports the package, which must come before anything
touches CUDA: it lets models be put on a GPU that is not there yet.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_SWITCH = "SPACES_ZERO_GPU"
"""Set by the Hub; the package itself reads it in the same way."""


def on_gpu(function: Function, duration_s: int) -> Function:
    """The function with a GPU lent to each call; as it is anywhere but on ZeroGPU.

    What goes in and what comes out passes between processes: plain values and arrays only.

    Args:
        function: What needs the GPU.
        duration_s: Longest time one call may take, in seconds; visitors pay with their quota.
    """
    if PACKAGE is None:
        return function
    lent: Function = PACKAGE.GPU(duration=duration_s)(function)
    return lent


def hide_folder() -> None:
    """Keep a mere folder called `spaces` from being imported.

    Python takes a folder without code for a package. Gradio imports it if it can, and on a Space
    it would then call functions that are not there.
    """
    if "spaces" not in sys.modules:
        found = importlib.util.find_spec("spaces")
        if found is not None and found.origin is None:
            sys.modules["spaces"] = None  # type: ignore[assignment]


def _package() -> ModuleType | None:
    """ZeroGPU's package, on ZeroGPU."""
    hide_folder()
    if os.environ.get(_SWITCH, "").lower() not in ("1", "t", "true"):
        return None
    return importlib.import_module("spaces")


PACKAGE = _package()
"""ZeroGPU's package; None: this is no Space with ZeroGPU."""
