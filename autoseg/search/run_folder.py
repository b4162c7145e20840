"""A run on disk: the only thing that search and app share."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from filelock import FileLock, Timeout

from autoseg.config import FORMAT_VERSION, Recipe, SearchConfig, from_dict, read_json, to_dict
from autoseg.errors import ConfigError, RunError, RunLockedError, RunVersionError, UnknownFieldError
from autoseg.files import is_disk_full, write_json

Status = Literal["queued", "running", "paused", "interrupted", "done", "failed"]
Phase = Literal[
    "checking data", "preparing data", "calibrating", "searching", "final training",
    "training folds", "evaluating", "finished",
]  # fmt: skip
TrialStatus = Literal["running", "complete", "pruned", "failed", "set aside"]
Record = TypeVar("Record")
STALE_AFTER_S = 30.0
"""A running search writes its state at least this often, in seconds, or it is gone."""


@dataclass(frozen=True)
class RunInfo:
    """What a run searches; written once, at its start (`search.json`)."""

    config: SearchConfig
    """What the user asked."""
    source: str
    """Data set as given: folder or zip."""
    data_fingerprint: str
    """Content of the data set; a resumed run must find the same. Empty until it has been read."""
    versions: dict[str, str]
    """Versions of autoseg and the libraries that decide the result."""
    format_version: int = FORMAT_VERSION
    """Format of the run's folder."""


@dataclass(frozen=True)
class RunState:
    """Where a run stands; rewritten as it goes (`state.json`)."""

    status: Status
    phase: Phase
    budget_s: float
    elapsed_s: float
    """Wall-clock time used, all attempts together, in seconds."""
    updated_at: float
    """Unix time of this record, in seconds."""
    pid: int
    message: str = ""
    """One sentence for the user."""
    error: str = ""
    """Text of the error that ended the run."""
    best_trial: int | None = None
    best_score: float | None = None
    """Best validation score so far (macro-imagewise IoU), in [0, 1]."""
    progress: float = 0.0
    """Share of the present phase that is done, in [0, 1]."""
    waits_for: str = ""
    """Name of the run that has the device, while this one is queued."""

    @property
    def is_live(self) -> bool:
        """Whether a process is still working on the run."""
        return self.is_at_work and time.time() - self.updated_at < STALE_AFTER_S

    @property
    def is_at_work(self) -> bool:
        """Whether the record says that a process works on the run or waits for its device."""
        return self.status in ("running", "queued")


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation on the validation split."""

    epochs: float
    """Windows seen per training image."""
    seconds: float
    """Since the trial's start, in seconds."""
    train_loss: float | None
    score: float
    """macro-imagewise IoU on the validation split, in [0, 1]."""
    phase: str = "fine-tuning"
    """"decoder", "fine-tuning" or "final"."""
    at_s: float | None = None
    """Time of the run when it was known, in seconds of its budget."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the leaderboard shows it (`trials/<n>/trial.json`)."""

    number: int
    status: TrialStatus
    recipe: Recipe
    origin: str
    """Where the recipe came from: "default", "earlier run", "portfolio", "sampler"."""
    curve: tuple[CurvePoint, ...] = ()
    score: float | None = None
    """Score of its weights; while it runs, the best of its curve."""
    seconds: float = 0.0
    reason: str = ""
    """Why the trial ended, for people."""
    images_per_s: float | None = None
    peak_memory_bytes: int | None = None
    parameters: int | None = None
    latency_ms: float | None = None
    """Time of one image through its network on this machine, at working size, in milliseconds."""
    tags: tuple[str, ...] = field(default=())
    """E.g. "winner"."""
    from_run: str | None = None
    """Name of the earlier run that the recipe won; None: it comes from none."""
    speedup: float | None = None
    """Time of a step of its final training before the network was compiled over that after; at most
    1: it went on without, 0: it could not be compiled; None: nobody tried."""
    note: str = ""
    """What else is to be known of it, one sentence."""


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of one run."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the run: that of its folder."""
        return self.path.name

    @property
    def model(self) -> Path:
        """The bundle: there once the run is done."""
        return self.path / "model"

    @property
    def live(self) -> Path:
        """Pictures of what the best trial so far makes of validation images."""
        return self.path / "live"

    @property
    def report(self) -> Path:
        """The evaluation."""
        return self.path / "report"

    @property
    def log(self) -> Path:
        """What a search started by the app printed."""
        return self.path / "log.txt"

    @property
    def study(self) -> Path:
        """Optuna's journal."""
        return self.path / "study.journal"

    def trial(self, number: int) -> Path:
        """Folder of one trial."""
        return self.path / "trials" / str(number)

    def weights(self, number: int) -> Path:
        """Weights of one trial, in float32: there while it may win, and for good if it is on the
        Pareto front.
        """
        return self.trial(number) / "weights.safetensors"

    # Reading: every function returns None for what is not written yet.

    def exists(self) -> bool:
        """Whether this folder is a run."""
        return (self.path / "search.json").is_file()

    def info(self) -> RunInfo | None:
        """What the run searches.

        Raises:
            RunVersionError: Another version's format.
            RunError: The record is damaged.
        """
        file = self.path / "search.json"
        if not file.is_file():
            return None
        values = self._read(file)
        found = values.get("format_version") if isinstance(values, dict) else None
        if found != FORMAT_VERSION:
            raise RunVersionError(
                f"{file} has format version {found}, but this autoseg reads {FORMAT_VERSION}. "
                f"Use the autoseg that wrote it, or start a new run under another name."
            )
        return self._parse(RunInfo, values, file)

    def state(self) -> RunState | None:
        """Where the run stands; without a live process it is "interrupted", not at work."""
        file = self.path / "state.json"
        if not file.is_file():
            return None
        state = self._parse(RunState, self._read(file), file)
        if state.is_at_work and not state.is_live:
            return replace(
                state, status="interrupted", message="The search was interrupted.", waits_for=""
            )
        return state

    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials so far, by number."""
        files = (self.path / "trials").glob("*/trial.json")
        numbered = [file for file in files if file.parent.name.isdecimal()]
        ordered = sorted(numbered, key=lambda file: int(file.parent.name))
        return tuple(self._parse(TrialRecord, self._read(file), file) for file in ordered)

    def trial_record(self, number: int) -> TrialRecord | None:
        """One trial."""
        file = self.trial(number) / "trial.json"
        return self._parse(TrialRecord, self._read(file), file) if file.is_file() else None

    def json(self, name: str) -> Any:
        """Content of one of the run's other records, by its path in the folder.

        They are `verdict.json`, `splits.json`, `plan.json`, `report/report.json`, and of what only
        shows how the search goes: `importances.json`, `resources.json`, `live/live.json`.
        """
        file = self.path / name
        return self._read(file) if file.is_file() else None

    def _read(self, file: Path) -> Any:
        try:
            return read_json(file)
        except ConfigError as error:
            raise RunError(f"The run's folder is damaged: {error}") from error

    def _parse(self, cls: type[Record], values: Any, file: Path) -> Record:
        try:
            return from_dict(cls, values, str(file))
        except UnknownFieldError as error:
            raise RunVersionError(
                f"{self.name} was made by another version of autoseg, probably a newer one "
                f"({error}) Use that version, or start a new run."
            ) from error
        except ConfigError as error:
            raise RunError(f"The run's folder is damaged: {error}") from error

    # Writing: for the search alone, under `locked()`.

    def write_info(self, info: RunInfo) -> None:
        """Record what the run searches."""
        write_json(self.path / "search.json", to_dict(info))

    def note_request(self, config: SearchConfig, source: Path) -> None:
        """Record what is asked of a run that has not read its data yet.

        Whoever goes on with it needs it, and so does who asks which data set is in use.
        """
        info = self.info()
        if info is None or not info.data_fingerprint:
            self.write_info(RunInfo(config, str(source.expanduser().absolute()), "", {}))

    def write_state(self, state: RunState) -> None:
        """Record where the run stands."""
        write_json(self.path / "state.json", to_dict(state))

    def write_trial(self, record: TrialRecord) -> None:
        """Record one trial."""
        write_json(self.trial(record.number) / "trial.json", to_dict(record))

    def is_held(self) -> bool:
        """Whether a process holds the run at this moment."""
        if not self.path.is_dir():
            return False
        try:
            with self.locked():
                return False
        except RunLockedError:
            return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go when the process ends, however.

        Raises:
            RunLockedError: Another process holds it.
            RunError: The folder cannot be made, or takes no files.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if is_disk_full(error):
                raise
            raise RunError(
                f"The run's folder {self.path} cannot be made: {error.strerror}. Choose another "
                f"with --run, or another place for all runs with AUTOSEG_HOME."
            ) from error
        lock = FileLock(self.path / "run.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            holder = ""
            with contextlib.suppress(RunError):  # Damaged: then it goes without the name.
                if (state := self.state()) and state.is_live:
                    holder = f" (process {state.pid})"
            raise RunLockedError(
                f"{self.path} is in use by another process{holder}: a search, or a model being "
                f"made of it. Wait for it, stop the search, or choose another run name."
            ) from error
        except OSError as error:
            if is_disk_full(error):
                raise
            raise RunError(
                f"The run's folder {self.path} cannot be written: {error.strerror or error}. "
                f"Choose another with --run."
            ) from error
        try:
            yield
        finally:
            lock.release()

    # Stopping and pausing: anyone may ask, the search listens.

    @property
    def _stop_file(self) -> Path:
        return self.path / "stop"

    def request_stop(self) -> None:
        """Ask the search to finish now with the best so far, evaluated and bundled."""
        self._stop_file.touch()

    def stop_requested(self) -> bool:
        """Whether somebody asked to finish now."""
        return os.path.exists(self._stop_file)

    @property
    def _pause_file(self) -> Path:
        return self.path / "pause"

    def request_pause(self) -> None:
        """Ask the search to leave at once; everything is kept, and it goes on when started."""
        self._pause_file.touch()

    def pause_requested(self) -> bool:
        """Whether somebody asked to pause."""
        return os.path.exists(self._pause_file)

    def clear_requests(self, asked_before: float | None = None) -> None:
        """Forget what was asked, or only what was asked before that Unix time in seconds."""
        for file in (self._stop_file, self._pause_file):
            with contextlib.suppress(FileNotFoundError):
                if asked_before is None or file.stat().st_mtime < asked_before:
                    file.unlink()


def find_runs(folder: Path) -> list[RunFolder]:
    """All runs in a folder, the newest first; others may add and remove some meanwhile."""
    started: dict[Path, float] = {}
    for path in folder.glob("[!.]*"):
        times = [_changed_at(path / name) for name in ("search.json", "state.json")]
        if known := [time_s for time_s in times if time_s is not None]:
            started[path] = min(known)
    return [RunFolder(path) for path in sorted(started, key=started.__getitem__, reverse=True)]


def _changed_at(file: Path) -> float | None:
    """Unix time of a record, in seconds; None: there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime if stat.S_ISREG(status.st_mode) else None
