"""Taking a trial of a finished run as a model: which there are, and the run that it becomes.

A search makes one model of its winner. Another trial of its Pareto front may be the better one for
somebody who wants speed: its weights are kept as the search left them.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autoseg.bundle import load_bundle, trained
from autoseg.checkpoint import Weights
from autoseg.config import Recipe, from_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.duplicates import group_near_duplicates
from autoseg.data.splits import Splits, without_folds
from autoseg.errors import RunError
from autoseg.evaluation import Predictions, make_report
from autoseg.examples import MAX_EXAMPLES, example_facts
from autoseg.files import making_folder, telling_full_disk, write_json
from autoseg.finishing import data_source, draw_examples, save_model
from autoseg.judging import (
    Judged,
    ScoredOnTest,
    about_taken,
    held_out,
    predict_weights,
    taken_note,
)
from autoseg.pipeline import SearchResult
from autoseg.report_facts import data_facts, search_facts
from autoseg.search.budget import Plan
from autoseg.search.front import FINISHED, kept_front, pareto_front
from autoseg.search.run_folder import Phase, RunFolder, RunInfo, RunState, TrialRecord
from autoseg.sources import check, local_source
from autoseg.taking_faults import reading, sound_weights, telling_of_memory_to_predict, writing
from autoseg.training.hardware import Precision, choose_device, has_fast_bf16, limit_threads

OnProgress = Callable[[Phase, int, int], None]
"""Told of a phase, how much of it is done, and how much there is."""

COMPARED_WITH = "winner of the search"

_FREE_THE_RUN = (
    "The run keeps count of the models scored on its test images: free some space there."
)

_COPIED = ("verdict.json", "mask_coding.json", "splits.json", "images.json", "plan.json")
"""Records that hold for every model of a run."""


@dataclass(frozen=True)
class FinishedTrial:
    """A trial of a run that came to an end, and whether it can be had as a model."""

    record: TrialRecord
    on_front: bool
    """Whether no other trial is both faster and better."""
    is_model: bool
    """Whether the run's model was made of it."""
    can_be_taken: bool
    """Whether `take_trial` makes a model of it: the run is done and has kept its weights."""


def finished_trials(
    run: RunFolder, known: Iterable[TrialRecord] | None = None
) -> tuple[FinishedTrial, ...]:
    """Trials of a run that came to an end, the best first.

    Args:
        run: The run.
        known: Its trials, where they were read already.

    Raises:
        RunError: It is no run, or a record is damaged.
    """
    state = run.state()
    if not run.exists() or state is None:
        raise RunError(f"{run.path} is no run. Name a run, or the folder of one.")
    found = run.trials() if known is None else known
    records = [trial for trial in found if trial.status in FINISHED]
    front = {trial.number for trial in pareto_front(records)}
    # Right after its end a run still holds weights that are about to go.
    kept = {t.number for t in kept_front(records)} if state.status == "done" else set()
    trials = []
    for record in sorted(records, key=lambda trial: (-(trial.score or 0.0), trial.number)):
        is_model = "winner" in record.tags
        number = record.number
        here = number in kept and not is_model and run.weights(number).is_file()
        trials.append(FinishedTrial(record, number in front, is_model, here))
    return tuple(trials)


def takeable(run: RunFolder, number: int) -> TrialRecord:
    """The trial of that number, if a model can be made of it.

    Raises:
        RunError: The run is not done, it has no such trial, or the trial has no weights.
    """
    trials = finished_trials(run)
    state = run.state()
    assert state is not None
    if state.status != "done":
        raise RunError(
            f"{run.name} is not done yet ({state.status}). Its trials can be taken once it is: "
            f"let it go on, or stop it with the best so far."
        )
    can = [str(trial.record.number) for trial in trials if trial.can_be_taken]
    choice = f"These can be taken: {', '.join(can)}." if can else "None of its trials can be taken."
    found = next((trial for trial in trials if trial.record.number == number), None)
    if found is None:
        others = {trial.number: trial.status for trial in run.trials()}
        if number in others:
            raise RunError(
                f"Trial {number} of {run.name} has no weights: {others[number]}. {choice}"
            )
        raise RunError(f"{run.name} has no trial {number}. {choice}")
    if found.is_model:
        raise RunError(
            f"Trial {number} is the winner of {run.name}: its model is in {run.model} already. "
            f"{choice}"
        )
    if not found.can_be_taken:
        raise RunError(
            f"The weights of trial {number} of {run.name} are gone: a run keeps those of trials "
            f"that no other beats in both score and time per image. {choice}"
        )
    return found.record


def _with_epochs(record: TrialRecord) -> TrialRecord:
    """A trial whose recipe says how many epochs it took, the decoder's included."""
    if not record.curve:
        return record
    recipe = replace(record.recipe, epochs=max(record.curve[-1].epochs, 1e-3))
    return replace(record, recipe=recipe)


def take_trial(
    run: RunFolder,
    number: int,
    out: RunFolder,
    *,
    data: str | Path | None = None,
    device: str | None = None,
    on_progress: OnProgress = lambda phase, done, total: None,
) -> SearchResult:
    """Make a model of a trial, as the search trained it, in a run of its own.

    It is judged on the run's test images as the winner was, beside the winner; the run keeps count
    of the models that were. Nothing is left in `out` where this fails.

    Args:
        run: A run that is done.
        number: The trial.
        out: The new run, which must not be there yet.
        data: Where the run's data set is now, a folder, zip or "hf://owner/name"; None: where it
            was.
        device: torch device, or "auto"; None: as the search had it.
        on_progress: Told how far it is.

    Raises:
        RunError: There is no such trial or it has no weights, the run is not done or held by
            another process, its weights are damaged, the data set is not there or not the same, or
            `out` is taken or cannot be written.
        DatasetError: The data set cannot be read any more.
        HubError: The Hub does not give it.
        ConfigError: There is no such device.
        BundleError: The winner's model cannot be read, or the trial's not be written.
        PredictionError: There is too little memory.
        DiskFullError: There is no room to unpack the data set.
    """
    record = _with_epochs(takeable(run, number))
    refuse_taken(out)
    info = run.info()
    assert info is not None
    source = _find_data(run, info, data)
    limit_threads()
    place = choose_device(device or info.config.device)
    with (
        writing(run.path, _FREE_THE_RUN),
        run.locked(),
        writing(out.path, "Free some space, or choose another folder."),
        making_folder(out.path) as aside,
    ):

        def alive(phase: Phase, done: int, total: int) -> None:
            with suppress(OSError):
                os.utime(aside)  # Whoever sweeps what killed writers left goes by its time.
            on_progress(phase, done, total)

        taking = _Taking(run, info, record, source, place, alive)
        return SearchResult(out, taking.write(RunFolder(aside)))


def refuse_taken(out: RunFolder) -> None:
    """Refuse a new run whose folder holds something.

    Raises:
        RunError: It does.
    """
    if out.path.exists() and (not out.path.is_dir() or any(out.path.iterdir())):
        raise RunError(f"{out.path} is there already. Choose another name, or delete that first.")


def _find_data(run: RunFolder, info: RunInfo, data: str | Path | None) -> Path:
    named = info.source if data is None else data
    with reading(Path(named)):
        source = local_source(named).expanduser().absolute()
        is_there = source.exists()
    if not is_there:
        raise RunError(
            f"The data set of {run.name} is not in {source}. A trial is judged on its test images: "
            f"bring it back, or say where it is now (in a terminal: with --data)."
        )
    return source


@dataclass(frozen=True)
class _Taking:
    """A trial on its way to a model."""

    run: RunFolder
    info: RunInfo
    record: TrialRecord
    source: Path
    device: torch.device
    on_progress: OnProgress

    def write(self, out: RunFolder) -> dict[str, Any]:
        """Judge the trial, and write the run that holds its model; the report."""
        recipe = self.record.recipe
        with (
            reading(self.source),
            telling_full_disk(self.run.path),
            telling_of_memory_to_predict(self.device),
        ):
            dataset = self._read()
            splits = from_dict(Splits, self.run.json("splits.json"), "splits.json")
            weights = sound_weights(self.run, self.record, dataset.classes.num_classes)
            judged, report = self._judge(dataset, splits, recipe, weights)
            examples = draw_examples(
                dataset,
                judged.indices,
                judged.predictions.confusions,
                self._precision(recipe),
                recipe,
                weights,
                MAX_EXAMPLES,
            )
        report["examples"] = example_facts(examples, judged.split, len(judged.indices))
        save_model(out.model, dataset, recipe, weights, self.info.versions, report, examples)
        self._write_records(out, report)
        return report

    def _read(self) -> CheckedDataset:
        """The data set, if it is still the one that was searched in."""
        config = self.info.config
        dataset = check(
            self.source,
            mapping=dict(config.mapping) or None,
            colors=dict(config.colors),
            on_progress=lambda done, total: self.on_progress("checking data", done, total),
            workdir=self.run.path / "data",
        )
        if dataset.fingerprint != self.info.data_fingerprint:
            raise RunError(
                f"The data set in {self.source} is not as it was when {self.run.name} searched in "
                f"it, so it is not known which images the trial has learnt from. Bring it back as "
                f"it was, or name a copy of it (in a terminal: with --data)."
            )
        return dataset

    def _precision(self, recipe: Recipe) -> Precision:
        """As the search had it, if this device computes in bfloat16 too: it may be another one."""
        plan = from_dict(Plan, self.run.json("plan.json"), "plan.json")
        bf16 = plan.costs[recipe.encoder_name].bf16
        return Precision(self.device, bf16 and has_fast_bf16(self.device))

    def _judge(
        self, dataset: CheckedDataset, splits: Splits, recipe: Recipe, weights: Weights
    ) -> tuple[Judged, dict[str, Any]]:
        """What the trial predicts of the held-out images, and the report without examples."""
        split, indices = held_out(splits)
        winner = load_bundle(self.run.model)

        def predicted(recipe: Recipe, weights: Weights, before: int) -> Predictions:
            def on_image(done: float, total: float) -> None:
                self.on_progress("evaluating", before + int(done), 2 * len(indices))

            precision = self._precision(recipe)
            return predict_weights(dataset, indices, precision, recipe, weights, on_image)

        judged = Judged(split, indices, predicted(recipe, weights, 0))
        theirs = predicted(trained(winner.info), winner.model.state_dict(), len(indices))
        n_models = self._count(judged)
        trials = self.run.trials()
        won = next((trial for trial in trials if "winner" in trial.tags), None)
        report = make_report(
            judged.predictions,
            theirs,
            dataset.classes,
            split=split,
            untouched=split == "test" and splits.test_is_untouched,
            note=taken_note(judged, splits, n_models, sum(t.status in FINISHED for t in trials)),
            default_note=about_taken(self.record, won),
            groups=group_near_duplicates(dataset)[0][list(indices)],
            seed=self.info.config.seed,
            facts={
                "compared_with": COMPARED_WITH,
                **self._facts(trials, n_models),
                "data": data_facts(
                    dataset, without_folds(splits, len(dataset)), data_source(dataset)
                ),
            },
        )
        return judged, report

    def _count(self, judged: Judged) -> int:
        """Models of the run that were scored on its test images; from now on this one, too."""
        before = ScoredOnTest.of(self.run)
        if judged.split != "test":
            return before.n_models
        now = ScoredOnTest((*before.trials, self.record.number))
        with writing(self.run.path, _FREE_THE_RUN):
            now.write(self.run)
        return now.n_models

    def _facts(self, trials: tuple[TrialRecord, ...], n_models: int) -> dict[str, Any]:
        """What the report says of the trial and of its search."""
        stored = self.run.json("report/report.json") or {}
        number = self.record.number
        searched = search_facts([self.record if t.number == number else t for t in trials], number)
        return {
            "taken": {
                "trial": number,
                "latency_ms": self.record.latency_ms,
                "models_scored": n_models,
            },
            "validation_score": self.record.score,
            "validation_score_corrected": None,
            "trials": sum(trial.status != "set aside" for trial in trials),
            "seconds": stored.get("seconds"),
            "stopped_after_s": None,
            "search": {**(stored.get("search") or {}), **searched},
        }

    def _write_records(self, out: RunFolder, report: dict[str, Any]) -> None:
        """Write the run of the new model: to be predicted with, pushed, and trained on."""
        for name in (*_COPIED, "scored_on_test.json"):
            if (self.run.path / name).is_file():
                shutil.copyfile(self.run.path / name, out.path / name)
        former = self.run.state()
        assert former is not None
        out.write_info(replace(self.info, source=str(self.source)))
        out.write_trial(replace(self.record, tags=("winner",)))
        write_json(out.report / "report.json", report)
        out.write_state(
            RunState(
                status="done",
                phase="finished",
                budget_s=former.budget_s,
                elapsed_s=self.record.seconds,
                updated_at=time.time(),
                pid=os.getpid(),
                message=(
                    f"Trial {self.record.number} of {self.run.name} as the search trained it, "
                    f"without final training."
                ),
                best_trial=self.record.number,
                best_score=self.record.score,
                progress=1.0,
            )
        )
