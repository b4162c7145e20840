"""Parquet files of encoded images and masks, as most data sets of the Hub are -> a folder."""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs

from autoseg.data.archives import (
    MAX_FILES,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
    SMALL_BYTES,
    check_space,
    unpacking,
)
from autoseg.data.class_files import CLASS_FILES
from autoseg.data.columns import Columns, choose_columns, wanted_columns
from autoseg.data.formats import SPLIT_WORDS
from autoseg.data.images import IMAGE_SUFFIXES, image_suffix
from autoseg.data.shards import Cell, opened
from autoseg.errors import ConfigError, DatasetError

PARQUET_SUFFIX = ".parquet"

_FEW_IMAGES = 10
"""A folder with more image files than this is one of images, whatever else lies in it."""

_ROWS_SEEN = 8

OnProgress = Callable[[int, int], None]
"""Called with the bytes done and all bytes."""


def split_columns(text: str) -> tuple[str, Columns | None]:
    """Take `?image=COLUMN&mask=COLUMN` off the end of a data set's name.

    Raises:
        ConfigError: Something else is asked after the question mark.
    """
    name, _, query = text.partition("?")
    if "=" not in query:
        return text, None
    wanted = {key: values[-1] for key, values in parse_qs(query).items()}
    if set(wanted) != {"image", "mask"}:
        raise ConfigError(
            f"{text!r} should end in ?image=COLUMN&mask=COLUMN, with both columns, but ends in "
            f"?{query}."
        )
    return name, Columns(**wanted)


def find_shards(source: Path) -> tuple[Path, ...]:
    """The parquet files of a data set, sorted; none where the folder is one of image files."""
    if source.is_file():
        return (source,) if source.suffix.lower() == PARQUET_SUFFIX else ()
    shards: list[Path] = []
    images = 0
    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix == PARQUET_SUFFIX and not name.startswith("."):
                shards.append(Path(folder, name))
            elif suffix in IMAGE_SUFFIXES:
                images += 1
                if images > _FEW_IMAGES:
                    return ()
    return tuple(sorted(shards))


def unpack_parquet(
    shards: Sequence[Path],
    root: Path,
    into: Path,
    *,
    name: str = "",
    columns: Columns | None = None,
    class_names: Mapping[str, Mapping[int, str]] | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Path:
    """Unpack images and masks into the folder `into`, whole or not at all.

    Made are `images/` and `masks/`, below `train/`, `val/` and `test/` where the shards' names say
    so, with the files as they were encoded, and the class list where there is one. Memory is
    bounded by the largest row group.

    Args:
        shards: The files, all of them below `root`.
        root: Folder of the data set.
        into: Folder to make; what it held before is replaced.
        name: What the data set is called in errors; "" takes the folder's name.
        columns: Columns of images and masks; None: from names and content.
        class_names: Names by value of the columns that have some; a class list beside the shards
            goes first.
        on_progress: Called with (bytes of shards done, all bytes).

    Raises:
        DatasetError: pyarrow is missing, a shard is damaged or too large, it cannot be told which
            columns hold images and masks, the shards are of several data sets, or the disk is
            full. Nothing is left behind.
    """
    with unpacking(root.name, into) as temporary:
        _refuse_several(shards, root)
        writer = _Writer(temporary, _limit(root.name, shards, into.parent))
        columns = _find_columns(shards, name or root.name, columns)
        _copy_class_list(shards, root, temporary, (class_names or {}).get(columns.mask))
        done, total = 0, sum(path.stat().st_size for path in shards)
        for path in shards:
            split = _split_of(path.relative_to(root))
            with opened(path) as shard:
                for row in shard.rows((columns.image, columns.mask)):
                    writer.write(split, row[columns.image], row[columns.mask])
            done += path.stat().st_size
            on_progress(done, total)
    return into


class _Writer:
    """Writes pairs as numbered files, and no more bytes than the shards can honestly hold."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._left_bytes = limit_bytes
        self._numbers: Counter[str] = Counter()

    def write(self, split: str, image: Cell | None, mask: Cell | None) -> None:
        """Write one row; half a pair leaves an empty file, for the verdict to name."""
        stem = f"{self._numbers[split]:06d}"
        self._numbers[split] += 1
        if self._numbers.total() > MAX_FILES // 2:
            raise DatasetError(
                f"There are more than {MAX_FILES // 2:,} rows. Nothing was unpacked."
            )
        whole = image is not None and mask is not None
        for role, cell in (("images", image), ("masks", mask)):
            if cell is not None:
                folder = self._folder / split / role
                folder.mkdir(parents=True, exist_ok=True)
                data = cell.data if whole else b""
                self._count(len(data))
                (folder / f"{stem}{_suffix(cell)}").write_bytes(data)

    def _count(self, n_bytes: int) -> None:
        self._left_bytes -= n_bytes
        if self._left_bytes < 0:
            raise DatasetError(
                f"The parquet files grow more than {MAX_RATIO} times or to more than "
                f"{MAX_TOTAL_BYTES:,} bytes, as files made to fill a disk do. Nothing was unpacked."
            )


def _suffix(cell: Cell) -> str:
    """By content; of a damaged picture by its name, so that the check says it is damaged."""
    named = os.path.splitext(cell.name)[1].lower()
    return image_suffix(cell.data) or (named if named in IMAGE_SUFFIXES else ".png")


def _refuse_several(shards: Sequence[Path], root: Path) -> None:
    """Refuse shards in several folders that are no splits: each is a data set of its own.

    Raises:
        DatasetError: There are several.
    """
    groups = sorted({_group_of(shard.relative_to(root)) for shard in shards})
    if len(groups) > 1:
        raise DatasetError(
            f"The parquet files are of several data sets: {', '.join(groups[:20])}. Name one of "
            f"these folders at the end of the path."
        )


def _group_of(relative: Path) -> str:
    """Folders of a shard that are no splits."""
    parts = [part for part in relative.parts[:-1] if not _splits_in(part)]
    return "/".join(parts) or "."


def _splits_in(text: str) -> set[str]:
    words = re.split(r"[^a-z]+", text.lower())
    return {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}


def _split_of(relative: Path) -> str:
    """Split by the shard's name, else by the nearest folder that says one; "" if none does."""
    for text in (relative.stem, *reversed(relative.parts[:-1])):
        found = _splits_in(text)
        if len(found) == 1:
            return found.pop()
    return ""


def _copy_class_list(
    shards: Sequence[Path], root: Path, into: Path, class_names: Mapping[int, str] | None
) -> None:
    for folder in dict.fromkeys([root, *(shard.parent for shard in shards)]):
        for name in CLASS_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, into / name)
                return
    if class_names:
        lines = [f"{value}: {name}\n" for value, name in sorted(class_names.items())]
        (into / CLASS_FILES[0]).write_text("".join(lines), encoding="utf-8")


def _limit(name: str, shards: Sequence[Path], folder: Path) -> int:
    """Most bytes that the shards may unpack to.

    Raises:
        DatasetError: A row group is too large for memory, or all of them for the disk.
    """
    needed = 0
    for path in shards:
        with opened(path) as shard:
            needed += shard.unpacked_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    free = check_space(name, needed, folder)
    packed = sum(path.stat().st_size for path in shards)
    return min(MAX_TOTAL_BYTES, max(SMALL_BYTES, MAX_RATIO * packed), free)


def _find_columns(shards: Sequence[Path], where: str, wanted: Columns | None) -> Columns:
    """Columns of the shard that is most likely to have masks: the first one of train."""
    first = min(shards, key=lambda path: "train" not in _splits_in(path.stem))
    with opened(first) as shard:
        names = shard.picture_columns
        if wanted is not None:
            return wanted_columns(wanted, names, where)
        if len(names) < 2:
            raise DatasetError(
                f"{where} needs a column of images and one of masks, each with encoded pictures "
                f"such as PNG. Of its columns ({', '.join(shard.column_names)}) these hold "
                f"pictures: {', '.join(names) or 'none'}."
            )
        rows = list(islice(shard.rows(names), _ROWS_SEEN))
    return choose_columns({name: _contents(name, rows) for name in names}, where)


def _contents(name: str, rows: Sequence[Mapping[str, Cell | None]]) -> list[bytes]:
    return [cell.data for row in rows if (cell := row[name])]
