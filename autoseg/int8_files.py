"""Exported files in int8, and which of them this machine accepted.

Such a file computes in place of the model beside which it lies, and native code reads it. Whoever
publishes a model could put one there. So only a file counts whose SHA-256 was recorded in
`AUTOSEG_HOME` when `autoseg export --int8` accepted it, and no parser sees any other.
"""

import hashlib
import logging
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from autoseg.bundle import CONFIG_FILE, Bundle
from autoseg.engines import EngineName
from autoseg.export import note_text
from autoseg.files import autoseg_home, write_json

_logger = logging.getLogger(__name__)

_SUFFIXES: dict[EngineName, tuple[str, ...]] = {
    "onnxruntime": (".onnx",),
    "openvino": (".xml", ".bin"),
}
"""The files that an engine reads; the first one is named to it."""

_MOST_BYTES = 2**31
"""No larger file is looked at; ONNX itself has this limit."""


@dataclass(frozen=True)
class Int8Note:
    """That a file in int8 was accepted, for which weights, and why."""

    weights: str
    """`weights_digest` of the model that it was made of."""
    miou_before: float
    """Validation mIoU of the model itself, in [0, 1]."""
    miou_after: float
    """The same in int8."""
    layers: str
    """What was quantized."""


@dataclass(frozen=True)
class Int8File:
    """A file that was accepted on this machine."""

    path: Path
    """NAME.onnx, or NAME.xml with NAME.bin beside it."""
    digest: str
    """Of the engine's name and all that it reads."""


def int8_note_text(bundle: Bundle, note: Int8Note) -> str:
    """What stands in an accepted file: all that `note_text` has, and the note under `int8`."""
    return note_text(bundle, int8=asdict(note))


def weights_digest(bundle: Bundle) -> str:
    """SHA-256 of all that a network computes with: its weights and its standardisation."""
    preprocessing = bundle.info.preprocessing
    digest = hashlib.sha256(repr((preprocessing.mean, preprocessing.std)).encode())
    for key, tensor in bundle.model.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def accept_int8(path: Path, engine: EngineName, note: Int8Note) -> None:
    """Record that a file computes for certain weights on this machine.

    Args:
        path: NAME.onnx, or NAME.xml with NAME.bin beside it.
        engine: What reads it.
        note: For which weights, and why.

    Raises:
        OSError: It cannot be read, or the record cannot be written.
    """
    digest = _digest(path, engine)
    if digest is None:
        raise OSError(f"{path} is no regular file of less than {_MOST_BYTES / 1e9:.1f} GB.")
    write_json(_record(note.weights, digest), {"engine": engine, **asdict(note)})


def places_of_int8(bundle: Bundle) -> list[Path]:
    """The folders in which an exported file serves predictions: the model's own, and its run's."""
    folder = bundle.path
    run = folder.parent
    places = [folder] if (folder / CONFIG_FILE).is_file() else []
    return places + [run] if places and (run / "search.json").is_file() else places


def candidates(bundle: Bundle, engine: EngineName) -> list[Path]:
    """Files beside a model that an engine could read, the newest first; none was looked into."""
    changed_at = {}
    for folder in places_of_int8(bundle):
        for file in folder.glob(f"*{_SUFFIXES[engine][0]}"):
            with suppress(OSError):  # It was there a moment ago.
                status = file.lstat()
                if stat.S_ISREG(status.st_mode):
                    changed_at[file] = status.st_mtime
    return sorted(changed_at, key=changed_at.__getitem__, reverse=True)


def find_int8(bundle: Bundle, engine: EngineName) -> Int8File | None:
    """The newest file for an engine that was accepted here for exactly this model's weights.

    Links are not followed: in the Hub's cache every file is one, and nothing here puts one there.
    """
    files = candidates(bundle, engine)
    weights = weights_digest(bundle) if files else ""
    if not files or not _record(weights, "").parent.is_dir():
        return None
    for file in files:
        digest = _digest(file, engine)
        if digest is not None and _record(weights, digest).is_file():
            return Int8File(file, digest)
        _logger.debug("%s was not accepted on this machine for this model.", file)
    return None


def _record(weights: str, digest: str) -> Path:
    return autoseg_home() / "int8" / weights / f"{digest}.json"


def _digest(path: Path, engine: EngineName) -> str | None:
    """SHA-256 over an engine's name and the files that it reads; None: one is not as it must be."""
    digest = hashlib.sha256(engine.encode())
    for suffix in _SUFFIXES[engine]:
        file = path.with_suffix(suffix)
        try:
            status = file.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                return None
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError:
            return None
    return digest.hexdigest()
