"""Runs of the workspace: listed, named, found, renamed, deleted."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from autoseg.config import SearchConfig
from autoseg.errors import DatasetError, RunError, RunLockedError
from autoseg.files import sweep_folders
from autoseg.search.run_folder import RunFolder, find_runs
from autoseg.stored_datasets import StoredDataset, StoredDatasets, name_of_source
from autoseg.text import clean_name


class StoredRuns(StoredDatasets):
    """Runs in `runs/`, beside the data sets that they search in."""

    @property
    def _runs(self) -> Path:
        return self.folder / "runs"

    def runs(self) -> list[RunFolder]:
        """All runs, the newest first."""
        return find_runs(self._runs)

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
        return next(self._free_runs(source))

    def _new_run(self, source: Path) -> RunFolder:
        """A run that nobody else has, however many start one at this moment."""
        for path in self._free_runs(source.expanduser().resolve()):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError:
                pass  # `RunFolder.locked` says why.
            return RunFolder(path)
        raise AssertionError("there is no last number")

    def _free_runs(self, source: Path) -> Iterator[Path]:
        """Folders that new runs may have, each number once."""
        names = {dataset.source: dataset.name for dataset in self.datasets()}
        base = names.get(source) or clean_name(name_of_source(source))
        for number in itertools.count(1):
            if not (self._runs / f"{base}-{number}").exists():
                yield self._runs / f"{base}-{number}"

    def dataset_of(self, run: RunFolder) -> StoredDataset:
        """The data set that a run searched in; one from elsewhere is taken in.

        Raises:
            DatasetError: It is no longer there.
        """
        known = self.known_dataset_of(run)
        if known is not None:
            return known
        source = self.source_of(run)
        if source is None:
            raise DatasetError(f"{run.name} does not say which data set it searched in.")
        return self.add_dataset(source)

    def known_dataset_of(self, run: RunFolder) -> StoredDataset | None:
        """The data set of the workspace that a run searched in, itself or still packed; None: it
        has none.
        """
        source = self.source_of(run)
        if source is None:
            return None
        for dataset in self.datasets():
            if dataset.source.resolve() == source:
                return dataset
        return self.unpacked_from(source)

    def source_of(self, run: RunFolder) -> Path | None:
        """Folder or zip that a run searches in; None where its records do not say."""
        try:
            info = run.info()
        except RunError:
            return None
        return Path(info.source).expanduser().resolve() if info else None

    def is_busy(self, run: RunFolder) -> bool:
        """Whether a process holds the run, or one was started that has not come to hold it yet.

        What was killed counts as busy until its last record is stale.
        """
        if self.is_held(run):
            return True
        try:
            state = run.state()
        except RunError:
            return False
        return state is not None and state.is_live

    def is_held(self, run: RunFolder) -> bool:
        """Whether a process holds the run's lock at this moment."""
        return run.is_held()

    def _is_interrupted(self, run: RunFolder) -> bool:
        """Also right after a kill, when the last record is too fresh to look stale, and after an
        error that came when there were trials to go on from.
        """
        state = run.state()
        if state is None or state.status == "done":
            return False
        if state.status == "failed" and not run.trials():
            return False
        return not self.is_held(run)

    def rename_run(self, run: RunFolder, name: str) -> RunFolder:
        """Give a run another name.

        Raises:
            RunError: The name is taken, or another process uses the run.
        """
        target = self._runs / clean_name(name)
        if target.exists():
            raise RunError(f"There is a run {target.name!r} already. Choose another name.")
        self._refuse_if_busy(run)
        os.replace(run.path, target)
        return RunFolder(target)

    def delete_run(self, run: RunFolder) -> None:
        """Delete a run with its model and report, and what killed writers left of others.

        Raises:
            RunLockedError: Another process uses it.
        """
        self._refuse_if_busy(run)
        shutil.rmtree(run.path)
        sweep_folders(self._runs)

    def _refuse_if_busy(self, run: RunFolder) -> None:
        if self.is_busy(run):
            raise RunLockedError(
                f"{run.name} is in use by another process: a search, or a model being made of it. "
                f"Wait for it, or stop the search first."
            )
