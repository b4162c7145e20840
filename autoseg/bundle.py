"""A trained model as a folder: weights, configuration, card, report. No pickle, in or out.

`config.json` is what stock `smp.from_pretrained` reads; our part stands under the one key
`_autoseg`, which it passes over.
"""

import json
import os
import shutil
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
    find_file,
    find_weights,
    load_weights,
    read_config,
)
from autoseg.bundle_folder import placing
from autoseg.bundle_info import BundleInfo, NetworkPlan, parse_info
from autoseg.bundle_smp import TRANSFORMS_FILE, plan_smp
from autoseg.config import Recipe, to_dict
from autoseg.encoders import find_encoder
from autoseg.errors import BundleError, EncoderError
from autoseg.files import replacing, write_json, write_text
from autoseg.model import build_model, model_config
from autoseg.smp_models import weightless
from autoseg.text import printable
from autoseg.unfilled import unfilled

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "EXAMPLES_FOLDER",
    "REPORT_FILE",
    "WEIGHTS_FILE",
    "Bundle",
    "BundleInfo",
    "check_bundle",
    "copy_bundle",
    "example_file",
    "load_bundle",
    "read_info",
    "save_bundle",
]

CARD_FILE = "README.md"
REPORT_FILE = "report.json"
EXAMPLES_FOLDER = "examples"

_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, REPORT_FILE, TRANSFORMS_FILE, "model.onnx")
"""All that a bundle may hold beside example pictures."""


@dataclass(frozen=True)
class Bundle:
    """A loaded model and what is known of it."""

    path: Path
    """The folder it came from."""
    model: nn.Module = field(repr=False)
    """In eval mode, on the CPU: images (N, 3, h, w) float32 -> logits (N, K, h, w)."""
    info: BundleInfo
    tile: tuple[int, int] | None = None
    """Largest image (height, width) the model should see at once; None: as memory allows."""


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
    with placing(folder) as temporary:
        _write_files(temporary, model, info, report, card)
        _write_examples(temporary, examples)
        _read_bundle(temporary)
    return folder


def copy_bundle(source: Path, folder: Path) -> Path:
    """Copy a bundle's own files, links followed, whole or not at all.

    Args:
        source: A bundle, such as a pulled one in the Hub's cache.
        folder: Where to; a bundle that is there is replaced.

    Raises:
        BundleError: The folder holds something else, the disk is full, or the bundle is not sound.
    """
    source, folder = Path(source), Path(folder).absolute()
    check_bundle(source)
    with placing(folder) as temporary:
        for name in (*_FILES, *(f"{EXAMPLES_FOLDER}/{file}" for file in _example_names(source))):
            file = find_file(source, name)
            if file is not None:
                (temporary / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(file, temporary / name)
    return folder


def _example_names(folder: Path) -> list[str]:
    """Names of a bundle's example pictures."""
    return sorted(file.name for file in (folder / EXAMPLES_FOLDER).glob("*.jpg"))


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
        return _plan(path, find_weights(path)).info
    except OSError as error:
        raise BundleError(f"The model in {path} cannot be read: {error}") from error


def read_info(path: str | Path) -> BundleInfo:
    """What is known of the model in a folder, without a look at its weights.

    Raises:
        BundleError: The configuration is missing, damaged or of another version.
    """
    return _plan(Path(path), None).info


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


def trained(info: BundleInfo) -> Recipe:
    """The recipe of a model that autoseg trained.

    Raises:
        BundleError: The model is one of stock smp.
    """
    if info.recipe is None:
        raise BundleError(
            "This model was not trained by autoseg, so there is no recipe to build it from."
        )
    return info.recipe


def _network_config(info: BundleInfo) -> dict[str, Any]:
    """The part of `config.json` that smp reads, as JSON gives it back."""
    recipe = trained(info)
    config = model_config(recipe.encoder_name, recipe.decoder_name, info.classes.num_classes)
    values: dict[str, Any] = json.loads(json.dumps(config))
    return values


def _read_bundle(path: Path) -> Bundle:
    """Load a folder that exists."""
    weights = find_weights(path)
    plan = _plan(path, weights)
    with unfilled():
        network = plan.build()
    load_weights(weights, network, plan.rename)
    return Bundle(path, plan.finish(network).eval(), plan.info, plan.tile)


def _plan(path: Path, weights: Path | None) -> NetworkPlan:
    """How the network of a folder is made, one of ours or of stock smp; its weights are checked."""
    values = read_config(path)
    if "_autoseg" in values:
        return _plan_ours(path / CONFIG_FILE, values, weights)
    if "_model_class" in values:
        return plan_smp(path, values, weights)
    kind = values.get("model_type") or values.get("architecture")
    hint = f" It looks like a model of another library ({ascii(kind)[:80]})." if kind else ""
    raise BundleError(
        f"{path / CONFIG_FILE} has neither the part `_autoseg` of a model that autoseg trained nor "
        f"the `_model_class` of one that segmentation_models_pytorch saved.{hint}"
    )


def _plan_ours(file: Path, values: dict[str, Any], weights: Path | None) -> NetworkPlan:
    """How a network of ours is made, if `config.json` asks for exactly that of its recipe."""
    info = parse_info(values.pop("_autoseg"), file)
    recipe, num_classes = trained(info), info.classes.num_classes
    try:
        expected = _network_config(info)
    except EncoderError as error:
        raise BundleError(f"{file}: {error}") from error
    if values != expected:
        differing = sorted(
            printable(name[:80])
            for name in values.keys() | expected.keys()
            if values.get(name, ...) != expected.get(name, ...)
        )
        raise BundleError(
            f"{file} does not describe the network of its own recipe: {', '.join(differing[:8])} "
            f"differ. It was changed by hand or written by another version of autoseg "
            f"({info.versions.get('autoseg', 'unknown')})."
        )

    def build() -> nn.Module:
        return build_model(recipe.encoder_name, recipe.decoder_name, num_classes, pretrained=False)

    if weights is not None:
        with weightless():
            check_weights(weights, build())
    # A plain ViT works best at the size it was trained with.
    is_vit = find_encoder(recipe.encoder_name).kind == "vit"
    return NetworkPlan(info, build, tile=info.preprocessing.geometry.window if is_vit else None)
