"""One run from data set to bundle: who may search, what is resumed, how it ends."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.config import SearchConfig, to_dict
from autoseg.encoders import select_encoders
from autoseg.errors import AutosegError, PausedError, RunError, StoppedEarlyError
from autoseg.files import autoseg_home, is_disk_full, sweep_parts
from autoseg.finishing import FORMER_KEPT
from autoseg.search.budget import Clock
from autoseg.search.devices import turn_on
from autoseg.search.encoder_choice import check_weights_files
from autoseg.search.journal import Journal
from autoseg.search.resources import ResourceMeter
from autoseg.search.run_folder import RunFolder
from autoseg.search.stop_request import StopRequest
from autoseg.stages import Stages
from autoseg.training.hardware import choose_device, limit_threads


@dataclass(frozen=True)
class SearchResult:
    """What a finished search left on disk."""

    run: RunFolder
    """The run's folder; the bundle is in `run.model`."""
    report: dict[str, Any]
    """Scores with intervals, see `report/report.json`."""


def run_search(
    source: Path,
    config: SearchConfig,
    folder: Path,
    *,
    started_at: float | None = None,
    on_start: Callable[[StopRequest], None] = lambda _: None,
) -> SearchResult:
    """Search, train, evaluate and bundle within the budget; blocks until the bundle is there.

    A run that was interrupted or paused goes on: finished trials, the plan and the time used are
    kept. While another search has the device the run waits its turn, and no time counts.

    Args:
        source: Folder or zip of images and masks.
        config: Budget, seed and restrictions.
        folder: The run's folder.
        started_at: `time.monotonic()` from which the budget counts; None: now.
        on_start: Given the stop request once the run is held, for whoever catches Ctrl-C.

    Raises:
        DatasetError: The data set cannot be used.
        ConfigError: An argument does not hold, or the budget is too small.
        EncoderError: An encoder's name is unknown, or its weights cannot be had or used.
        RunError: The run is held by another process, of another version, or of other data; or its
            folder or `AUTOSEG_HOME` cannot be written.
        PausedError: Somebody asked the search to leave at once and to go on later.
    """
    run = RunFolder(Path(folder).expanduser().absolute())
    clock = Clock(config.budget_s)
    if started_at is not None:
        clock.started_at = started_at
    _refuse_foreign(run)
    limit_threads()
    # A wrong name or file must not cost the time of reading the data, nor leave a failed run.
    select_encoders(config.encoders)
    if not run.model.exists():  # Else it is finished, or judges a model that is trained.
        check_weights_files(config)
    try:
        with run.locked():
            finished = _check_resumable(run, source, config)
            if finished is not None:
                return finished
            # Whoever starts a search may stop it while its process is still loading.
            run.clear_requests(asked_before=time.time() - clock.elapsed())
            sweep_parts(run.path)
            run.note_request(config, source)
            stop = StopRequest(run)
            on_start(stop)
            before = run.state()
            # An attempt that got no further than preparing left nothing to go on from: a run
            # refused for its budget must not need still more for having been refused.
            if before is not None and run.json("plan.json") is not None:
                clock.spent_before_s = before.elapsed_s
            journal = Journal(run, clock, os.getpid())
            with _ending(run, journal), _turn(run, config, journal, clock, stop):
                report = Stages(source, config, run, clock, journal, stop).work()
            return SearchResult(run, report)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise RunError(_disk_full(run)) from error


def _refuse_foreign(run: RunFolder) -> None:
    """Refuse a folder of other things: a run removes from its own what it no longer needs.

    Raises:
        RunError: The folder holds files but no run.
    """
    ours = ("run.lock", "state.json", "search.json")
    if run.path.is_dir() and any(run.path.iterdir()):
        if not any((run.path / name).exists() for name in ours):
            raise RunError(
                f"{run.path} holds other files and no run. Name a folder that is empty or does "
                f"not exist yet."
            )


@contextmanager
def _turn(
    run: RunFolder, config: SearchConfig, journal: Journal, clock: Clock, stop: StopRequest
) -> Iterator[None]:
    """Have the device inside this block; the clock stands still until then.

    Raises:
        ConfigError: There is no such device.
        RunError: `AUTOSEG_HOME` takes no files.
        PausedError: Somebody asked to stop or pause before the run had its turn.
    """
    device = choose_device(config.device)

    def wait(names: Sequence[str]) -> None:
        journal.leave_if_paused()
        if stop:
            raise PausedError("The search was stopped before its turn. It can go on later.")
        clock.begin_anew()  # What loading took was no time lost.
        journal.wait_for(names)

    with ExitStack() as stack:
        with clock.standing():
            stack.enter_context(turn_on(autoseg_home(), device, run.name, wait))
        journal.begin(ResourceMeter(device))
        yield


@contextmanager
def _ending(run: RunFolder, journal: Journal) -> Iterator[None]:
    """Record how the search inside this block ends."""
    try:
        yield
    except StoppedEarlyError as error:
        journal.close("interrupted", str(error))
        raise
    except PausedError as error:
        run.clear_requests()
        journal.close("paused", str(error))
        raise
    except RunError as error:
        # The run is as it was: with the right data or arguments it still goes on.
        journal.close("interrupted", "The search did not go on.", str(error))
        raise
    except AutosegError as error:
        if is_disk_full(error):
            journal.close("interrupted", "The disk is full.", str(error))
        else:
            journal.close("failed", "The search failed.", str(error))
        raise
    except KeyboardInterrupt:
        journal.close("interrupted", "The search was interrupted; the same command goes on.")
        raise
    except BaseException as error:
        if is_disk_full(error):
            journal.close("interrupted", "The disk is full.", _disk_full(run))
        else:
            journal.close("failed", "The search failed.", f"{type(error).__name__}: {error}")
        raise
    run.clear_requests()  # One that came too late.
    report = run.json("report/report.json") or {}
    journal.close("done", FORMER_KEPT if report.get("kept_former") else "The model is ready.")
    journal.drop_weights()


def _disk_full(run: RunFolder) -> str:
    return (
        f"The disk of {run.path} is full. Free some space, then let the search go on (in a "
        f"terminal: by the same command): it does so where it stood."
    )


def _check_resumable(run: RunFolder, source: Path, config: SearchConfig) -> SearchResult | None:
    """The result of a finished run; None if there is something to do.

    Raises:
        RunError: The run asks for something else than `config`, or is a finished one of other data.
    """
    info, state = run.info(), run.state()
    if info is None or not info.data_fingerprint:
        return None
    asked, stored = to_dict(config), to_dict(info.config)
    # More time is welcome, and another machine may have another device.
    differing = [k for k in asked if asked[k] != stored[k] and k not in ("budget_s", "device")]
    if differing:
        told = ", ".join(f"{k} {stored[k]!r} instead of {asked[k]!r}" for k in differing)
        raise RunError(
            f"{run.path} is a search with {told}. Repeat it with the same options, or choose "
            f"another run name."
        )
    report = run.json("report/report.json")
    if state is not None and state.status == "done" and report and run.model.is_dir():
        if Path(info.source).resolve() != source.expanduser().resolve():
            raise RunError(
                f"{run.path} is a finished search in {info.source}, not in {source}. Choose "
                f"another run name."
            )
        return SearchResult(run, report)
    return None
