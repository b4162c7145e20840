"""Sizes and standardisation from albumentations' file of transforms, read as data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg.bundle_info import MAX_BOX_PX
from autoseg.config import MAX_WINDOW_PX, FitName
from autoseg.errors import BundleError

_CONTAINERS = ("Compose", "Sequential")
_NO_CHANGE = ("NoOp", "ToTensor", "ToTensorV2")
_MAX_DEPTH = 4
_MAX_TRANSFORMS = 64


@dataclass(frozen=True)
class TransformHints:
    """What is known of the images a network was evaluated on."""

    box: tuple[int, int] | None = None
    """Height and width that images are resized to, in pixels; None: unknown."""
    fit: FitName = "inside"
    """How images fill the box."""
    padded: tuple[int, int] | None = None
    """Height and width that smaller images are padded to, in pixels."""
    mean: tuple[float, float, float] | None = None
    """Per channel, of images in [0, 1]; None: unknown."""
    std: tuple[float, float, float] | None = None
    """Per channel, of images in [0, 1]; None: unknown."""
    normalization: str = ""
    """How pixels are standardised where that is not by mean and deviation; then both are None."""
    left_out: tuple[str, ...] = ()
    """Names of transforms that are not done."""


@dataclass
class _Reader:
    """Collects what the transforms do, one after the other."""

    file: Path
    box: tuple[int, int] | None = None
    fit: FitName = "inside"
    padded: tuple[int, int] | None = None
    left_out: list[str] = field(default_factory=list)
    standardised: bool = False
    normalization: str = ""
    # Pixels x in [0, 255] became (x - offset) / divisor, per channel.
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    divisor: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    count: int = 0

    def read(self, transform: object, depth: int = 0) -> None:
        """Take in one transform and those inside it."""
        self.count += 1
        if not isinstance(transform, dict) or depth > _MAX_DEPTH or self.count > _MAX_TRANSFORMS:
            raise self.error("the transforms", "are no short list of objects")
        name = str(transform.get("__class_fullname__", "")).rpartition(".")[2]
        if name in _CONTAINERS and isinstance(parts := transform.get("transforms"), list):
            for part in parts:
                self.read(part, depth + 1)
        elif name == "Normalize":
            self.normalize(transform)
        elif name == "ToFloat":
            self.divide(self.number(transform, "max_value", 255.0))
        elif name == "Resize":
            self.resize((self.side(transform, "height"), self.side(transform, "width")), "stretch")
        elif name in ("LongestMaxSize", "SmallestMaxSize"):
            side = self.side(transform, "max_size")
            self.resize((side, side), "inside" if name == "LongestMaxSize" else "cover")
        elif name == "PadIfNeeded":
            if transform.get("min_height") is not None and transform.get("min_width") is not None:
                height, width = (self.side(transform, key) for key in ("min_height", "min_width"))
                self.padded = min(height, MAX_WINDOW_PX), min(width, MAX_WINDOW_PX)
        elif name not in _NO_CHANGE:
            self.left_out.append(name[:40] if name.isidentifier() else "an unnamed one")

    def resize(self, box: tuple[int, int], fit: FitName) -> None:
        self.box, self.fit = box, fit

    def normalize(self, transform: dict[str, Any]) -> None:
        """(x - mean * max) / (std * max), on what the pixels were before."""
        mode = transform.get("normalization", "standard")
        if mode != "standard":
            self.normalization = ascii(mode)[:40]
            return
        largest = self.number(transform, "max_pixel_value", 255.0)
        mean, std = self.channels(transform, "mean"), self.channels(transform, "std")
        for channel in range(3):
            self.offset[channel] += self.divisor[channel] * mean[channel] * largest
            self.divisor[channel] *= std[channel] * largest
        self.standardised = True

    def divide(self, divisor: float) -> None:
        self.divisor = [value * divisor for value in self.divisor]
        self.standardised = True

    def side(self, transform: dict[str, Any], name: str) -> int:
        """A length in pixels; older files have a list of one."""
        value = transform.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= MAX_BOX_PX:  # type: ignore[operator]
            raise self.error(
                f"`{name}`", f"must be 1 to {MAX_BOX_PX} pixels, but is {ascii(value)[:40]}"
            )
        return int(value)  # type: ignore[arg-type]

    def number(self, values: dict[str, Any], name: str, default: float) -> float:
        """A positive number; null stands for the default, as in albumentations."""
        value = values.get(name)
        value = default if value is None else value
        positive = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if not positive or value > 1e6:
            raise self.error(f"`{name}`", f"must be positive, but is {ascii(value)[:40]}")
        return float(value)

    def channels(self, transform: dict[str, Any], name: str) -> list[float]:
        """Three numbers, or one for all channels."""
        value = transform.get(name)
        values = value if isinstance(value, list) else [value]
        numbers = [
            float(item)
            for item in values[:4]
            if isinstance(item, int | float) and not isinstance(item, bool) and abs(item) <= 1e6
        ]
        if len(numbers) != len(values) or len(numbers) not in (1, 3):
            raise self.error(f"`{name}`", f"must be three numbers, but is {ascii(value)[:60]}")
        return numbers * 3 if len(numbers) == 1 else numbers

    def error(self, what: str, state: str) -> BundleError:
        return BundleError(
            f"{self.file}: {what} {state}. Correct the file, or take it out of the folder: "
            f"then sizes and standardisation are guessed."
        )


def parse_transforms(values: dict[str, Any], file: Path) -> TransformHints:
    """What albumentations' transforms do to an image, as far as it matters here.

    Args:
        values: Content of the file.
        file: The file, for the error.

    Raises:
        BundleError: A number is out of bounds.
    """
    reader = _Reader(file)
    reader.read(values.get("transform"))
    mean = std = None
    if reader.standardised and not reader.normalization:
        red, green, blue = (offset / 255 for offset in reader.offset)
        mean = red, green, blue
        red, green, blue = (divisor / 255 for divisor in reader.divisor)
        std = red, green, blue
    return TransformHints(
        box=reader.box,
        fit=reader.fit,
        padded=reader.padded,
        mean=mean,
        std=std,
        normalization=reader.normalization,
        left_out=tuple(dict.fromkeys(reader.left_out)),
    )
