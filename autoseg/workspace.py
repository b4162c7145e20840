"""Where data sets, runs and pulled models live on disk."""

import itertools
import os
import re
import shutil
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.config import SearchConfig, read_json
from autoseg.data.dataset import Progress
from autoseg.data.formats import find_samples
from autoseg.data.packed import is_packed, locate, unpack
from autoseg.data.sample import make_sample_dataset
from autoseg.errors import ConfigError, DatasetError, RunError, RunLockedError
from autoseg.files import autoseg_home, write_json
from autoseg.hub.origins import is_hub_dataset, origin_of
from autoseg.pulled_models import PulledModels
from autoseg.search.run_folder import RunFolder
from autoseg.search_process import spawn, starting
from autoseg.sources import local_source

if TYPE_CHECKING:
    from autoseg.hub.connection import Connection

SAMPLE_NAME = "sample"
"""Name of the generated data set."""

MAX_NAME_LENGTH = 64
"""Most characters in the name of a data set or a run."""


def clean_name(text: str) -> str:
    """The nearest name that is safe as a folder: letters, digits, dot, dash and underscore.

    Raises:
        ConfigError: Nothing is left of it.
    """
    words = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", text))
    name = words[:MAX_NAME_LENGTH].strip(".-")
    if not name:
        raise ConfigError(f"{text!r} is no name. Use letters, digits, dots, dashes, underscores.")
    return name


@dataclass(frozen=True)
class StoredDataset:
    """A data set of the workspace."""

    name: str
    source: Path
    """Its folder."""
    owned: bool
    """Whether the files lie in the workspace, or elsewhere and are only referred to."""


class Workspace:
    """Data sets in `datasets/` (what was last seen of them in `checks/`), runs in `runs/`, models
    pulled from the Hub in `models/`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or autoseg_home()).resolve()

    # Data sets.

    @property
    def _datasets(self) -> Path:
        return self.folder / "datasets"

    def datasets(self) -> list[StoredDataset]:
        """All data sets by name; those whose folder is gone are left out."""
        found = []
        for path in self._datasets.glob("[!.]*"):
            if path.is_dir():
                found.append(StoredDataset(path.name, path, owned=True))
            elif path.suffix == ".json":
                source = Path(str(read_json(path).get("source")))
                if source.is_dir():
                    found.append(StoredDataset(path.stem, source, owned=False))
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

    def add_dataset(self, source: Path, name: str | None = None) -> StoredDataset:
        """Take in a zip or parquet files (unpacked into the workspace) or a folder (referred to
        where it is).

        A name that is taken gets a number. What holds no pairs of images and masks is refused
        and leaves nothing behind.

        Raises:
            DatasetError: Neither a zip nor a folder, or nothing usable in it.
        """
        source = source.expanduser().resolve()
        place = locate(source)
        if not place.exists():
            raise DatasetError(f"{place} does not exist.")
        if place.is_dir() and not is_packed(source):
            return self._refer(place, name or place.stem)
        name = self._free_dataset_name(clean_name(name or place.stem))
        aside = self._aside()
        try:
            unpacked = unpack(source, aside / "files")
            find_samples(unpacked)
            return self._move_in(unpacked, name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

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
        return self._refer(folder, _name_of(folder))

    def _refer(self, folder: Path, name: str) -> StoredDataset:
        find_samples(folder)
        name = self._free_dataset_name(clean_name(name))
        reference = {"format_version": 1, "source": str(folder)}
        write_json(self._datasets / f"{name}.json", reference)
        return StoredDataset(name, folder, owned=False)

    def add_sample(self) -> StoredDataset:
        """The generated data set, made on the first call."""
        for dataset in self.datasets():
            if dataset.name == SAMPLE_NAME:
                return dataset
        aside = self._aside()
        try:
            return self._move_in(make_sample_dataset(aside / SAMPLE_NAME), SAMPLE_NAME)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def delete_dataset(self, name: str) -> None:
        """Forget a data set, and delete its files if they lie in the workspace.

        Raises:
            RunLockedError: A search is using it.
        """
        dataset = self.dataset(name)
        for run in self.runs():
            if self.is_busy(run) and self.source_of(run) == dataset.source:
                raise RunLockedError(f"{run.name} is searching in {name}. Stop it first.")
        if dataset.owned:
            shutil.rmtree(dataset.source)
        else:
            (self._datasets / f"{name}.json").unlink(missing_ok=True)
        shutil.rmtree(self.check_folder(name), ignore_errors=True)

    def check_folder(self, name: str) -> Path:
        """Where the page keeps what it showed of a data set: verdict and previews."""
        return self.folder / "checks" / clean_name(name)

    def _free_dataset_name(self, name: str) -> str:
        files = self._datasets.glob("*")
        taken = {path.stem if path.suffix == ".json" else path.name for path in files}
        names = itertools.chain([name], (f"{name}-{k}" for k in itertools.count(2)))
        return next(name for name in names if name not in taken)

    def _aside(self) -> Path:
        """A new folder of the same file system, for what is not whole yet."""
        aside = self.folder / f".incoming-{uuid.uuid4().hex}"
        aside.mkdir(parents=True)
        return aside

    def _move_in(self, folder: Path, name: str) -> StoredDataset:
        self._datasets.mkdir(parents=True, exist_ok=True)
        target = self._datasets / name
        os.replace(folder, target)
        return StoredDataset(name, target, owned=True)

    # Runs.

    @property
    def _runs(self) -> Path:
        return self.folder / "runs"

    def runs(self) -> list[RunFolder]:
        """All runs, the newest first."""
        started = {
            path: _started_at(path)
            for path in self._runs.glob("[!.]*")
            if (path / "search.json").is_file() or (path / "state.json").is_file()
        }
        return [RunFolder(path) for path in sorted(started, key=started.__getitem__, reverse=True)]

    def named_run(self, name: str) -> RunFolder:
        """The run of that name, inside the workspace.

        Raises:
            RunError: There is none.
        """
        for run in self.runs():
            if run.name == name:
                return run
        known = ", ".join(run.name for run in self.runs()) or "none yet"
        raise RunError(f"There is no run {name!r}. There are: {known}.")

    def run(self, name_or_folder: str | Path) -> RunFolder:
        """A run by name or by folder, whether it exists or not.

        A text with a slash, and any `Path`, is a folder; any other text is a name.

        Raises:
            RunError: The text can be neither.
        """
        text = str(name_or_folder)
        if isinstance(name_or_folder, Path) or "/" in text or os.sep in text or text[:1] in ".~":
            return RunFolder(Path(text).expanduser().resolve())
        if text != clean_name(text):
            raise RunError(f"{text!r} is no name for a run; {clean_name(text)!r} would be one.")
        return RunFolder(self._runs / text)

    def name_run(self, source: Path, config: SearchConfig) -> Path:
        """Folder for a search: that of the newest interrupted run with the same source and
        configuration, so that the same command resumes, else a new one.
        """
        source = source.expanduser().resolve()
        for run in self.runs():
            if self.source_of(run) == source and self._is_interrupted(run):
                info = run.info()
                if info is not None and info.config == config:
                    return run.path
        names = {dataset.source: dataset.name for dataset in self.datasets()}
        base = names.get(source) or clean_name(_name_of(source))
        taken = {path.name for path in self._runs.glob("*")}
        number = next(k for k in itertools.count(1) if f"{base}-{k}" not in taken)
        return self._runs / f"{base}-{number}"

    def source_of(self, run: RunFolder) -> Path | None:
        """Folder or zip that a run searches in; None where its records do not say."""
        try:
            info = run.info()
        except RunError:
            return None
        return Path(info.source).expanduser().resolve() if info else None

    def is_busy(self, run: RunFolder) -> bool:
        """Whether a process holds the run at this moment."""
        if not run.path.is_dir():
            return False
        try:
            with run.locked():
                return False
        except RunLockedError:
            return True

    def _is_interrupted(self, run: RunFolder) -> bool:
        """Also right after a kill, when the last record is too fresh to look stale, and after an
        error that came when there were trials to go on from.
        """
        state = run.state()
        if state is None or state.status == "done":
            return False
        if state.status == "failed" and not run.trials():
            return False
        return not self.is_busy(run)

    def rename_run(self, run: RunFolder, name: str) -> RunFolder:
        """Give a run another name.

        Raises:
            RunError: The name is taken, or the run is being searched.
        """
        target = self._runs / clean_name(name)
        if target.exists():
            raise RunError(f"There is a run {target.name!r} already. Choose another name.")
        self._refuse_if_busy(run)
        os.replace(run.path, target)
        return RunFolder(target)

    def delete_run(self, run: RunFolder) -> None:
        """Delete a run with its model and report.

        Raises:
            RunLockedError: It is being searched.
        """
        self._refuse_if_busy(run)
        shutil.rmtree(run.path)

    def _refuse_if_busy(self, run: RunFolder) -> None:
        if self.is_busy(run):
            raise RunLockedError(f"{run.name} is being searched. Stop it first.")

    # Models.

    @property
    def pulled(self) -> PulledModels:
        """Models from the Hub."""
        return PulledModels(self.folder / "models")

    def model_source(self, text: str) -> str | Path:
        """The folder of the run of that name; any other text as it is, a path or a repository."""
        run = self._runs / text
        if not Path(text).expanduser().exists() and "/" not in text and run.is_dir():
            return run
        return text

    # Searching.

    def start_search(
        self, source: Path, config: SearchConfig, name: str | None = None
    ) -> RunFolder:
        """Start a search in a process of its own, which outlives this one, and return at once.

        Args:
            source: Folder or zip.
            config: What to search.
            name: Name of the run; None: `name_run`. An interrupted run goes on.

        Raises:
            RunLockedError: The run is being searched already.
            RunError: The run is finished.
        """
        run = self.run(name) if name else RunFolder(self.name_run(source, config))
        with run.locked():
            run.clear_stop()
            run.write_state(starting(run, config))
        spawn(source, config, run, home=self.folder)
        return run

    def stop_search(self, run: RunFolder) -> None:
        """Ask a search to finish now with the best so far."""
        run.request_stop()


def _started_at(path: Path) -> float:
    """Unix time of a run's first record, in seconds."""
    files = [path / "search.json", path / "state.json"]
    return min(file.stat().st_mtime for file in files if file.is_file())


def _name_of(source: Path) -> str:
    """A name for a source: that of its repository, where it is of the Hub."""
    origin = origin_of(source)
    return origin.repo_id.rpartition("/")[2] if origin else locate(source).stem
