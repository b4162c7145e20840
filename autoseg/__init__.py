"""autoseg: the best segmentation model that transfer learning can give in the minutes you have.

Public names load what they need on first use, so `import autoseg` is instant and free of torch.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# OpenMP threads that spin while they wait gain 3 % alone and cost a factor of 3 to 7 per training
# step beside one other busy process (measured on 2 cores). torch reads this when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from autoseg.api import deploy, take, trials
    from autoseg.bundle import BundleInfo, load_bundle
    from autoseg.config import ClassInfo, Recipe, SearchConfig
    from autoseg.data.dataset import CheckedDataset
    from autoseg.errors import (
        AutosegError,
        BundleError,
        ConfigError,
        DatasetError,
        EncoderError,
        HubError,
        LicenceError,
        PredictionError,
        RunError,
        TrainingError,
    )
    from autoseg.prediction import Prediction
    from autoseg.predictor import Predictor
    from autoseg.sources import check

__version__ = "0.1.0"

__all__ = [
    "AutosegError",
    "BundleError",
    "BundleInfo",
    "CheckedDataset",
    "ClassInfo",
    "ConfigError",
    "DatasetError",
    "EncoderError",
    "HubError",
    "LicenceError",
    "Prediction",
    "PredictionError",
    "Predictor",
    "Recipe",
    "RunError",
    "SearchConfig",
    "TrainingError",
    "check",
    "deploy",
    "load_bundle",
    "search",
    "take",
    "trials",
]

_HOMES = {
    "BundleInfo": "bundle",
    "load_bundle": "bundle",
    "ClassInfo": "config",
    "Recipe": "config",
    "SearchConfig": "config",
    "CheckedDataset": "data.dataset",
    "check": "sources",
    "deploy": "api",
    "take": "api",
    "trials": "api",
    "Prediction": "prediction",
    "Predictor": "predictor",
    **{name: "errors" for name in __all__ if name.endswith("Error")},
}
"""Module, and name in it where it differs, of each public name but `search`."""


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name == "search":  # The package of that name can be called.
        return importlib.import_module("autoseg.search")
    if name not in _HOMES:
        raise AttributeError(f"module 'autoseg' has no attribute {name!r}")
    module, _, inner = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"autoseg.{module}"), inner or name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*globals(), *__all__])
