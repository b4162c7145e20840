"""A trained model as a folder: weights, configuration, card, report. No pickle, in or out.

`config.json` is what stock `smp.from_pretrained` reads; our part stands under the one key
`_autoseg`, which it passes over.
"""

import glob
import json
import math
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from autoseg.bundle_files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_weights,
    find_weights,
    load_weights,
    read_config,
)
from autoseg.config import (
    FORMAT_VERSION,
    MAX_WINDOW_PX,
    ClassInfo,
    Recipe,
    from_dict,
    read_json,
    to_dict,
)
from autoseg.errors import BundleError, ConfigError, EncoderError
from autoseg.files import replacing, write_json, write_text
from autoseg.model import build_model, model_config
from autoseg.preprocessing import Preprocessing

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "EXAMPLES_FOLDER",
    "REPORT_FILE",
    "WEIGHTS_FILE",
    "Bundle",
    "BundleInfo",
    "check_bundle",
    "example_file",
    "load_bundle",
    "read_info",
    "save_bundle",
]

CARD_FILE = "README.md"
REPORT_FILE = "report.json"
EXAMPLES_FOLDER = "examples"

_MAX_BOX_PX = 16384
"""Longest side that images are resized to."""


@dataclass(frozen=True)
class BundleInfo:
    """What autoseg knows of a trained model (`config.json`, key `_autoseg`)."""

    classes: ClassInfo
    """Names and colours; the position is the mask value."""
    preprocessing: Preprocessing
    """What happens to an image before the network sees it."""
    recipe: Recipe
    """How the model was trained."""
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


@dataclass(frozen=True)
class Bundle:
    """A loaded model and what is known of it."""

    path: Path
    """The folder it came from."""
    model: nn.Module
    """In eval mode, on the CPU: images (N, 3, h, w) float32 -> logits (N, K, h, w)."""
    info: BundleInfo


def save_bundle(
    folder: Path,
    model: nn.Module,
    info: BundleInfo,
    *,
    report: dict[str, Any] | None = None,
    card: str | None = None,
    examples: Sequence[bytes] = (),
) -> Path:
    """Write a bundle, whole or not at all: a kill leaves the old one or none.

    The bundle is written aside and loaded once as a check before it takes its place.

    Args:
        folder: Where to; a bundle that is there is replaced.
        model: What `build_model` made of `info.recipe`, on any device, in any memory format.
        info: Everything a later user of the weights must know.
        report: Content of `report.json`.
        card: Content of `README.md`.
        examples: JPEG files for the card, named by `example_file`.

    Raises:
        BundleError: The folder holds something else, the disk is full, or the weights do not fit
            the recipe or are not finite.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not _may_be_replaced(folder):
        raise BundleError(
            f"{folder} is there already and is no bundle, so it is not replaced. "
            f"Choose another folder, or empty this one."
        )
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary.mkdir()
        _write_files(temporary, model, info, report, card)
        _write_examples(temporary, examples)
        _read_bundle(temporary)
        _swap(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"The model cannot be written to {folder}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_bundle(path: str | Path) -> Bundle:
    """Load a bundle after checking every part of it.

    The network is built from the recipe, and only if the configuration asks for exactly that
    network; the weights are read only if their names, shapes and types are the network's. So a
    hostile folder can neither run code nor ask for more memory than a real model takes.

    Args:
        path: The folder.

    Raises:
        BundleError: The folder is missing, incomplete, damaged or of another version.
    """
    path = _existing(path)
    try:
        return _read_bundle(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"The model in {path} cannot be read: {error}") from error


def check_bundle(path: str | Path) -> BundleInfo:
    """Check what `load_bundle` checks, save that no value of the weights is read.

    It takes a second at most and hardly any memory, however large the model is.

    Args:
        path: The folder.

    Raises:
        BundleError: The folder is missing, incomplete, damaged or of another version.
    """
    path = _existing(path)
    try:
        return _check_folder(path)
    except OSError as error:
        raise BundleError(f"The model in {path} cannot be read: {error}") from error


def read_info(path: str | Path) -> BundleInfo:
    """What is known of the model in a folder, without a look at its weights.

    Raises:
        BundleError: The configuration is missing, damaged or of another version.
    """
    return _read_info(Path(path))[0]


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_dir():
        raise BundleError(f"{path} is no folder with a model.")
    return path


def _write_files(
    folder: Path,
    model: nn.Module,
    info: BundleInfo,
    report: dict[str, Any] | None,
    card: str | None,
) -> None:
    """Write the parts of a bundle and flush them to disk."""
    weights = {name: _stored(tensor) for name, tensor in model.state_dict().items()}
    # Stock loaders look for this mark.
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    with (folder / WEIGHTS_FILE).open("rb+") as file:
        os.fsync(file.fileno())
    write_json(folder / CONFIG_FILE, {**_network_config(info), "_autoseg": to_dict(info)})
    if card is not None:
        write_text(folder / CARD_FILE, card)
    if report is not None:
        write_json(folder / REPORT_FILE, report)


def example_file(number: int) -> str:
    """Where in a bundle the example picture of that number stands, counted from 1."""
    return f"{EXAMPLES_FOLDER}/example_{number}.jpg"


def _write_examples(folder: Path, examples: Sequence[bytes]) -> None:
    """Write the example pictures of a bundle."""
    for number, content in enumerate(examples, start=1):
        with replacing(folder / example_file(number)) as temporary:
            temporary.write_bytes(content)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as it goes into the file: float32 if it holds floats, in memory order."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    stored = tensor.detach().to("cpu", dtype, copy=True)
    return stored.contiguous()


def _network_config(info: BundleInfo) -> dict[str, Any]:
    """The part of `config.json` that smp reads, as JSON gives it back."""
    config = model_config(
        info.recipe.encoder_name, info.recipe.decoder_name, info.classes.num_classes
    )
    values: dict[str, Any] = json.loads(json.dumps(config))
    return values


def _read_bundle(path: Path) -> Bundle:
    """Load a folder that exists."""
    info = _check_folder(path)
    model = _build(info)
    load_weights(find_weights(path), model)
    return Bundle(path, model.eval(), info)


def _check_folder(path: Path) -> BundleInfo:
    """Check a folder that exists, by a network without memory."""
    info, network = _read_info(path)
    try:
        expected = _network_config(info)
    except EncoderError as error:
        raise BundleError(f"{path}: {error}") from error
    if network != expected:
        differing = sorted(
            name
            for name in network.keys() | expected.keys()
            if network.get(name, ...) != expected.get(name, ...)
        )
        raise BundleError(
            f"{path / CONFIG_FILE} does not describe the network of its own recipe: "
            f"{', '.join(differing)} differ. It was changed by hand or written by another "
            f"version of autoseg ({info.versions.get('autoseg', 'unknown')})."
        )
    weights = find_weights(path)
    with torch.device("meta"):
        model = _build(info)
    check_weights(weights, model)
    return info


def _build(info: BundleInfo) -> nn.Module:
    """The network of a recipe, untrained."""
    return build_model(
        info.recipe.encoder_name,
        info.recipe.decoder_name,
        info.classes.num_classes,
        pretrained=False,
    )


def _read_info(path: Path) -> tuple[BundleInfo, dict[str, Any]]:
    """Our part and smp's part of `config.json`, ours checked."""
    file = path / CONFIG_FILE
    values = read_config(path)
    ours = values.pop("_autoseg", None)
    if not isinstance(ours, dict):
        raise BundleError(
            f"{file} has no `_autoseg` part, so autoseg does not know the model's classes and "
            f"preprocessing. Only models that autoseg trained can be loaded."
        )
    if ours.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{file} has format version {ours.get('format_version')!r}, but this autoseg reads "
            f"{FORMAT_VERSION}. Load it with the autoseg that wrote it "
            f"({_version_of_writer(ours)})."
        )
    try:
        info = from_dict(BundleInfo, ours, f"{file}: _autoseg")
    except (ConfigError, RecursionError) as error:
        raise BundleError(str(error)) from error
    _check_numbers(info.preprocessing, file)
    return info, values


def _version_of_writer(ours: dict[str, Any]) -> str:
    """The version in a record that may hold anything."""
    versions = ours.get("versions")
    version = versions.get("autoseg") if isinstance(versions, dict) else None
    return version if isinstance(version, str) else "unknown"


def _check_numbers(preprocessing: Preprocessing, file: Path) -> None:
    """Refuse preprocessing that would divide by zero or make tiles no memory holds."""
    mean, std, geometry = preprocessing.mean, preprocessing.std, preprocessing.geometry
    if not all(math.isfinite(value) for value in mean + std) or min(std) <= 0:
        raise BundleError(
            f"{file}: `mean` and `std` must be finite and `std` positive, but got ({mean=}, "
            f"{std=})."
        )
    if max(geometry.window) > MAX_WINDOW_PX or max(geometry.box or (0,)) > _MAX_BOX_PX:
        raise BundleError(
            f"{file}: a side of `window` must be at most {MAX_WINDOW_PX} pixels and one of `box` "
            f"at most {_MAX_BOX_PX}, but got ({geometry.window=}, {geometry.box=})."
        )


def _may_be_replaced(folder: Path) -> bool:
    """Whether a folder is empty or a bundle, of whatever version."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        values = read_json(folder / CONFIG_FILE)
    except (OSError, ConfigError, RecursionError):
        return False
    return isinstance(values, dict) and "_autoseg" in values


def _sweep(folder: Path) -> None:
    """Remove what a killed save left beside the folder."""
    for pattern in ("part", "old"):
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.{pattern}"):
            shutil.rmtree(left, ignore_errors=True)


def _swap(temporary: Path, folder: Path) -> None:
    """Put a finished folder in its place; if that fails, the old one is back."""
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
    if not folder.exists():
        os.replace(temporary, folder)
        return
    os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
