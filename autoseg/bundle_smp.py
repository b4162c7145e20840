"""Folders that stock segmentation-models-pytorch saved: `save_pretrained`, `push_to_hub`.

They hold no class names, and sizes and standardisation only where the author put albumentations'
file of the evaluation's transforms beside the model, as smp's documentation does. It is read as
data, never run. What has to be guessed is said in `BundleInfo.notes`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoseg.bundle_files import CONFIG_FILE, check_weights, find_file, read_json_object
from autoseg.bundle_info import BundleInfo, NetworkPlan, check_preprocessing
from autoseg.bundle_transforms import TransformHints, parse_transforms
from autoseg.config import MAX_WINDOW_PX, WINDOW_MULTIPLE, ClassInfo, Geometry
from autoseg.data.palette import default_palette
from autoseg.encoder_inputs import encoder_input
from autoseg.errors import BundleError, ConfigError
from autoseg.preprocessing import Preprocessing
from autoseg.smp_config import SmpConfig, parse_smp_config
from autoseg.smp_models import (
    InputRule,
    SmpNetwork,
    build_smp,
    find_input_rule,
    rename_weight,
    weightless,
)

TRANSFORMS_FILE = "albumentations_config_eval.json"

_WINDOW_PX = 512
"""Side of a window where no size is known; models are trained on crops of about this size."""

_TILE_PX = 1024
"""Side of the largest tile: stock decoders take up to four times the memory of ours."""


def plan_smp(folder: Path, values: dict[str, Any], weights: Path | None) -> NetworkPlan:
    """Check a folder and say how its network is made.

    Args:
        folder: The folder.
        values: Content of `config.json`.
        weights: The file to check against it; None: none is checked.

    Raises:
        BundleError: A value is unknown, out of bounds or not supported; the weights are those of
            another network; or a number in the file of transforms is out of bounds.
    """
    file = folder / CONFIG_FILE

    def rename(name: str) -> str | None:
        return rename_weight(name, config)

    try:
        config = parse_smp_config(values)
        with weightless():
            network = build_smp(config)
        if weights is not None:
            check_weights(weights, network, rename, any_float=True)
        pixels = encoder_input(config.encoder_name, config.encoder_weights)
        size = _declared_size(config) or pixels.size
        rule = find_input_rule(network, size)
    except ConfigError as error:
        raise BundleError(f"{file}: {error}") from error
    hints = _read_hints(folder)
    if hints.padded is not None and rule.fixed is None:
        (height, width), (least_height, least_width) = hints.padded, rule.minimum
        rule = replace(rule, minimum=(max(height, least_height), max(width, least_width)))
    is_vit = config.model_class == "DPT"
    window = _window(rule, size if is_vit else None, hints)
    preprocessing = Preprocessing(
        geometry=Geometry(window, box=hints.box, scale=None if hints.box else 1.0, fit=hints.fit),
        mean=hints.mean or pixels.mean,
        std=hints.std or pixels.std,
    )
    check_preprocessing(preprocessing, folder / TRANSFORMS_FILE)
    info = BundleInfo(
        classes=_classes(config.num_outputs),
        preprocessing=preprocessing,
        recipe=None,
        weights_licence=pixels.licence if config.encoder_weights else "",
        notes=tuple(_notes(config, hints)),
    )
    return NetworkPlan(
        info=info,
        build=lambda: build_smp(config),
        tile=window if is_vit or rule.fixed else (_TILE_PX, _TILE_PX),
        finish=lambda network: SmpNetwork(network, rule),
        rename=rename,
    )


def _declared_size(config: SmpConfig) -> tuple[int, int] | None:
    """The size an encoder of timm was told to be made for, in pixels."""
    size = config.arguments.get("img_size")
    if isinstance(size, list):
        return size[0], size[1]
    return None if size is None else (size, size)


def _window(
    rule: InputRule, vit_size: tuple[int, int] | None, hints: TransformHints
) -> tuple[int, int]:
    """Height and width that the network was probably trained at, in multiples of 32."""
    height, width = rule.fixed or hints.box or vit_size or (_WINDOW_PX, _WINDOW_PX)
    return _window_side(height), _window_side(width)


def _window_side(side: int) -> int:
    inside = side // WINDOW_MULTIPLE * WINDOW_MULTIPLE
    return min(max(inside, WINDOW_MULTIPLE), MAX_WINDOW_PX)


def _classes(num_outputs: int) -> ClassInfo:
    """Numbered classes; a single output tells one class from the background."""
    names = tuple(f"class {number}" for number in range(num_outputs))
    if num_outputs == 1:
        names = ("background", "class 1")
    return ClassInfo(names, default_palette(len(names)))


def _read_hints(folder: Path) -> TransformHints:
    """What the file of transforms says of sizes and standardisation; nothing, if there is none."""
    file = find_file(folder, TRANSFORMS_FILE)
    return TransformHints() if file is None else parse_transforms(read_json_object(file), file)


def _notes(config: SmpConfig, hints: TransformHints) -> Iterator[str]:
    """What a user must know of a model that nobody described."""
    yield (
        f"This is a {config.model_class} with the encoder {config.encoder_name}, saved by "
        f"segmentation_models_pytorch. The names of its classes are unknown, so they are numbered."
    )
    if hints.box is None:
        yield (
            "The size of its training images is unknown, so images are taken at their own size. "
            "If the masks are poor, try images made smaller."
        )
    if hints.mean is None:
        weights = "" if config.encoder_weights else ", as if it had been pretrained,"
        how = "How its training standardised images is unknown"
        if hints.normalization:
            how = (
                f"Its training standardised images by {hints.normalization}, which autoseg does "
                f"not do"
            )
        yield f"{how}, so it is done{weights} as in the encoder's pretraining."
    if config.activation == "sigmoid" and config.num_outputs > 1:
        yield "Its classes may overlap; of those at a pixel, the surest is shown."
    if hints.left_out:
        yield (f"What {TRANSFORMS_FILE} also asks for is not done: {', '.join(hints.left_out)}.")
