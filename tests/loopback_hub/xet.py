"""Xet storage in folders: clients are sent to `local://FOLDER`, which hf_xet serves by itself.

hf_xet locks such a folder for as long as its session lives, so each token opens a copy: chunks are
hard links, the small files are copied. What a client has uploaded is read from the shards it left.
Format of a shard: hub-docs, docs/xet/shard.md.
"""

import itertools
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ENTRY_BYTES = 48
_END = b"\xff" * 32
_HAS_VERIFICATION = 1 << 31
_HAS_SHA256 = 1 << 30
_WORKER = Path(__file__).with_name("xet_worker.py")


@dataclass(frozen=True)
class XetFile:
    """A file as Xet knows it."""

    sha256: str
    xet_hash: str
    size: int


@dataclass(frozen=True)
class XetStore:
    """A folder with the chunks of some files."""

    folder: Path
    files: Mapping[str, XetFile] = field(default_factory=dict)
    """By sha256."""


class XetStorage:
    """All folders of one Hub."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._uploads: list[Path] = []
        self._known: dict[str, XetStore] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def open_for_writing(self, store: XetStore | None) -> Path:
        """A folder for one upload into a repository."""
        folder = self._copy("write", store.folder if store else None)
        self._uploads.append(folder)
        return folder

    def open_for_reading(self, store: XetStore | None) -> Path:
        return self._copy("read", store.folder if store else None)

    def take_in(self, sha256s: Iterable[str]) -> XetStore | None:
        """Keep the newest upload that holds one of these files; None: no upload does.

        It is copied while its client waits for the answer to its commit, and so writes nothing.
        """
        wanted = set(sha256s)
        for upload in reversed(self._uploads):
            if wanted & {file.sha256 for file in _files_in(upload)}:
                return self._keep(self._copy("kept", upload))
        return None

    def add(self, paths: Mapping[str, Path]) -> XetStore:
        """Store files as a client would.

        Args:
            paths: Files by sha256.
        """
        folder = self._copy("kept", None)
        _work("upload", folder, *(word for item in paths.items() for word in item))
        return self._keep(folder)

    def size_of(self, sha256: str) -> int | None:
        """In bytes; None: no committed upload holds it."""
        store = self._known.get(sha256)
        return store.files[sha256].size if store else None

    def restore(self, sha256: str, target: Path) -> None:
        """Write a file whole, for clients that know nothing of Xet."""
        store = self._known[sha256]
        file = store.files[sha256]
        partial = target.with_suffix(f".{next(self._numbers)}")
        folder = self.open_for_reading(store)
        _work("download", folder, file.xet_hash, str(file.size), partial)
        partial.replace(target)

    def _keep(self, folder: Path) -> XetStore:
        store = XetStore(folder, {file.sha256: file for file in _files_in(folder)})
        self._known |= dict.fromkeys(store.files, store)
        return store

    def _copy(self, purpose: str, source: Path | None) -> Path:
        target = self._folder / f"{purpose}-{next(self._numbers)}"
        target.mkdir()
        if source is not None and (source / "xet" / "xorbs").is_dir():
            shutil.copytree(
                source / "xet" / "xorbs", target / "xet" / "xorbs", copy_function=_link_chunks
            )
        return target


def _link_chunks(source: str, target: str) -> None:
    """Link what never changes, copy the rest."""
    if re.fullmatch(r"default\.[0-9a-f]{64}", os.path.basename(source)):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _work(*arguments: str | Path) -> None:
    """Run hf_xet in a process of its own, whose end frees the lock on the folder."""
    command = [sys.executable, str(_WORKER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"hf_xet failed: {done.stderr}")


def _files_in(folder: Path) -> Iterator[XetFile]:
    for shard in sorted((folder / "xet" / "xorbs" / "shards").glob("*.mdb")):
        yield from _files_of_shard(shard.read_bytes())


def _files_of_shard(content: bytes) -> Iterator[XetFile]:
    """The files that a shard describes and gives a sha256 for."""
    at = _ENTRY_BYTES
    while at + _ENTRY_BYTES <= len(content) and content[at : at + 32] != _END:
        xet_hash = _hash_text(content, at)
        flags, segments = struct.unpack_from("<II", content, at + 32)
        at += _ENTRY_BYTES
        starts = range(at, at + segments * _ENTRY_BYTES, _ENTRY_BYTES)
        size = sum(struct.unpack_from("<I", content, start + 36)[0] for start in starts)
        at += segments * _ENTRY_BYTES * (2 if flags & _HAS_VERIFICATION else 1)
        if flags & _HAS_SHA256:
            yield XetFile(_hash_text(content, at), xet_hash, size)
            at += _ENTRY_BYTES


def _hash_text(content: bytes, at: int) -> str:
    """32 bytes as Xet prints them: four little-endian words."""
    return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", content, at))
