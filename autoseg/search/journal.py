"""Writing a run's progress: state with a heartbeat, trials with their weights."""

import contextlib
import io
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from autoseg.checkpoint import Weights, load_weights, save_weights
from autoseg.config import Recipe
from autoseg.errors import PausedError
from autoseg.files import replacing, write_json
from autoseg.search.budget import Clock, Plan
from autoseg.search.front import kept_front
from autoseg.search.resources import ResourceMeter
from autoseg.search.run_folder import CurvePoint, Phase, RunFolder, RunState, Status, TrialRecord
from autoseg.training.trainer import Evaluation

HEARTBEAT_S = 2.0
OnResult = Callable[[int, Weights, np.ndarray], None]
KEPT_WEIGHTS = 3
"""Best trials that may win, and whose weights stay on disk for that, beside the default's."""


class Journal:
    """The run's records, written by the one process that searches.

    A heartbeat thread rewrites the state, so that a reader can tell a long step from a dead
    process and the time used survives a kill.
    """

    def __init__(self, folder: RunFolder, clock: Clock, pid: int) -> None:
        self.folder = folder
        self.clock = clock
        self.trials: dict[int, TrialRecord] = {t.number: t for t in folder.trials()}
        # Epochs and seconds of a trial's curve before the phase that this process added to it.
        self._began: dict[tuple[int, str], tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._meter: ResourceMeter | None = None
        self.on_result: OnResult = lambda number, weights, confusions: None
        """Told of weights that were scored: trial, weights, confusion matrices (n, K, K)."""
        self._closed = threading.Event()
        self._state = RunState(
            status="running",
            phase="checking data",
            budget_s=clock.budget_s,
            elapsed_s=clock.elapsed(),
            updated_at=time.time(),
            pid=pid,
        )
        self._note_best()  # Of the trials of an earlier attempt.
        self._write()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def close(self, status: Status, message: str, error: str = "") -> None:
        """Write the last state."""
        self._closed.set()
        self._thread.join()
        with self._lock:
            phase: Phase = "finished" if status == "done" else self._state.phase
            self._state = replace(
                self._state,
                status=status,
                phase=phase,
                message=message,
                error=error,
                progress=self._state.progress if status == "paused" else 1.0,
                waits_for="",
            )
            try:
                self._write()
            except OSError:
                # What went wrong is being raised already; a full disk must not hide it.
                if status == "done":
                    raise

    def wait_for(self, names: Sequence[str]) -> None:
        """Note that the run waits for its device, and for which runs, the first of which has it."""
        more = f" and {len(names) - 1} more before this one" if len(names) > 1 else ""
        waiting = replace(
            self._state,
            status="queued",
            message=f"Waits for {names[0]}{more}: one search at a time has the device.",
            waits_for=names[0],
        )
        with self._lock:
            if waiting != self._state:
                self._state = waiting
                self._write()

    def begin(self, meter: ResourceMeter) -> None:
        """Note that the run has its device, and from now on what it takes of the machine."""
        with self._lock:
            self._meter = meter
            if self._state.status == "queued":
                self._state = replace(self._state, status="running", message="", waits_for="")
                self._write()

    def leave_if_paused(self) -> None:
        """Ask between two steps of work.

        Raises:
            PausedError: Somebody asked to pause.
        """
        if self.folder.pause_requested():
            again = ""
            if self._state.phase == "searching" and any(
                trial.status == "running" for trial in self.trials.values()
            ):
                again = " The trial that ran starts again."
            raise PausedError(f"The search is paused. It goes on where it stood.{again}")

    def enter(self, phase: Phase, message: str = "") -> None:
        """Begin a phase, unless the search is to pause."""
        self.leave_if_paused()
        with self._lock:
            self._state = replace(self._state, phase=phase, message=message, progress=0.0)
            self._write()

    def progress(self, done: float, total: float) -> None:
        """Note how far the phase is; the next heartbeat writes it.

        Raises:
            PausedError: Somebody asked to pause.
        """
        self.leave_if_paused()
        with self._lock:
            self._state = replace(self._state, progress=min(1.0, done / max(total, 1e-9)))

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            with self._lock:
                if not self._closed.is_set():
                    # A disk that is full for a moment is no reason to look dead for ever.
                    with contextlib.suppress(OSError):
                        self._write()
            if self._meter is not None:
                with contextlib.suppress(OSError):
                    self._meter.save(self.folder.path / "resources.json")

    def _write(self) -> None:
        self._state = replace(self._state, elapsed_s=self.clock.elapsed(), updated_at=time.time())
        self.folder.write_state(self._state)

    # Trials

    def begin_trial(
        self,
        number: int,
        recipe: Recipe,
        origin: str,
        latency_s: float | None = None,
        from_run: str | None = None,
    ) -> None:
        """Show a trial as running.

        Args:
            number: Its number in the study.
            recipe: What it trains.
            origin: Where the recipe came from.
            latency_s: Time of one image through its network, in seconds, where it was measured.
            from_run: Name of the earlier run that the recipe won, if it comes from one.
        """
        latency_ms = None if latency_s is None else 1000 * latency_s
        self.record(
            TrialRecord(number, "running", recipe, origin, latency_ms=latency_ms, from_run=from_run)
        )

    def tell_times(self, plan: Plan) -> None:
        """Give every trial on record the time of an image that a plan of this device says."""
        for trial in list(self.trials.values()):
            cost = plan.costs.get(trial.recipe.encoder_name)
            if cost is not None and trial.latency_ms is not None:
                latency_ms = 1000 * cost.time_with(trial.recipe.decoder_name)
                self.record(replace(trial, latency_ms=latency_ms))

    def note(self, number: int, sentence: str, speedup: float | None = None) -> None:
        """Keep a sentence with a trial, and show it until the next phase.

        Args:
            number: The trial.
            sentence: For people.
            speedup: Of its steps, once it is known.
        """
        with self._lock:
            self._state = replace(self._state, message=sentence)
        self.record(replace(self.trials[number], note=sentence, speedup=speedup))

    def add_point(self, number: int, evaluation: Evaluation, n_train: int, phase: str) -> None:
        """Append one evaluation to a trial's curve."""
        record = self.trials[number]
        if (number, phase) not in self._began:
            last = record.curve[-1] if record.curve else None
            self._began[number, phase] = (last.epochs, last.seconds) if last else (0.0, 0.0)
        epochs_before, seconds_before = self._began[number, phase]
        epochs = epochs_before + evaluation.windows / max(1, n_train)
        seconds = seconds_before + evaluation.seconds
        loss = evaluation.train_loss if np.isfinite(evaluation.train_loss) else None
        at_s = self.clock.elapsed()
        point = CurvePoint(epochs, seconds, loss, evaluation.score, phase, at_s)
        score = max(evaluation.score, record.score or 0.0)
        self.record(replace(record, curve=(*record.curve, point), score=score, seconds=seconds))

    def record(self, record: TrialRecord) -> None:
        """Write a trial and, with it, the best so far."""
        self.trials[record.number] = record
        self.folder.write_trial(record)
        with self._lock:
            self._note_best()
            self._write()

    def _note_best(self) -> None:
        scored = [t for t in self.trials.values() if t.score is not None]
        if scored:
            best = max(scored, key=lambda t: t.score or 0.0)
            self._state = replace(self._state, best_trial=best.number, best_score=best.score)

    def write_importances(self, n_trials: int, importances: Mapping[str, float]) -> None:
        """Write how much each parameter decides (`importances.json`), shares known from so many
        trials.
        """
        value = {"n_trials": n_trials, "importances": dict(importances)}
        write_json(self.folder.path / "importances.json", value)

    # Weights and per-image scores of trials

    def save_result(self, number: int, weights: Weights, confusions: np.ndarray) -> None:
        """Keep a trial's weights and confusion matrices; drop the weights that nobody needs.

        Needed are those of the trials that may win, and of the Pareto front of score and time per
        image, which can be chosen from when the run is done.
        """
        folder = self.folder.trial(number)
        save_weights(self.folder.weights(number), weights)
        content = io.BytesIO()  # To a file, numpy reports a full disk without its error code.
        np.save(content, confusions, allow_pickle=False)
        with replacing(folder / "confusions.npy") as temporary:
            temporary.write_bytes(content.getvalue())
        self._drop_weights_beside({number, *self.finalists(), *self._front()})
        self.on_result(number, weights, confusions)

    def finalists(self) -> set[int]:
        """Trials that may win: the best few with weights, seen through before pruned, and the
        default's.
        """
        ranked = sorted(
            (trial for trial in self.trials.values() if self.has_weights(trial.number)),
            key=lambda trial: (trial.status != "complete", -(trial.score or 0.0)),
        )
        default = {trial.number for trial in ranked if trial.origin == "default"}
        return default | {trial.number for trial in ranked[:KEPT_WEIGHTS]}

    def _front(self) -> set[int]:
        return {trial.number for trial in kept_front(self.trials.values())}

    def _drop_weights_beside(self, kept: Collection[int]) -> None:
        for number in self.trials.keys() - set(kept):
            self.folder.weights(number).unlink(missing_ok=True)

    def has_weights(self, number: int) -> bool:
        """Whether a trial's weights are on disk."""
        return self.folder.weights(number).is_file()

    def weights(self, number: int) -> Weights:
        """A trial's weights."""
        return load_weights(self.folder.weights(number))

    def confusions(self, number: int) -> np.ndarray | None:
        """A trial's confusion matrices on the validation split, (n, K, K)."""
        file = self.folder.trial(number) / "confusions.npy"
        if not file.is_file():
            return None
        matrices: np.ndarray = np.load(file, allow_pickle=False)
        return matrices

    def drop_weights(self) -> None:
        """Remove what only a resumed search would need, once the bundle is on disk.

        The weights of the Pareto front stay; the winner's are in the bundle.
        """
        winners = {trial.number for trial in self.trials.values() if "winner" in trial.tags}
        self._drop_weights_beside(self._front() - winners)
        for name in ("decoders", "final", "folds"):
            shutil.rmtree(self.folder.path / name, ignore_errors=True)
