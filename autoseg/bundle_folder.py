"""Where a bundle is written: aside first, in its place when it is whole."""

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from autoseg.bundle_files import CONFIG_FILE
from autoseg.config import read_json
from autoseg.errors import BundleError, ConfigError


@contextmanager
def placing(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `folder` if the block ends well.

    A kill leaves the old bundle or none, and what it leaves beside is removed by the next one.

    Raises:
        BundleError: The folder holds something else than a bundle, or the disk refuses.
    """
    if folder.exists() and not _may_be_replaced(folder):
        raise BundleError(
            f"{folder} is there already and is no bundle, so it is not replaced. "
            f"Choose another folder, or empty this one."
        )
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary.mkdir()
        yield temporary
        _swap(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"The model cannot be written to {folder}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _may_be_replaced(folder: Path) -> bool:
    """Whether a folder is empty or a bundle, of whatever version."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        values = read_json(folder / CONFIG_FILE)
    except (OSError, ConfigError, RecursionError):
        return False
    return isinstance(values, dict) and "_autoseg" in values


def _sweep(folder: Path) -> None:
    """Remove what a killed save left beside the folder."""
    for pattern in ("part", "old"):
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.{pattern}"):
            shutil.rmtree(left, ignore_errors=True)


def _swap(temporary: Path, folder: Path) -> None:
    """Put a finished folder in its place; if that fails, the old one is back."""
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
    if not folder.exists():
        os.replace(temporary, folder)
        return
    os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
