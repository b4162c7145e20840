"""Frozen, checked configurations and their JSON: classes, geometry, recipe, search."""

import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from autoseg.errors import BudgetError, ConfigError, UnknownFieldError

FORMAT_VERSION = 1
"""Version of every JSON file autoseg writes; an unknown one is refused."""

IGNORE_INDEX = 255
"""Mask value that neither trains nor scores: marked by the user, or padding."""

MAX_CLASSES = 255
"""Classes are stored in one byte, and one of its values is `IGNORE_INDEX`."""

WINDOW_MULTIPLE = 32
"""Windows are multiples of the deepest encoder stride, in pixels."""

MAX_WINDOW_PX = 2048
"""Longest side of a window in pixels: tiles are as large at least, and memory grows with them."""

MAX_FROZEN_DEPTH = 4
"""Freezes the whole encoder: depth d ends at stride 2 ** (d + 1)."""

MAX_COVER = 8
"""An image that covers a box is at most this many times as long as the box."""

DecoderName = Literal["fpn", "unet", "segformer", "dpt"]
AugmentationName = Literal["none", "light", "medium", "strong"]
FitName = Literal["inside", "cover", "stretch"]
FlipName = Literal["none", "horizontal", "both"]

Config = TypeVar("Config")
Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassInfo:
    """The classes of a data set: index k of every mask is `names[k]`."""

    names: tuple[str, ...]
    """Class names, background included; the position is the mask value."""
    palette: tuple[Color, ...]
    """One RGB colour per class, each channel in [0, 255]."""
    ignore_index: int = IGNORE_INDEX
    """Mask value that neither trains nor scores."""

    def __post_init__(self) -> None:
        if not 2 <= len(self.names) <= MAX_CLASSES:
            raise ConfigError(
                f"There must be 2 to {MAX_CLASSES} classes, background included, "
                f"but got {len(self.names)}: {', '.join(self.names) or 'none'}."
            )
        if len(set(self.names)) != len(self.names):
            raise ConfigError(f"Class names must differ, but got {', '.join(self.names)}.")
        if len(self.palette) != len(self.names):
            raise ConfigError(
                f"`palette` must have one colour per class ({len(self.names)}), "
                f"but got {len(self.palette)}."
            )
        if not all(0 <= channel <= 255 for color in self.palette for channel in color):
            raise ConfigError(f"Colours must lie in [0, 255], but got {self.palette}.")

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.names)


@dataclass(frozen=True)
class Geometry:
    """How an image of any size is shrunk for the network and cut into windows.

    Exactly one of `box` and `scale` is set. `box` suits photos, whose objects grow with the
    image; `scale` suits microscopes and satellites, whose objects have a size in pixels.
    """

    window: tuple[int, int]
    """Training window and prediction tile (height, width), multiples of 32, in pixels."""
    box: tuple[int, int] | None = None
    """Each image is resized to fill this (height, width), by default with its aspect kept and
    without leaving it."""
    scale: float | None = None
    """Each image is resized by this one factor."""
    fit: FitName = "inside"
    """How an image fills `box`: as large as fits inside; just large enough to cover it; or
    stretched to its shape. Training knows the first only."""

    def __post_init__(self) -> None:
        if (self.box is None) == (self.scale is None):
            raise ConfigError(
                f"Exactly one of `box` and `scale` must be set, but got ({self.box=}, "
                f"{self.scale=})."
            )
        if any(side < WINDOW_MULTIPLE or side % WINDOW_MULTIPLE for side in self.window):
            raise ConfigError(
                f"`window` must be positive multiples of {WINDOW_MULTIPLE}, but got {self.window}."
            )
        if self.box is not None and min(self.box) < 1:
            raise ConfigError(f"`box` must be positive, but got {self.box}.")
        if self.fit not in typing.get_args(FitName):
            raise ConfigError(
                f"`fit` must be one of {', '.join(typing.get_args(FitName))}, but got {self.fit!r}."
            )
        if self.scale is not None and not 0 < self.scale <= 4:
            raise ConfigError(f"`0 < scale <= 4` must hold, but got {self.scale}.")

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Shape (height, width) at which the network sees an image of that shape, in pixels."""
        if self.box is not None:
            if self.fit == "stretch":
                return self.box
            factors = self.box[0] / height, self.box[1] / width
            if self.fit == "inside":
                factor = min(factors)
            else:  # A strip of an image must not become one that no memory holds.
                factor = min(max(factors), MAX_COVER * max(self.box) / max(height, width))
        else:
            assert self.scale is not None
            factor = self.scale
        return max(1, round(height * factor)), max(1, round(width * factor))


@dataclass(frozen=True)
class Recipe:
    """One point of the search space, complete enough to train again."""

    encoder_name: str
    """timm name of the encoder, e.g. "tf_efficientnet_lite0.in1k"."""
    geometry: Geometry
    """Working size."""
    frozen_depth: int = 0
    """Encoder stages kept frozen, 0 (none) to 4 (the whole encoder)."""
    decoder_name: DecoderName = "fpn"
    """Slim decoder on top of the encoder; "dpt" is for plain ViTs."""
    decoder_lr: float = 1e-3
    """Peak learning rate of decoder and head (AdamW)."""
    encoder_lr_ratio: float = 0.3
    """Learning rate of the deepest encoder stage as a share of `decoder_lr`."""
    layer_decay: float = 1.0
    """Each shallower stage learns at this share of the next deeper one's rate."""
    drop_path: float = 0.0
    """Stochastic depth rate of the encoder."""
    augmentation: AugmentationName = "medium"
    """Strength of the augmentation."""
    flip: FlipName = "horizontal"
    """Flips that keep every class what it is; "none" where classes are left or right."""
    train_norm: bool = False
    """Whether the encoder's BatchNorm uses batch statistics (else those of pretraining)."""
    batch_size: int = 8
    """Windows per optimizer step, however many passes memory makes of them."""
    epochs: float = 8.0
    """Length in windows seen per training image, all phases together."""

    def __post_init__(self) -> None:
        if not 0 <= self.frozen_depth <= MAX_FROZEN_DEPTH:
            raise ConfigError(
                f"`0 <= frozen_depth <= {MAX_FROZEN_DEPTH}` must hold, but got {self.frozen_depth}."
            )
        for name, choices in (
            ("decoder_name", DecoderName),
            ("augmentation", AugmentationName),
            ("flip", FlipName),
        ):
            if getattr(self, name) not in typing.get_args(choices):
                raise ConfigError(
                    f"`{name}` must be one of {', '.join(typing.get_args(choices))}, "
                    f"but got {getattr(self, name)!r}."
                )
        for name in ("decoder_lr", "epochs", "layer_decay"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"`{name} > 0` must hold, but got {getattr(self, name)}.")
        if not 0 <= self.encoder_lr_ratio <= 1:
            raise ConfigError(
                f"`0 <= encoder_lr_ratio <= 1` must hold, but got {self.encoder_lr_ratio}."
            )
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"`0 <= drop_path < 1` must hold, but got {self.drop_path}.")
        if self.batch_size < 1:
            raise ConfigError(f"`batch_size >= 1` must hold, but got {self.batch_size}.")


@dataclass(frozen=True)
class SearchConfig:
    """What the user asks of one search."""

    budget_s: float
    """Wall-clock time from start to bundle on disk, in seconds."""
    seed: int = 0
    """Seed of splits, sampler and training."""
    device: str = "auto"
    """torch device, or "auto": the first GPU, else the CPU."""
    encoders: tuple[str, ...] = ()
    """Encoders or families to search; empty: those of `default_encoders` and
    `few_images_encoders` (`search.encoder_choice`)."""
    n_trials: int | None = None
    """Most trials, failed ones not counted; None: as many as the budget holds, and one recipe where
    comparing several would cost more than it finds (`search.budget.Horizon`)."""
    max_side: int | None = None
    """Most pixels of an image's longer side at working size; None: from the data."""
    flip: FlipName | None = None
    """Flips that keep every class what it is; None: from the class names and the masks."""
    allow_noncommercial: bool = False
    """Whether encoders whose weights forbid commercial use may be searched."""
    weights_files: tuple[tuple[str, str], ...] = ()
    """safetensors files of pretrained weights: (encoder, path)."""
    max_latency_ms: float | None = None
    """Longest time of one image through the network on the device on which the run begins, at
    working size and one image at a time, as torch predicts there, in milliseconds; None: any."""
    mapping: tuple[tuple[str, str], ...] = ()
    """What mask values mean where that is ambiguous: (value or colour, class or "ignore")."""
    colors: tuple[tuple[str, str], ...] = ()
    """Colours the user chose: (class, "#rrggbb")."""
    start_from: str | None = None
    """Folder of a model whose recipe and weights are trained on; None: a search from pretrained
    encoders."""
    warm_start: bool = True
    """Whether the recipes that won earlier runs on similar data are tried early."""

    def __post_init__(self) -> None:
        if not self.budget_s > 0:
            raise BudgetError(f"The budget must be longer than no time, but got {self.budget_s} s.")
        if self.n_trials is not None and self.n_trials < 1:
            raise ConfigError(f"`n_trials >= 1` must hold, but got {self.n_trials}.")
        if self.max_side is not None and self.max_side < WINDOW_MULTIPLE:
            raise ConfigError(
                f"`max_side >= {WINDOW_MULTIPLE}` must hold, but got {self.max_side}."
            )
        if self.max_latency_ms is not None and not 0 < self.max_latency_ms < float("inf"):
            raise ConfigError(f"`max_latency_ms > 0` must hold, but got {self.max_latency_ms}.")


def refuse_idle_options(config: SearchConfig, *, as_options: bool = False) -> None:
    """Refuse what a user asked of a search where a former model is trained on instead.

    Its encoder, decoder, rates and working size stay.

    Args:
        config: What was asked.
        as_options: Whether arguments are called as on the command line.

    Raises:
        ConfigError: With the options that have no use.
    """
    if config.start_from is None:
        return
    asked = (
        ("encoders", "--encoders", config.encoders),
        ("weights_files", "--weights", config.weights_files),
        ("n_trials", "--trials", config.n_trials),
        ("max_side", "--max-side", config.max_side),
        ("allow_noncommercial", "--allow-noncommercial", config.allow_noncommercial),
        ("warm_start", "--no-warm-start", not config.warm_start),
    )
    idle = [option if as_options else argument for argument, option, value in asked if value]
    if idle:
        start = "--start-from" if as_options else "start_from"
        raise ConfigError(
            f"Training a model on ({start}) searches nothing and keeps the model's encoder and "
            f"working size, so there is no use for {', '.join(idle)}. Leave that away, or search "
            f"without {start}."
        )


_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str | float) -> float:
    """Seconds in "90s", "6m", "1h30m" or "2d"; a bare number counts seconds.

    Raises:
        BudgetError: The text is no duration, or not longer than no time.
    """
    if isinstance(text, int | float):
        seconds = float(text)
    else:
        compact = re.sub(r"\s+", "", text.lower())
        if re.fullmatch(r"\d+(\.\d+)?", compact):
            seconds = float(compact)
        elif re.fullmatch(r"(\d+(\.\d+)?[smhd])+", compact):
            parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", compact)
            seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
        else:
            raise BudgetError(
                f"{text!r} is no duration. Write it like 90s, 6m or 1h30m (s, m, h, d)."
            )
    if not 0 < seconds < float("inf"):
        raise BudgetError(f"The budget must be longer than no time, but got {text!r}.")
    return seconds


def parse_latency(text: str | float) -> float:
    """Milliseconds in "20ms" or "0.5s"; a bare number counts milliseconds.

    Raises:
        ConfigError: The text is no time, or not longer than no time.
    """
    found = re.fullmatch(
        r"(\d+(?:\.\d+)?(?:e-?\d+)?)(ms|s)?", re.sub(r"\s+", "", str(text).lower())
    )
    milliseconds = float(found[1]) * (1000.0 if found[2] == "s" else 1.0) if found else 0.0
    if not 0 < milliseconds < float("inf"):
        raise ConfigError(f"{text!r} is no time for one image. Write it like 20ms or 0.5s.")
    return milliseconds


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values; `from_dict` is its inverse."""
    return dataclasses.asdict(config)


def from_dict(cls: type[Config], values: object, where: str) -> Config:
    """Build a configuration from JSON values and check every one.

    Args:
        cls: A dataclass of this module, or one made of the same kinds of fields.
        values: What `json.loads` returned.
        where: Name of the file, for the error.

    Raises:
        ConfigError: A field is missing, unknown, of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected an object, but found {type(values).__name__}.")
    hints = _type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - fields.keys()):
        raise UnknownFieldError(f"{where}: unknown field {', '.join(map(str, unknown))}.")
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing field {', '.join(missing)}.")
    return cls(
        **{name: _convert(value, hints[name], f"{where}: {name}") for name, value in values.items()}
    )


_type_hints: Callable[[type], dict[str, Any]] = functools.cache(typing.get_type_hints)
"""Working them out takes longer than all else here."""


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Check one JSON value against a type hint; lists become tuples, objects dataclasses."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), where)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{where}: expected one of {arguments}, but found {value!r}.")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, but found {value!r}.")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(item, arguments[0], where) for item in value)
        if len(value) != len(arguments):
            raise ConfigError(f"{where}: expected {len(arguments)} values, but found {value!r}.")
        return tuple(_convert(v, a, where) for v, a in zip(value, arguments, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected an object, but found {value!r}.")
        return {key: _convert(item, arguments[1], where) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type[Any], hint), value, where)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is Any:
        return value
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {hint.__name__}, but found {value!r}.")
    return value


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        ConfigError: The file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
