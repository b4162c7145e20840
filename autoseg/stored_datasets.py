"""Data sets of the workspace: taken in, referred to, renamed, forgotten."""

import itertools
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.config import read_json
from autoseg.corrected_data import read_manifest
from autoseg.corrections import Corrections
from autoseg.data.dataset import Progress
from autoseg.data.formats import find_samples
from autoseg.data.packed import is_packed, locate, unpack
from autoseg.data.parquet import find_shards
from autoseg.data.sample import make_sample_dataset
from autoseg.errors import DatasetError
from autoseg.files import (
    INCOMING,
    autoseg_home,
    restore_folder,
    telling_full_disk,
    write_json,
)
from autoseg.hub.origins import is_hub_dataset, origin_of
from autoseg.sources import local_source
from autoseg.text import clean_name

if TYPE_CHECKING:
    from autoseg.hub.connection import Connection

_ORIGIN = ".origin.json"
"""In the folder of an unpacked data set: what it was unpacked from."""

SAMPLE_NAME = "sample"
"""Name of the generated data set."""


@dataclass(frozen=True)
class StoredDataset:
    """A data set of the workspace."""

    name: str
    source: Path
    """Its folder."""
    owned: bool
    """Whether the files lie in the workspace, or elsewhere and are only referred to."""


class StoredDatasets:
    """Data sets in `datasets/`, and what was last seen of them in `checks/`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or autoseg_home()).resolve()

    @property
    def _datasets(self) -> Path:
        return self.folder / "datasets"

    def datasets(self) -> list[StoredDataset]:
        """All data sets by name; those whose folder is gone are left out."""
        found = []
        for path in self._datasets.glob("[!.]*.json"):
            reference = read_json(path)
            source = self._datasets / str(reference.get("source"))
            if source.is_dir():
                owned = reference.get("owned") is True
                found.append(StoredDataset(path.stem, source, owned))
        renamed = {dataset.source for dataset in found}
        for path in self._datasets.glob("[!.]*"):
            if path.is_dir() and path not in renamed:
                found.append(StoredDataset(path.name, path, owned=True))
        return sorted(found, key=lambda dataset: dataset.name.lower())

    def dataset(self, name: str) -> StoredDataset:
        """The data set of that name.

        Raises:
            DatasetError: There is none.
        """
        datasets = self.datasets()
        for dataset in datasets:
            if dataset.name == name:
                return dataset
        known = ", ".join(dataset.name for dataset in datasets) or "none yet"
        raise DatasetError(f"There is no data set {name!r}. There are: {known}.")

    def add_dataset(
        self, source: Path, name: str | None = None, called: str | None = None
    ) -> StoredDataset:
        """Take in a zip or parquet files (unpacked into the workspace) or a folder (referred to
        where it is).

        A name that is taken gets a number. What holds no pairs of images and masks is refused
        and leaves nothing behind.

        Args:
            source: The zip, parquet files or folder.
            name: Name of the data set; None: that of the source.
            called: What errors call the source, if it came packed; None: by its file's name.

        Raises:
            DatasetError: Neither a zip nor a folder, or nothing usable in it.
            DiskFullError: There is no room for it.
        """
        source = source.expanduser().resolve()
        place = locate(source)
        if not place.exists():
            raise DatasetError(f"{place} does not exist.")
        if place.is_dir() and not is_packed(source):
            return self._refer(place, name or place.stem)
        name = self._free_dataset_name(clean_name(name or place.stem))
        with self._aside() as aside:
            unpacked = unpack(source, aside / "files")
            _refuse_unpaired(unpacked, called or place.name)
            write_json(unpacked / _ORIGIN, {"format_version": 1, **_origin(source)})
            return self._move_in(unpacked, name)

    def add_hub_dataset(
        self,
        text: str,
        *,
        revision: str | None = None,
        connection: "Connection | None" = None,
        on_download: Progress | None = None,
        use_cache: bool = True,
    ) -> StoredDataset:
        """Fetch a data set of the Hub and refer to its copy; the same commit is added once.

        Args:
            text: "owner/name" or "hf://owner/name" in any of its forms.
            revision: Branch, tag or commit; None: as the text says, else the main branch.
            connection: The Hub; None: the machine's own login.
            on_download: Called with (bytes done, all bytes).
            use_cache: Whether a copy in the cache will do where the Hub gives no answer.

        Raises:
            ConfigError: The text names no data set.
            HubError: The Hub does not give it.
            DatasetError: It holds no pairs of images and masks.
        """
        text = text.strip()
        folder = local_source(
            text if is_hub_dataset(text) else f"hf://{text}",
            revision=revision,
            connection=connection,
            on_download=on_download,
            use_cache=use_cache,
        ).resolve()
        for dataset in self.datasets():
            if dataset.source == folder:
                return dataset
        return self._refer(folder, name_of_source(folder))

    def unpacked_from(self, source: Path) -> StoredDataset | None:
        """The data set that a zip or parquet files were unpacked into; None: there is none.

        A file that changed since is another data set; one that is gone is still the same.
        """
        source = source.expanduser().resolve()
        for dataset in self.datasets():
            file = dataset.source / _ORIGIN
            if not dataset.owned or not file.is_file():
                continue
            origin = read_json(file)
            if origin.get("source") != str(source):
                continue
            if not locate(source).exists() or origin.get("files") == _origin(source)["files"]:
                return dataset
        return None

    def _refer(self, folder: Path, name: str) -> StoredDataset:
        find_samples(folder)
        name = self._free_dataset_name(clean_name(name))
        reference = {"format_version": 1, "source": str(folder)}
        with telling_full_disk(self.folder):
            write_json(self._datasets / f"{name}.json", reference)
        return StoredDataset(name, folder, owned=False)

    def add_sample(self) -> StoredDataset:
        """The generated data set, made on the first call."""
        for dataset in self.datasets():
            if dataset.name == SAMPLE_NAME:
                return dataset
        with self._aside() as aside:
            return self._move_in(make_sample_dataset(aside / SAMPLE_NAME), SAMPLE_NAME)

    def count_corrections(self, name: str) -> int:
        """How many corrected masks go with a data set when it is deleted.

        Raises:
            DatasetError: One of them is damaged.
        """
        return len(Corrections(self._own_corrections(name)))

    def _own_corrections(self, name: str) -> Path:
        return self.folder / "corrections" / name

    def delete_dataset(self, name: str) -> None:
        """Forget a data set and its corrections; delete its files if they lie in the workspace.

        Raises:
            DatasetError: There is none.
        """
        dataset = self.dataset(name)
        if dataset.owned:
            shutil.rmtree(dataset.source)
        (self._datasets / f"{name}.json").unlink(missing_ok=True)
        restore_folder(self.check_folder(name))  # Nothing may come back for another of that name.
        shutil.rmtree(self.check_folder(name), ignore_errors=True)
        shutil.rmtree(self._own_corrections(dataset.name), ignore_errors=True)

    def rename_dataset(self, name: str, new_name: str) -> StoredDataset:
        """Call a data set otherwise; its files stay where runs know them.

        Raises:
            DatasetError: There is none, the new name is taken, or another data set was made of it.
            ConfigError: The new name is none.
        """
        dataset, wanted = self.dataset(name), clean_name(new_name)
        if wanted == name:
            return dataset
        is_own = dataset.owned and dataset.source.name == wanted
        if not is_own and self._free_dataset_name(wanted) != wanted:
            raise DatasetError(f"There is a data set {wanted!r} already. Choose another name.")
        for other in self.datasets():
            manifest = read_manifest(other.source)
            if manifest is not None and manifest.base == name:
                raise DatasetError(
                    f"{other.name} was made of {name} and knows it by that name. Remove "
                    f"{other.name} first, or keep the name."
                )
        if not is_own:
            place = dataset.source.name if dataset.owned else str(dataset.source)
            reference = {"format_version": 1, "source": place, "owned": dataset.owned}
            with telling_full_disk(self.folder):
                write_json(self._datasets / f"{wanted}.json", reference)
        (self._datasets / f"{name}.json").unlink(missing_ok=True)
        restore_folder(self.check_folder(name))
        for kept in (self.folder / "checks", self.folder / "corrections"):
            if (kept / name).is_dir():
                shutil.rmtree(kept / wanted, ignore_errors=True)
                os.replace(kept / name, kept / wanted)
        return StoredDataset(wanted, dataset.source, dataset.owned)

    def check_folder(self, name: str) -> Path:
        """Where the page keeps what it showed of a data set: verdict and previews."""
        return self.folder / "checks" / clean_name(name)

    def _free_dataset_name(self, name: str) -> str:
        files = self._datasets.glob("*")
        taken = {path.stem if path.suffix == ".json" else path.name for path in files}
        names = itertools.chain([name], (f"{name}-{k}" for k in itertools.count(2)))
        return next(name for name in names if name not in taken)

    @contextmanager
    def _aside(self) -> Iterator[Path]:
        """A new folder of the same file system, for what is not whole yet; gone at the end.

        Raises:
            DiskFullError: The disk takes no more.
        """
        aside = self.folder / f"{INCOMING}{uuid.uuid4().hex}"
        try:
            with telling_full_disk(self.folder):
                aside.mkdir(parents=True)
                yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _move_in(self, folder: Path, name: str) -> StoredDataset:
        self._datasets.mkdir(parents=True, exist_ok=True)
        target = self._datasets / name
        os.replace(folder, target)
        return StoredDataset(name, target, owned=True)


def _origin(source: Path) -> dict[str, object]:
    """What tells a packed source: its path, with the columns chosen, and its files as they are."""
    place = locate(source)
    files = [path.stat() for path in find_shards(place) or (place,) if path.exists()]
    return {"source": str(source), "files": [[f.st_size, f.st_mtime_ns] for f in files]}


def _refuse_unpaired(unpacked: Path, given: str) -> None:
    """Refuse what holds no pairs, in words that name what was given and not where it lies now.

    Raises:
        DatasetError: There are no pairs.
    """
    try:
        find_samples(unpacked)
    except DatasetError as error:
        text = str(error).replace(f"{unpacked}{os.sep}", "").replace(str(unpacked), given)
        raise type(error)(text) from error


def name_of_source(source: Path) -> str:
    """A name for a source: that of its repository, where it is of the Hub."""
    origin = origin_of(source)
    return origin.repo_id.rpartition("/")[2] if origin else locate(source).stem
