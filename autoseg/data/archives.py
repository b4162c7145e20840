"""Zip archives from anywhere -> a folder: within limits, without links, whole or not at all."""

import os
import shutil
import stat
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from autoseg.data.class_files import CLASS_FILES
from autoseg.errors import DatasetError
from autoseg.files import known_folder

MAX_TOTAL_BYTES = 64 * 2**30
"""Most bytes that an archive may unpack to."""

MAX_RATIO = 200
"""Most times an archive may grow; images hardly grow, empty masks by some ten times."""

MAX_FILES = 1_000_000
"""Most files in an archive."""

SMALL_BYTES = 64 * 2**20
"""Archives that unpack to less than this may grow by any ratio."""

_CHUNK_BYTES = 2**20


def is_junk(name: str) -> bool:
    """Whether a file or folder name is left behind by an operating system."""
    return name in ("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir") or name.startswith(".")


def extract_zip(archive: Path, into: Path) -> Path:
    """Unpack a zip into the folder `into`, whole or not at all.

    Args:
        archive: The zip file.
        into: Folder to make; what it held before is replaced.

    Returns:
        `into`, or the one folder inside that holds everything.

    Raises:
        DatasetError: No zip, damaged, encrypted, an entry that leaves the folder or links, more
            than the limits above, or a full disk. Nothing is left behind.
    """
    try:
        with unpacking(archive.name, into) as temporary, zipfile.ZipFile(archive) as opened:
            entries = _checked_entries(opened, archive)
            budget = sum(entry.file_size for entry in entries)
            check_space(archive.name, budget, temporary)
            for entry in entries:
                budget -= _extract_entry(opened, entry, temporary, budget, archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(
            f"{archive.name} cannot be unpacked ({error}). Pack the folder again as a plain zip."
        ) from error
    return only_folder(into)


def extract_zips(archives: Sequence[Path], root: Path, into: Path) -> None:
    """Unpack zips of one data set side by side into the folder `into`, whole or not at all.

    One zip is unpacked as it is. Of several each gets a folder of its name, since that may say
    what it holds: `images.zip` beside `masks.zip`, or `train.zip` beside `val.zip`; `a/b.zip` goes
    into what `a.zip` holds. Class lists that lie in `root` are copied.

    Args:
        archives: The zips, all of them below `root`.
        root: Folder of the data set.
        into: Folder to make; what it held before is replaced.

    Raises:
        DatasetError: As `extract_zip`; or two zips would be unpacked over each other.
    """
    lists = [root / name for name in CLASS_FILES if (root / name).is_file()]
    if len(archives) == 1 and not lists:
        extract_zip(archives[0], into)
        return
    with unpacking(root.name, into) as temporary:
        for archive in sorted(archives, key=lambda path: len(path.parts)):
            name = archive.relative_to(root).with_suffix("") if len(archives) > 1 else Path("data")
            if (temporary / name).exists():
                raise DatasetError(
                    f"{archive.relative_to(root)} would be unpacked over another zip of {root.name}"
                    f", which holds {name} too. Rename one of them."
                )
            extract_zip(archive, temporary / name)
        for path in lists:
            shutil.copyfile(path, temporary / path.name)


@contextmanager
def unpacking(name: str, into: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `into` if the block ends well.

    Args:
        name: What is unpacked, for errors.
        into: Folder to make; what it held before is replaced.

    Raises:
        DatasetError: The disk is full or refuses. Nothing is left behind.
    """
    temporary = into.with_name(f".{into.name}.{uuid.uuid4().hex}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if into.exists():
            shutil.rmtree(into)
        os.replace(temporary, into)
    except OSError as error:
        raise DatasetError(
            f"{name} could not be unpacked into {known_folder(into.parent)}: "
            f"{error.strerror or error}."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _checked_entries(opened: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The files worth unpacking, after every entry has passed the checks."""
    entries = opened.infolist()
    if len(entries) > MAX_FILES:
        raise DatasetError(
            f"{archive.name} holds {len(entries):,} files; at most {MAX_FILES:,} are unpacked."
        )
    total = sum(entry.file_size for entry in entries)
    packed = max(1, archive.stat().st_size)
    if total > MAX_TOTAL_BYTES or (total > SMALL_BYTES and total > MAX_RATIO * packed):
        raise DatasetError(
            f"{archive.name} would grow from {packed:,} to {total:,} bytes, which looks like a "
            f"zip bomb. At most {MAX_RATIO} times and {MAX_TOTAL_BYTES:,} bytes are unpacked; "
            f"unpack it yourself and give the folder."
        )
    kept = []
    for entry in entries:
        _check_entry(entry, archive)
        parts = PurePosixPath(entry.filename).parts
        if not entry.is_dir() and not any(is_junk(part) for part in parts):
            kept.append(entry)
    return kept


def _check_entry(entry: zipfile.ZipInfo, archive: Path) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    drive = bool(path.parts) and ":" in path.parts[0]
    if path.is_absolute() or drive or ".." in path.parts or "\0" in entry.orig_filename:
        raise DatasetError(
            f"{archive.name} holds {entry.orig_filename!r}, which points outside the archive. "
            f"Nothing was unpacked."
        )
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DatasetError(
            f"{archive.name} holds {entry.filename!r}, which is a link or a device, not a file. "
            f"Nothing was unpacked; pack the files themselves."
        )
    if entry.flag_bits & 0x1:
        raise DatasetError(f"{archive.name} is protected by a password. Pack it again without one.")


def check_space(name: str, needed_bytes: int, folder: Path) -> int:
    """Refuse what does not fit on the disk of a folder; the bytes that are free there.

    Raises:
        DatasetError: It does not fit.
    """
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise DatasetError(
            f"{name} needs {needed_bytes / 1e6:,.1f} MB unpacked, but the disk of "
            f"{known_folder(folder)} has {free / 1e6:,.1f} MB left. Free some, or unpack it "
            f"elsewhere and give the folder."
        )
    return free


def _extract_entry(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, root: Path, budget: int, archive: Path
) -> int:
    """Write one file and return its bytes; sizes in headers can lie, so the bytes count."""
    target = root.joinpath(*PurePosixPath(entry.filename.replace("\\", "/")).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise DatasetError(f"{archive.name} holds {entry.filename!r} twice.")
    written = 0
    with opened.open(entry) as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            written += len(chunk)
            if written > budget:
                raise DatasetError(
                    f"{archive.name} holds more bytes than its headers say, as zip bombs do. "
                    f"Nothing was unpacked."
                )
            file.write(chunk)
    return written


def only_folder(folder: Path) -> Path:
    """The one folder inside `folder` where that is all there is, else `folder`."""
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and not _is_role(inside[0].name):
        return inside[0]
    return folder


def _is_role(name: str) -> bool:
    return name.lower() in ("train", "images", "masks")
