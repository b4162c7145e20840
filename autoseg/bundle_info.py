"""What is known of a trained model, and how its network is made: the part of a folder in words."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from autoseg.config import FORMAT_VERSION, MAX_WINDOW_PX, ClassInfo, Recipe, from_dict
from autoseg.errors import BundleError, ConfigError
from autoseg.preprocessing import Preprocessing
from autoseg.text import printable

MAX_BOX_PX = 16384
"""Longest side that images are resized to."""

_MAX_TEXT = 500
"""Characters of a class name or a note that are kept."""

_MAX_NOTES = 20


@dataclass(frozen=True)
class BundleInfo:
    """What autoseg knows of a trained model (`config.json`, key `_autoseg`)."""

    classes: ClassInfo
    """Names and colours; the position is the mask value."""
    preprocessing: Preprocessing
    """What happens to an image before the network sees it."""
    recipe: Recipe | None
    """How the model was trained; None: not by autoseg, but with stock smp."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of autoseg and the libraries that trained it."""
    data_fingerprint: str = ""
    """Content of the training data, as a digest."""
    weights_licence: str = ""
    """Licence of the pretrained encoder weights, e.g. "apache-2.0"."""
    scores: dict[str, float] = field(default_factory=dict)
    """Summary of the report, each score by its full name, in [0, 1]."""
    format_version: int = FORMAT_VERSION
    """Format of the folder."""
    notes: tuple[str, ...] = ()
    """What a user of the model must be told, such as what had to be guessed; whole sentences."""


@dataclass(frozen=True)
class NetworkPlan:
    """How the network of a folder is made, once the folder is checked."""

    info: BundleInfo
    """What is known of the model."""
    build: Callable[[], nn.Module]
    """The untrained network whose weights are in the file."""
    tile: tuple[int, int] | None = None
    """Largest image (height, width) that it should see at once; None: as memory allows."""
    finish: Callable[[nn.Module], nn.Module] = lambda network: network
    """From that network to one that takes images of any multiple of 32 and gives logits."""
    rename: Callable[[str], str | None] = lambda name: name
    """From a tensor's name in the file to that in the network; None: not needed."""


def parse_info(ours: object, file: Path) -> BundleInfo:
    """Check our part of `config.json`.

    What a terminal would obey instead of showing it is taken out of all texts, and long ones are
    cut: they may be a stranger's.

    Args:
        ours: What stands under `_autoseg`.
        file: The file, for the error.

    Raises:
        BundleError: It is of another version, or a value is missing, wrong or contradicts another.
    """
    if not isinstance(ours, dict):
        raise BundleError(f"{file}: `_autoseg` must be an object, but is {type(ours).__name__}.")
    try:
        values: dict[str, Any] = _cleaned(ours)
    except RecursionError as error:
        raise BundleError(f"{file}: `_autoseg` is nested too deeply.") from error
    if values.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{file} has format version {ascii(values.get('format_version'))[:80]}, but this "
            f"autoseg reads {FORMAT_VERSION}. Load it with the autoseg that wrote it "
            f"({_version_of_writer(values)})."
        )
    try:
        info = from_dict(BundleInfo, values, f"{file}: _autoseg")
    except ConfigError as error:
        raise BundleError(str(error)[:1000]) from error
    if info.recipe is None:
        raise BundleError(f"{file}: `recipe` must say how the model was trained, but is null.")
    if info.recipe.geometry != info.preprocessing.geometry:
        raise BundleError(
            f"{file}: the geometry of `recipe` and that of `preprocessing` differ. The file was "
            f"changed by hand."
        )
    check_preprocessing(info.preprocessing, file)
    return replace(info, notes=info.notes[:_MAX_NOTES])


def _cleaned(value: Any) -> Any:
    """JSON values with every text printable and of bounded length."""
    if isinstance(value, str):
        return printable(value[:_MAX_TEXT]).strip()
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(item) for name, item in value.items()}
    return value


def check_preprocessing(preprocessing: Preprocessing, file: Path) -> None:
    """Refuse preprocessing that would divide by zero or make tiles no memory holds.

    Raises:
        BundleError: A number is out of bounds; the text names `file`.
    """
    mean, std, geometry = preprocessing.mean, preprocessing.std, preprocessing.geometry
    if not all(math.isfinite(value) for value in mean + std) or min(std) <= 0:
        raise BundleError(
            f"{file}: `mean` and `std` must be finite and `std` positive, but got ({mean=}, "
            f"{std=})."
        )
    if max(geometry.window) > MAX_WINDOW_PX or max(geometry.box or (0,)) > MAX_BOX_PX:
        raise BundleError(
            f"{file}: a side of `window` must be at most {MAX_WINDOW_PX} pixels and one of `box` "
            f"at most {MAX_BOX_PX}, but got ({geometry.window=}, {geometry.box=})."
        )


def _version_of_writer(ours: dict[str, Any]) -> str:
    """The version in a record that may hold anything."""
    versions = ours.get("versions")
    version = versions.get("autoseg") if isinstance(versions, dict) else None
    return version[:40] if isinstance(version, str) else "unknown"
