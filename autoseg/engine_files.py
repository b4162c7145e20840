"""Networks as engines read them, and what came out for them on this machine, kept on disk."""

import atexit
import functools
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from autoseg.bundle import Bundle
from autoseg.engines import EngineName, engine_versions
from autoseg.export import write_onnx
from autoseg.files import autoseg_home, replacing_folder, size_bytes, used_at, write_json
from autoseg.int8_files import Int8File, weights_digest
from autoseg.training.hardware import device_name, limit_threads

_FORMAT = 2
"""Of what is kept on disk."""

_MOST_KEPT, _MOST_KEPT_BYTES = 16, 10**9
"""Networks kept for their engines, and what they may take on disk."""


@dataclass(frozen=True)
class Verdict:
    """What came out for an engine and a network on this machine (`verdict*.json`)."""

    agrees: bool
    """Whether its masks of the images that were compared are torch's, within `TOLERANCE`."""
    bf16: bool = False
    """Whether they are in bfloat16 too."""
    faster: bool = False
    """Whether it is faster than torch."""
    int8: bool = False
    """Whether the user's file in int8 is what is used."""


@dataclass(frozen=True)
class NetworkFiles:
    """A network for an engine, and the verdicts on it."""

    folder: Path
    is_new: bool
    """Whether it was written just now, so that what verdicts there are do not hold."""

    @property
    def network(self) -> Path:
        """The ONNX file."""
        return self.folder / "model.onnx"

    def verdict(self, int8: Int8File | None) -> Verdict | None:
        """What is known; None: nothing, nothing that can be read, or that it did not agree once.

        Args:
            int8: The file in int8 that may be what is used.
        """
        if self.is_new:
            return None
        try:
            known = Verdict(**json.loads(self._record(int8).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return known if known.agrees else None  # An earlier autoseg kept it for one odd image.

    def keep(self, verdict: Verdict, int8: Int8File | None) -> None:
        """Keep what came out; where that cannot be written, it is found out again."""
        with suppress(OSError):
            write_json(self._record(int8), asdict(verdict))

    def _record(self, int8: Int8File | None) -> Path:
        return self.folder / f"verdict{'' if int8 is None else f'-{int8.digest[:32]}'}.json"


def engines_folder() -> Path:
    """Where networks and verdicts are kept; it can be deleted at any time."""
    return autoseg_home() / "engines"


def network_files(bundle: Bundle, name: EngineName) -> NetworkFiles:
    """The files of a network for an engine, written if they are not there.

    Where `AUTOSEG_HOME` takes no files, they are in a temporary folder of this process.
    """
    key = _key(bundle, name)
    try:
        return _in_folder(engines_folder() / key, bundle)
    except OSError:
        return _in_folder(_temporary_folder() / key, bundle)


def _in_folder(folder: Path, bundle: Bundle) -> NetworkFiles:
    is_new = not NetworkFiles(folder, False).network.is_file()
    if is_new:
        with replacing_folder(folder) as new, torch.inference_mode(False):
            write_onnx(bundle, NetworkFiles(new, True).network)
    with suppress(OSError):  # A home that is only read.
        os.utime(folder)
    _sweep(folder)
    return NetworkFiles(folder, is_new)


@functools.cache
def _temporary_folder() -> Path:
    """A folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="autoseg-engines-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _key(bundle: Bundle, name: EngineName) -> str:
    """Names all that a network, its results and its speed depend on."""
    machine = (_FORMAT, engine_versions(name), device_name(torch.device("cpu")))
    network = (limit_threads(), bundle.model, weights_digest(bundle))
    return hashlib.sha256(repr(machine + network).encode()).hexdigest()[:32]


def _sweep(keep: Path) -> None:
    """Remove what was not used for longest, beyond what may be kept."""
    folders = [folder for folder in keep.parent.iterdir() if not folder.name.startswith(".")]
    taken = 0
    for count, folder in enumerate(sorted(folders, key=used_at, reverse=True), start=1):
        taken += size_bytes(folder)
        if folder != keep and (count > _MOST_KEPT or taken > _MOST_KEPT_BYTES):
            shutil.rmtree(folder, ignore_errors=True)
