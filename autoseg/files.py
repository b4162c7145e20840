"""Files that are either whole or not there: written aside, flushed, renamed."""

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from autoseg.errors import DiskFullError

_LEFT_AFTER_S = 3600.0
"""A folder that is not whole after that long, in seconds, was left by a writer that was killed."""

INCOMING = ".incoming-"
"""How the name of a folder begins that is filled in the workspace before it has its place."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def autoseg_home() -> Path:
    """Folder of data sets, runs and caches: `AUTOSEG_HOME`, else `~/.autoseg`."""
    return Path(os.environ.get("AUTOSEG_HOME") or "~/.autoseg").expanduser().absolute()


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        error = error.__cause__
    return False


@contextmanager
def telling_full_disk(folder: Path) -> Iterator[None]:
    """Tell a disk that is full inside this block in words for the user.

    Args:
        folder: What lies on that disk, in the user's words for it.

    Raises:
        DiskFullError: It takes no more.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(
            f"The disk of {folder} is full. Free some space and try again."
        ) from error


def known_folder(folder: Path) -> Path:
    """The nearest folder that a user may know: above those that are here only for a moment."""
    known = folder
    for place in (folder, *folder.parents):
        if place.name.startswith(INCOMING) or place.name.endswith(".part"):
            known = place.parent
    return known


@contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed and renamed to `path`.

    A process killed inside leaves `path` as it was. On an exception (a full disk, say) the
    temporary file is removed.

    Args:
        path: The file.
        flush: Whether it has to outlive a power cut; what can be made again need not wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        if flush:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`; on success it takes the place of `folder`.

    Several may do so at once: the last one stays. A process killed inside leaves `folder` as it
    was, if need be with the help of `restore_folder`.
    """
    aside = _beside(folder, f"{uuid.uuid4().hex}.part")
    aside.mkdir(parents=True)
    former = _beside(folder, "former")
    try:
        yield aside
        with folder_lock(folder):
            _put_back(folder)
            if folder.is_dir():
                os.replace(folder, former)
            os.replace(aside, folder)
            shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        _sweep_folders(folder)


@contextmanager
def making_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`; on success it becomes `folder`, which must not be there
    or hold nothing.

    A process killed inside leaves nothing under that name.

    Raises:
        OSError: Somebody has made `folder` meanwhile, or the disk refuses.
    """
    aside = _beside(folder, f"{uuid.uuid4().hex}.part")
    aside.mkdir(parents=True)
    try:
        yield aside
        with suppress(OSError):  # Windows renames onto no folder, not even an empty one.
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        _sweep_folders(folder)


def restore_folder(folder: Path) -> None:
    """Bring back a folder that was moved aside by a writer that was killed right then."""
    if _beside(folder, "former").is_dir():
        with folder_lock(folder):
            _put_back(folder)


def folder_lock(folder: Path) -> FileLock:
    """Keep others from replacing the folders that lie beside one another."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.parent / ".lock")


def _put_back(folder: Path) -> None:
    former = _beside(folder, "former")
    if folder.is_dir():
        shutil.rmtree(former, ignore_errors=True)
    elif former.is_dir():
        os.replace(former, folder)


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _sweep_folders(folder: Path) -> None:
    sweep_folders(folder.parent, f".{folder.name}.*.part")


def sweep_folders(parent: Path, pattern: str = ".*.part") -> None:
    """Remove folders right in `parent` that killed writers left, an hour ago or more."""
    for part in parent.glob(pattern):
        with suppress(OSError):  # Another one is at the same.
            if part.is_dir() and time.time() - part.stat().st_mtime > _LEFT_AFTER_S:
                shutil.rmtree(part, ignore_errors=True)


def used_at(path: Path) -> float:
    """When a file or folder was touched last, in seconds since 1970; 0: it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # Another process sweeps too.
        return 0.0


def size_bytes(folder: Path) -> int:
    """What all files below a folder take, those left out that go meanwhile."""
    taken = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            taken += file.stat().st_size if file.is_file() else 0
    return taken


def sweep_parts(folder: Path) -> None:
    """Remove what killed writers left below a folder that no process is writing to."""
    for part in folder.rglob(".*.part"):
        if part.is_file():
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
