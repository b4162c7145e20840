"""Where data sets, corrections, runs and pulled models live on disk."""

import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from autoseg.config import SearchConfig
from autoseg.corrected_data import (
    Manifest,
    Source,
    build_corrected,
    mapping_in,
    read_manifest,
    splits_in,
)
from autoseg.corrections import Correction, Corrections, NewCorrection, same_image
from autoseg.data.dataset import Progress
from autoseg.data.formats import find_samples
from autoseg.errors import RunError, RunLockedError
from autoseg.files import sweep_folders, telling_full_disk
from autoseg.pulled_models import PulledModels
from autoseg.search.run_folder import RunFolder
from autoseg.search_process import spawn, starting
from autoseg.stored_datasets import SAMPLE_NAME, StoredDataset
from autoseg.stored_runs import StoredRuns
from autoseg.text import clean_name

if TYPE_CHECKING:
    from autoseg.outlook import Outlook
    from autoseg.pipeline import SearchResult
    from autoseg.taking import OnProgress

__all__ = ["SAMPLE_NAME", "StoredDataset", "Workspace"]

UNUSED_AFTER_S = 3600.0
"""A data set with corrections that no run was made from is kept that long, in seconds."""


class Workspace(StoredRuns):
    """Data sets in `datasets/`, their corrections in `corrections/`, runs in `runs/`, models
    pulled from the Hub in `models/`.
    """

    # Corrections.

    def corrections(self, dataset_name: str) -> Corrections:
        """Corrected masks of a data set; those of a corrected one are those of what it came from.

        Raises:
            DatasetError: There is no such data set.
        """
        return Corrections(self.folder / "corrections" / self._corrected_base(dataset_name)[0].name)

    def add_correction(self, dataset_name: str, new: NewCorrection) -> Correction:
        """Keep a corrected pair of a data set.

        An image that the data set holds is told by its file, so a picture of the test split that
        was uploaded is never learnt from while it is judged on.

        Raises:
            DatasetError: The mask does not fit the image, or its classes those of others.
        """
        base, manifest = self._corrected_base(dataset_name)
        if manifest is not None and new.original in manifest.samples:
            origin = manifest.samples[new.original]
            new = replace(new, original=origin.original, name=origin.correction or new.name)
        samples = {sample.name: sample for sample in find_samples(base.source).samples}
        if new.original:
            sample = samples.get(new.original)
        else:
            sample = same_image(samples.values(), new.image_path)
        if sample is None:
            pair = replace(new, original=None)
        else:
            pair = replace(new, original=sample.name, image_path=sample.image_path)
        with telling_full_disk(self.folder):
            return self.corrections(base.name).add(pair)

    def waiting_corrections(self, run: RunFolder) -> tuple[Correction, ...]:
        """Corrections of a run's data set that its model has not learnt.

        Raises:
            DatasetError: The data set is gone.
        """
        kept = self.corrections(self.dataset_of(run).name).all()
        source = self.source_of(run)
        manifest = read_manifest(source) if source else None
        return manifest.lacking(kept) if manifest else kept

    def with_corrections(
        self,
        dataset_name: str,
        splits_of: RunFolder | None = None,
        on_progress: Progress | None = None,
    ) -> StoredDataset:
        """A data set of its own, made of another and its corrections.

        Args:
            dataset_name: The data set, or an earlier one of these.
            splits_of: Run whose splits stay as they are, corrected images aside: they are learnt
                from; None: the splits of the folders, if any.
            on_progress: Called with (images done, all images).

        Raises:
            DatasetError: There are no corrections, or their classes are not the data set's.
            RunError: It is not known how the run divided the data set.
        """
        base, manifest = self._corrected_base(dataset_name)
        corrections = self.corrections(base.name)
        source = Source(
            base=base.name,
            folder=base.source,
            corrections=corrections,
            splits=splits_in(splits_of) if splits_of is not None else None,
            mapping=mapping_in(splits_of) if splits_of else manifest.mapping if manifest else {},
        )
        aside = corrections.folder / ".build"
        with ExitStack() as held:
            held.enter_context(telling_full_disk(self.folder))
            corrections.folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(corrections.folder / ".build.lock"))  # Two tabs may ask.
            former = self._corrected_from(base)
            built = build_corrected(source, aside, [d.source for d in former], on_progress)
            if built != aside:
                return next(dataset for dataset in former if dataset.source == built)
            self._forget_unused(former)
            name = self._free_dataset_name(clean_name(f"{base.name}-corrected"))
            return self._move_in(aside, name)

    def _corrected_from(self, base: StoredDataset) -> list[StoredDataset]:
        """Data sets that were made of another and its corrections."""
        manifests = [(dataset, read_manifest(dataset.source)) for dataset in self.datasets()]
        return [
            d for d, manifest in manifests if d.owned and manifest and manifest.base == base.name
        ]

    def _forget_unused(self, datasets: list[StoredDataset]) -> None:
        """Delete steps on the way that no run was made from.

        A run says what it searches in once it has read it, so new ones stay in any case.
        """
        used = {self.source_of(run) for run in self.runs()}
        for dataset in datasets:
            is_old = time.time() - dataset.source.stat().st_mtime > UNUSED_AFTER_S
            if is_old and dataset.source not in used and None not in used:
                self.delete_dataset(dataset.name)

    def _corrected_base(self, dataset_name: str) -> tuple[StoredDataset, Manifest | None]:
        """The data set that corrections belong to, and how the named one was made of it."""
        dataset = self.dataset(dataset_name)
        manifest = read_manifest(dataset.source)
        for other in self.datasets():
            if manifest is not None and other.name == manifest.base:
                return other, manifest
        return dataset, None

    def delete_dataset(self, name: str) -> None:
        """Forget a data set, and delete its files if they lie in the workspace.

        Raises:
            DatasetError: There is none.
            RunLockedError: A run that another process uses was made from it.
        """
        source = self.dataset(name).source
        for run in self.runs():
            if self.is_busy(run) and self.source_of(run) == source:
                raise RunLockedError(
                    f"{name} is in use by {run.name}: a search, or a model being made of one. Wait "
                    f"for it, or stop the search first."
                )
        super().delete_dataset(name)

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

        While another search has the device, it waits its turn.

        Args:
            source: Folder or zip.
            config: What to search.
            name: Name of the run; an interrupted or paused one goes on. None: a new run.

        Raises:
            RunLockedError: Another process uses the run already.
            RunError: The run is finished.
            DiskFullError: There is no room for the run's records.
        """
        run = self.run(name) if name else self._new_run(source)
        try:
            with telling_full_disk(self.folder):
                with run.locked():
                    run.clear_requests()
                    run.note_request(config, source)
                    run.write_state(starting(run, config))
                spawn(source, config, run, home=self.folder)
        except RunLockedError:
            raise  # It is somebody else's.
        except BaseException:
            if name is None:  # Nothing half-made is left to take up the name.
                shutil.rmtree(run.path, ignore_errors=True)
            raise
        return run

    def continue_training(
        self,
        run: RunFolder,
        budget_s: float,
        device: str = "auto",
        on_progress: Progress | None = None,
    ) -> RunFolder:
        """Train a finished run's model on, with the corrections of its data set, as a new run.

        The data set with its corrections is made first, which takes some seconds; the training is
        a process of its own, as in `start_search`.

        Args:
            run: Whose model; its splits stay as they are.
            budget_s: Wall-clock time of the new run, in seconds.
            device: torch device, or "auto".
            on_progress: Called with (images done, all images) of the data set.

        Raises:
            BudgetError: There would be no time to train.
            DatasetError: The data set is gone, or the corrections are of other classes.
            RunError: The run has no model yet.
        """
        info = run.info()
        if info is None or not run.model.is_dir():
            raise RunError(f"{run.name} has no model yet, so there is nothing to train on.")
        dataset = self.dataset_of(run)
        expected = self.training_outlook(run)
        if expected is not None:
            expected.refuse_less(budget_s)
        config = SearchConfig(
            budget_s=budget_s,
            seed=info.config.seed,
            device=device,
            mapping=info.config.mapping,
            colors=info.config.colors,
            start_from=str(run.model.resolve()),
        )
        if len(self.corrections(dataset.name)):
            dataset = self.with_corrections(dataset.name, run, on_progress)
            config = replace(config, mapping=())  # Its masks hold class indices.
        return self.start_search(dataset.source, config)

    def training_outlook(self, run: RunFolder) -> "Outlook | None":
        """What training a run's model on will cost; None where its records do not say.

        Raises:
            DatasetError: The data set is gone.
        """
        from autoseg.outlook import outlook  # noqa: PLC0415 - torch, optuna

        return outlook(run, len(self.waiting_corrections(run)))

    def take_trial(
        self,
        run: RunFolder,
        number: int,
        out: str | Path | None = None,
        *,
        data: str | Path | None = None,
        device: str | None = None,
        on_progress: "OnProgress" = lambda phase, done, total: None,
    ) -> "SearchResult":
        """Make a model of a trial of a run that is done, in a run of its own; see `take_trial`.

        Args:
            run: The run.
            number: The trial.
            out: Name or folder of the new run; None: named after the run and the trial.
            data: Where the run's data set is now, a folder, zip or "hf://owner/name"; None: where
                it was.
            device: torch device, or "auto"; None: as the search had it.
            on_progress: Told how far it is.

        Raises:
            AutosegError: It cannot be made; see `taking.take_trial`.
        """
        from autoseg.taking import take_trial  # noqa: PLC0415 - torch, optuna

        sweep_folders(self._runs)
        new = self.run(out if out is not None else f"{run.name}-trial-{number}")
        return take_trial(run, number, new, data=data, device=device, on_progress=on_progress)

    def stop_search(self, run: RunFolder) -> None:
        """Ask a search to finish now with the best so far.

        Raises:
            RunError: No search is at work on the run.
        """
        self._want_live(run, "stop")
        with telling_full_disk(self.folder):
            run.request_stop()

    def pause_search(self, run: RunFolder) -> None:
        """Ask a search to leave at once and keep everything; `start_search` with its name goes on.

        Raises:
            RunError: No search is at work on the run.
        """
        self._want_live(run, "pause")
        with telling_full_disk(self.folder):
            run.request_pause()

    def _want_live(self, run: RunFolder, what: str) -> None:
        state = run.state()
        if state is None or not state.is_live:
            raise RunError(f"{run.name} is not being searched, so there is nothing to {what}.")
