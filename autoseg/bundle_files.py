"""The two files of a model's folder that are read: JSON and safetensors, checked before use.

Whoever wrote them is not trusted: nothing in them is executed, and nothing makes this process
wait or take memory that the files themselves do not have.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from autoseg.errors import BundleError
from autoseg.text import printable

Rename = Callable[[str], str | None]
"""From a tensor's name in a file to that in the network; None: the network does without it."""

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

_MAX_CONFIG_BYTES = 1_000_000
"""A configuration of 255 classes with long names takes some 50 kB."""

_MAX_HEADER_BYTES = 10_000_000
"""The names of a network's tensors take at most some 500 kB."""

_SMALL_BYTES = 64 * 2**20
"""Any network may hold so much beside its weights; a larger one as much as its weights take. Of
timm's encoders with attention none holds more than 0.6 times its weights."""

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Types that become float32 without a loss that matters, as safetensors calls them."""

_SAFETENSORS_TYPES = {
    torch.float32: "F32",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}
"""Types a network's state may have, as safetensors calls them."""


def _as_it_is(name: str) -> str:
    return name


def find_file(folder: Path, name: str) -> Path | None:
    """A file of a model's folder; None: there is none.

    Links lead out of the folder in one place only: in the Hub's cache, where a snapshot's files
    are links to the blobs of the same repository, and those may be links to blobs that all
    repositories share.

    Raises:
        BundleError: It is a link to somewhere else, or no regular file.
    """
    file = folder / name
    if not file.is_symlink() and not file.exists():
        return None
    home, target = folder.resolve(), file.resolve()
    homes = [home]
    if home.parent.name == "snapshots":
        homes += [home.parents[1] / "blobs", home.parents[2] / "blobs"]
    if not any(target.is_relative_to(place) for place in homes):
        raise BundleError(
            f"{file} is a link to {target}, outside of the model's folder. Put the file itself "
            f"there."
        )
    if not target.is_file():
        raise BundleError(f"{file} is no regular file, or a link to a file that is not there.")
    return file


def read_config(folder: Path) -> dict[str, Any]:
    """The values of `config.json`.

    Raises:
        BundleError: The file is missing, too long, or no JSON object; or it is ambiguous: a key
            stands twice or a number is none.
    """
    file = find_file(folder, CONFIG_FILE)
    if file is None:
        raise BundleError(f"{folder} has no {CONFIG_FILE}, so it is no model's folder.")
    return read_json_object(file)


def read_json_object(file: Path) -> dict[str, Any]:
    """The values of a small JSON file of an untrusted folder.

    Raises:
        BundleError: The file is too long or no JSON object; or it is ambiguous: a key stands twice
            or a number is none.
    """
    try:
        if (size := file.stat().st_size) > _MAX_CONFIG_BYTES:
            raise BundleError(
                f"{file} has {size} bytes; a configuration has at most {_MAX_CONFIG_BYTES}."
            )
        values = json.loads(
            file.read_text(encoding="utf-8"),
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error}") from error
    except RecursionError as error:
        raise BundleError(f"{file} is nested too deeply for a configuration.") from error
    except ValueError as error:  # JSON's and UTF-8's errors are ValueErrors, and so are ours.
        raise BundleError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise BundleError(f"{file} must hold an object, but holds {type(values).__name__}.")
    return values


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated[:80]!r} stands twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def find_weights(folder: Path) -> Path:
    """The file of weights.

    Raises:
        BundleError: There is none; the text says what is there in its place.
    """
    file = find_file(folder, WEIGHTS_FILE)
    if file is not None:
        return file
    if (folder / f"{WEIGHTS_FILE}.index.json").exists():
        raise BundleError(
            f"{folder} has no {WEIGHTS_FILE}: its weights are split over several files, which "
            f"autoseg does not read. Save the model again with its weights in one file."
        )
    pickled = [name for name in ("pytorch_model.bin", "model.pth") if (folder / name).exists()]
    if pickled:
        raise BundleError(
            f"{folder} has no {WEIGHTS_FILE}, only {pickled[0]}. Such a file can run any code as "
            f"it is read, so autoseg never does. Ask its author to save the model again with "
            f"`save_pretrained`."
        )
    raise BundleError(f"{folder} has no {WEIGHTS_FILE}.")


def check_weights(
    file: Path, model: nn.Module, rename: Rename = _as_it_is, *, any_float: bool = False
) -> None:
    """Check that a file holds exactly a model's tensors, by name, shape and type; read no values.

    What a model computes as it is built, such as masks of attention, stands in no file, so its size
    is checked too.

    Args:
        file: A safetensors file.
        model: On any device, "meta" included.
        rename: From a name in the file to the model's; None: a tensor the model does without.
        any_float: Whether floats of half or double precision will do for float32.

    Raises:
        BundleError: It is no sound safetensors file, or holds other tensors; or the model takes far
            more memory than its weights.
    """
    header = _read_header(file)
    names = _names(file, header, rename)
    wanted = model.state_dict()
    missing = sorted(twins[0] for twins in _tensors(model) if names.keys().isdisjoint(twins))
    unknown = sorted(names[name] for name in names.keys() - wanted.keys())
    if missing or unknown:
        raise BundleError(
            f"{file} does not hold this network's weights: {len(missing)} tensors are missing "
            f"(such as {_first(missing)}) and {len(unknown)} are unknown (such as "
            f"{_first(unknown)})."
        )
    for name, stored in names.items():
        (dtype, shape), tensor = header[stored], wanted[name]
        expected = (_SAFETENSORS_TYPES[tensor.dtype], tuple(tensor.shape))
        fits = dtype == expected[0] or (any_float and {dtype, expected[0]} <= _FLOATS)
        if not fits or shape != expected[1]:
            raise BundleError(
                f"{file}: {name} must be {expected[0]} of shape {expected[1]}, but is "
                f"{dtype} of shape {shape}."
            )
    _check_unstored(file, model)


def _check_unstored(file: Path, model: nn.Module) -> None:
    """Refuse a model whose buffers outside of the file would fill the memory."""
    state = model.state_dict()
    unstored = sum(tensor.nbytes for name, tensor in model.named_buffers() if name not in state)
    most = max(_SMALL_BYTES, sum(tensor.nbytes for tensor in state.values()))
    if unstored > most:
        raise BundleError(
            f"{file}: the network as described takes {unstored:,} bytes beside its weights; at "
            f"most {most:,} are let through. Its images or windows are described as too large."
        )


def load_weights(file: Path, model: nn.Module, rename: Rename = _as_it_is) -> None:
    """Copy the values of a checked file into a model, as float32 where they are floats.

    Raises:
        BundleError: A value is not finite.
    """
    with safe_open(file, framework="pt") as stored, torch.no_grad():
        names = _names(file, stored.keys(), rename)
        state = model.state_dict()
        for name, stored_name in names.items():
            values = stored.get_tensor(stored_name)
            if not bool(torch.isfinite(values).all()):
                raise BundleError(f"{file}: {name} holds values that are not finite.")
            state[name].copy_(values)


def _tensors(model: nn.Module) -> list[list[str]]:
    """The names of each tensor of a model; layers that share one have several."""
    groups: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return list(groups.values())


def _names(file: Path, stored: Iterable[str], rename: Rename) -> dict[str, str]:
    """Names in the file by the model's names."""
    names: dict[str, str] = {}
    for name in stored:
        present = rename(name)
        if present is None:
            continue
        if present in names:
            raise BundleError(f"{file} holds the tensor {_short(present)} under two names.")
        names[present] = name
    return names


def _read_header(file: Path) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor by name; the reader checks that they fill the file."""
    with file.open("rb") as start:
        length = int.from_bytes(start.read(8), "little")
    size = file.stat().st_size
    if not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
        raise BundleError(
            f"{file} cannot be read: it says that its header has {length} bytes, but the file has "
            f"{size} and a header at most {_MAX_HEADER_BYTES}. It is damaged or not safetensors."
        )
    try:
        with safe_open(file, framework="pt") as stored:
            slices = {name: stored.get_slice(name) for name in stored.keys()}
            return {
                name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()
            }
    except SafetensorError as error:
        raise BundleError(f"{file} cannot be read: {_short(str(error))}") from error


def _first(names: list[str]) -> str:
    return ", ".join(_short(name) for name in names[:2]) or "none"


def _short(text: str) -> str:
    """Text of an untrusted file as an error can show it: cut, and without control characters."""
    text = printable(text[:201])
    return text if len(text) <= 200 else f"{text[:200]}..."
