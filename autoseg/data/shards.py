"""The only home of pyarrow: parquet files -> rows of encoded pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.errors import DatasetError

MAX_ROW_GROUP_BYTES = 4 * 2**30
"""Largest part of a file that is read at once: a row group's images or masks."""

_ROWS_AT_ONCE = 8
_BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class Cell:
    """An encoded picture of a table."""

    data: bytes
    """The file's content, never empty."""
    name: str
    """File name that came with it, or nothing."""


class Shard:
    """An open parquet file."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file

    @property
    def column_names(self) -> list[str]:
        """All columns."""
        return list(self._file.schema_arrow.names)

    @property
    def picture_columns(self) -> list[str]:
        """Columns that can hold encoded pictures: bytes, or a struct with a field `bytes`."""
        names = []
        for column in self._file.schema_arrow:
            kind = column.type
            if str(kind).startswith("struct"):
                fields = [kind.field(place) for place in range(kind.num_fields)]
                kind = next((field.type for field in fields if field.name == "bytes"), "")
            if str(kind) in ("binary", "large_binary", "binary_view"):
                names.append(column.name)
        return names

    def unpacked_bytes(self) -> int:
        """Bytes of all columns before compression, as the file's own records have it.

        Raises:
            DatasetError: A row group is too large for memory.
        """
        records = self._file.metadata
        sizes = [records.row_group(k).total_byte_size for k in range(records.num_row_groups)]
        largest = max(sizes, default=0)
        if largest > MAX_ROW_GROUP_BYTES:
            raise DatasetError(
                f"{self.path.name} has a row group of {largest:,} bytes; at most "
                f"{MAX_ROW_GROUP_BYTES:,} are read at once. Write it with smaller ones."
            )
        return sum(sizes)

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Cell | None]]:
        """Pictures of each row by column; None where a cell is empty or the column is missing.

        Raises:
            DatasetError: The file is damaged, or only names the files of pictures.
        """
        known = set(self.picture_columns)
        names = [name for name in columns if name in known]
        batches = self._file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False)
        for batch in batches:
            for row in batch.to_pylist():
                yield {name: self._cell(row.get(name)) for name in columns}

    def _cell(self, value: Any) -> Cell | None:
        data, name = value, ""
        if isinstance(value, dict):
            data, name = value.get("bytes"), str(value.get("path") or "")
        if data is None and name:
            raise DatasetError(
                f"{self.path.name} holds names of files such as {name!r}, not the pictures "
                f"themselves."
            )
        return Cell(data, name) if data else None


@contextmanager
def opened(path: Path) -> Iterator[Shard]:
    """Open a parquet file; pyarrow's errors inside the block become ours.

    Raises:
        DatasetError: pyarrow is missing, or the file is damaged.
    """
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - the extra "parquet" only
    except ImportError as error:
        raise DatasetError(
            "Reading parquet files needs pyarrow: pip install 'autoseg-search[parquet]'."
        ) from error
    try:
        # Without read-ahead a row group takes two thirds of the memory.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            yield Shard(path, file)
    except (ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # Of the disk, not of pyarrow.
        raise DatasetError(
            f"{path.name} cannot be read as parquet ({str(error).splitlines()[0]}). Replace it by "
            f"an intact copy."
        ) from error
