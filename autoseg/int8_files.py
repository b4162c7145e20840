"""Exported files in int8: what they say of themselves, and the one that is a given model's."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from autoseg.bundle import CONFIG_FILE, Bundle
from autoseg.engines import EngineName, openvino_note
from autoseg.export import note_text, onnx_note

_logger = logging.getLogger(__name__)

_SUFFIXES: dict[EngineName, str] = {"onnxruntime": ".onnx", "openvino": ".xml"}


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


def places_of_int8(bundle: Bundle) -> list[Path]:
    """The folders in which an exported file serves predictions: the model's own, and its run's."""
    folder = bundle.path
    run = folder.parent
    places = [folder] if (folder / CONFIG_FILE).is_file() else []
    return places + [run] if places and (run / "search.json").is_file() else places


def find_int8(bundle: Bundle, engine: EngineName) -> Path | None:
    """The newest file for an engine that was accepted for exactly this model's weights.

    Links are not followed: in the Hub's cache every file is one, and what others made is not run.
    """
    files = [
        file
        for folder in places_of_int8(bundle)
        for file in folder.glob(f"*{_SUFFIXES[engine]}")
        if file.is_file() and not file.is_symlink()
    ]
    if not files:
        return None
    digest = weights_digest(bundle)
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        if _accepted_for(file, engine) == digest:
            return file
    return None


def _accepted_for(file: Path, engine: EngineName) -> str | None:
    """Digest of the weights that a file was accepted for; None: it is no such file."""
    try:
        text = openvino_note(file) if engine == "openvino" else onnx_note(file)
        return str(json.loads(text)["int8"]["weights"])
    except (
        Exception
    ) as error:  # Whatever lies there need not be a network: each reader has its own.
        _logger.debug("%s is no int8 file of autoseg: %s", file, error)
        return None
