"""What stock segmentation-models-pytorch wrote into a `config.json`, as far as it is let through.

Every value is checked against a list before smp sees it, so that a stranger's file can make smp
neither download, nor read another file, nor run code.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import segmentation_models_pytorch as smp

from autoseg.config import MAX_CLASSES
from autoseg.encoder_inputs import is_timm_encoder
from autoseg.errors import ConfigError

MODEL_CLASSES = (
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "PAN",
    "UPerNet",
    "Segformer",
    "DPT",
)
"""The classes of smp that can be loaded."""

_RENAMED = {
    "decoder_use_batchnorm": "decoder_use_norm",
    "psp_use_batchnorm": "decoder_use_norm",
    "upscale_mode": "decoder_interpolation",
}
"""Arguments of smp before 0.5 by the name they have since."""

_NORMS = ("batchnorm", "identity", "layernorm", "instancenorm")
_INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
_ACTIVATIONS = (
    *("identity", "sigmoid", "softmax", "softmax2d", "logsoftmax", "tanh"),
    *("argmax", "argmax2d", "clamp"),
)
"""What smp may put behind the logits. None of them changes which class is the largest."""

_MAX_WIDTH = 8192
"""Most channels of a decoder's layer; smp's defaults end at 1024."""

_MAX_SIDE_PX = 2048


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _integer(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: _is_int(value, low, high)


def _integers(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list)
        and 1 <= len(value) <= 12
        and all(_is_int(item, low, high) for item in value)
    )


def _one_of(*choices: object) -> Callable[[Any], bool]:
    return lambda value: any(value is choice or value == choice for choice in choices)


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _norm(value: Any) -> bool:
    if not isinstance(value, dict):
        return isinstance(value, bool) or (isinstance(value, str) and value.lower() in _NORMS)
    numbers = {"eps": _share, "momentum": _share}
    flags = dict.fromkeys(("affine", "track_running_stats", "elementwise_affine", "bias"), _flag)
    known = {"type": _one_of(*_NORMS), **numbers, **flags}
    return all(name in known and known[name](item) for name, item in value.items())


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _width(value: Any) -> bool:
    return _is_int(value, 1, _MAX_WIDTH) or _integers(1, _MAX_WIDTH)(value)


def _side(value: Any) -> bool:
    both = isinstance(value, list) and len(value) == 2 and _integers(1, _MAX_SIDE_PX)(value)
    return _is_int(value, 1, _MAX_SIDE_PX) or both


_ARGUMENTS: dict[str, Callable[[Any], bool]] = {
    "encoder_depth": _integer(1, 12),
    "encoder_output_stride": _one_of(4, 8, 16, 32),
    "encoder_output_indices": _or_none(_integers(-200, 200)),
    "decoder_use_norm": _norm,
    "decoder_channels": _width,
    "decoder_attention_type": _one_of(None, "scse"),
    "decoder_interpolation": _one_of(*_INTERPOLATIONS),
    "decoder_pyramid_channels": _width,
    "decoder_segmentation_channels": _width,
    "decoder_intermediate_channels": _width,
    "decoder_fusion_channels": _width,
    "decoder_pab_channels": _width,
    "decoder_merge_policy": _one_of("add", "cat"),
    "decoder_dropout": _share,
    "decoder_atrous_rates": _integers(1, 1024),
    "decoder_aspp_separable": _flag,
    "decoder_aspp_dropout": _share,
    "decoder_readout": _one_of("ignore", "add", "cat"),
    "psp_out_channels": _width,
    "psp_dropout": _share,
    "upsampling": _or_none(_integer(1, 32)),
}
"""Arguments of smp's classes and which of their values are let through."""

_ENCODER_ARGUMENTS: dict[str, Callable[[Any], bool]] = {
    "img_size": _side,
    "patch_size": _integer(1, 64),
    "window_size": _integer(1, 64),
    "strict_img_size": _flag,
    "dynamic_img_size": _flag,
    "dynamic_img_pad": _flag,
    "always_partition": _flag,
}
"""Arguments that timm's encoders may get. Everything else could load, download or replace code."""

_TRAINING_ONLY = ("drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate")
"""Arguments of timm's encoders that a trained network does without."""


@dataclass(frozen=True)
class SmpConfig:
    """What a `config.json` of smp says, checked."""

    model_class: str
    """Name of smp's class."""
    encoder_name: str
    """As smp writes it."""
    encoder_weights: str | None
    """Pretrained weights that the training began with; never loaded."""
    num_outputs: int
    """Channels of the network's output; one of them stands for two classes."""
    activation: str | None
    """What smp would put behind the logits; left out here."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """All other arguments of the class."""


def parse_smp_config(values: dict[str, Any]) -> SmpConfig:
    """Check every value of a `config.json` that smp wrote (0.3.4 to 0.6).

    Raises:
        ConfigError: A value is unknown, out of bounds or not supported; the text names it.
    """
    # Where both names stand, smp heeds the older one: the other is but the default.
    older = {new: values[old] for old, new in _RENAMED.items() if values.get(old) is not None}
    values = {name: item for name, item in values.items() if name not in _RENAMED} | older
    model_class = values.get("_model_class")
    if model_class not in MODEL_CLASSES:
        raise ConfigError(
            f"`_model_class` must be one of {', '.join(MODEL_CLASSES)}, but is "
            f"{_shown(model_class)}."
        )
    # Smp itself passes over names that begin like this.
    values = {name: value for name, value in values.items() if not name.startswith("_")}
    parameters = inspect.signature(getattr(smp, model_class).__init__).parameters
    encoder_name = _encoder_name(values.pop("encoder_name", None), parameters)
    weights = values.pop("encoder_weights", None)
    num_outputs = values.pop("classes", 1)
    activation = values.pop("activation", None)
    values.pop("aux_params", None)  # A second head, which gives no mask.
    if (channels := values.pop("in_channels", 3)) != 3:
        raise ConfigError(
            f"The network takes images of {_shown(channels)} channels, but autoseg predicts RGB "
            f"images only, which have 3."
        )
    if not _is_int(num_outputs, 1, MAX_CLASSES):
        raise ConfigError(f"`classes` must be 1 to {MAX_CLASSES}, but is {_shown(num_outputs)}.")
    if activation is not None and activation not in _ACTIVATIONS:
        raise ConfigError(
            f"`activation` must be one of {', '.join(_ACTIVATIONS)}, but is {_shown(activation)}."
        )
    for name, value in values.items():
        _check_argument(name, value, parameters, encoder_name)
    return SmpConfig(
        model_class=str(model_class),
        encoder_name=encoder_name,
        encoder_weights=weights if isinstance(weights, str) else None,
        num_outputs=num_outputs,
        activation=activation,
        arguments={name: item for name, item in values.items() if name not in _TRAINING_ONLY},
    )


def _encoder_name(name: Any, parameters: Any) -> str:
    """The checked name of the encoder; its default where the file has none."""
    if name is None:
        name = parameters["encoder_name"].default
    known = isinstance(name, str) and (
        name in smp.encoders.encoders
        or (name.startswith("tu-") and is_timm_encoder(name[3:]))
        or _moved_to_timm(name)
    )
    if not known:
        raise ConfigError(
            f"`encoder_name` must be an encoder of segmentation_models_pytorch or, behind "
            f'"tu-", of timm, but is {_shown(name)}. If it is a new one, update timm.'
        )
    return str(name)


def _moved_to_timm(name: str) -> bool:
    """Whether smp had the encoder itself before 0.5 and takes it from timm since."""
    if not smp.encoders.is_equivalent_to_timm_universal(name):
        return False
    present = name.removeprefix("timm-")
    return is_timm_encoder(f"tf_{present}" if present.startswith("mobilenetv3") else present)


def _check_argument(name: str, value: Any, parameters: Any, encoder_name: str) -> None:
    """Refuse an argument that the class or the encoder does not have, or a value out of bounds."""
    check = _ARGUMENTS.get(name) if name in parameters else None
    if check is None and encoder_name.startswith("tu-"):
        check = {**_ENCODER_ARGUMENTS, **dict.fromkeys(_TRAINING_ONLY, _share)}.get(name)
    if check is None:
        raise ConfigError(
            f"{_shown(name)} is no argument that autoseg lets through. It may come from another "
            f"version of segmentation_models_pytorch; autoseg reads 0.3.4 to 0.6."
        )
    if not check(value):
        raise ConfigError(f"`{name}` cannot be {_shown(value)}.")


def _shown(value: object) -> str:
    """A stranger's value for an error, cut short."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
