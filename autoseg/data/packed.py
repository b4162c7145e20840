"""Data sets that are unpacked before they are read: zip archives and parquet files."""

import hashlib
from pathlib import Path

from autoseg.data.archives import extract_zip, only_folder
from autoseg.data.parquet import find_shards, split_columns, unpack_parquet


def locate(source: Path) -> Path:
    """The file or folder that a source names, without the columns chosen at its end."""
    return source if source.exists() else Path(split_columns(str(source))[0])


def is_packed(source: Path) -> bool:
    """Whether a source is a zip archive, a parquet file or a folder of those."""
    place = locate(source)
    if place.is_file():
        return place.suffix.lower() == ".zip" or bool(find_shards(place))
    return place.is_dir() and bool(find_shards(place))


def unpack(source: Path, into: Path) -> Path:
    """Unpack a packed source into the folder `into`, whole or not at all.

    Returns:
        `into`, or the one folder inside that holds everything.

    Raises:
        DatasetError: It cannot be unpacked; the text says why.
    """
    place = locate(source)
    shards = find_shards(place)
    if not shards:
        return extract_zip(place, into)
    columns = None if place == source else split_columns(str(source))[1]
    root = place if place.is_dir() else place.parent
    return unpack_parquet(shards, root, into, columns=columns)


def unpack_once(source: Path, workdir: Path) -> Path:
    """`unpack` into a folder of `workdir` named by the content, unless it is there already."""
    place = locate(source)
    digests = [_digest(path) for path in find_shards(place) or (place,)]
    if place != source:
        digests.append(source.name)  # The columns chosen.
    key = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    target = workdir / f"{place.stem}-{key[:12]}"
    # Unpacked whole or not at all, under a name made of its content: a resumed run finds it.
    return only_folder(target) if target.is_dir() else unpack(source, target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
