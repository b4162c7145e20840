"""Files that are either whole or not there: written aside, flushed, renamed."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def autoseg_home() -> Path:
    """Folder of data sets, runs and caches: `AUTOSEG_HOME`, else `~/.autoseg`."""
    return Path(os.environ.get("AUTOSEG_HOME") or "~/.autoseg").expanduser().absolute()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed and renamed to `path`.

    A process killed inside leaves `path` as it was. On an exception (a full disk, say) the
    temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
