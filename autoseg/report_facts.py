"""What a report says beside the scores: the data it was trained on, how the search went."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits
from autoseg.data.verdict import VerdictRow
from autoseg.search.run_folder import TrialRecord

_MAX_VALUES = 40
"""Mask values that the report lists."""


def data_facts(
    dataset: CheckedDataset, splits: Splits, source: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The verdict in short: pairs, sizes, what the mask values mean, how the images were divided.

    Names of files stay out of it: the report may be published with the model.

    Args:
        dataset: The checked data set.
        splits: Its division.
        source: Where it came from: `repo_id`, `revision` and `licence` of a data set on the Hub;
            None: it is the user's own.
    """
    verdict, statistics = dataset.verdict, dataset.statistics
    present = statistics.class_pixels[list(splits.train)] > 0
    shares = statistics.class_pixels.sum(0) / max(1, statistics.class_pixels.sum())
    return {
        "pairs": verdict.pairs,
        "sizes": verdict.sizes,
        "splits": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
        "classes": [
            {"name": name, "share": round(float(share), 6), "train_images": int(images)}
            for name, share, images in zip(
                dataset.classes.names, shares, present.sum(0), strict=True
            )
        ],
        "values": [_value_facts(row) for row in verdict.rows[:_MAX_VALUES]],
        "n_values": len(verdict.rows),
        "mended": list(verdict.mended),
        "ambiguous": list(verdict.ambiguous),
        "left_out": verdict.skipped_count,
        "notes": list(splits.notes),
        "source": source,
        "licence": (source.get("licence") or "unknown") if source else None,
    }


def missing_trials(report: Mapping[str, Any]) -> str:
    """That fewer trials were made than the user asked for, in a sentence; "" if none is missing."""
    facts = report.get("search") or {}
    trials, asked = facts.get("trials") or {}, int(facts.get("asked_trials") or 0)
    made = sum(trials.get(status, 0) for status in ("complete", "pruned"))
    if made >= asked:
        return ""
    return f"{made} of the {asked} trials that were asked for came to their end."


def _value_facts(row: VerdictRow) -> dict[str, Any]:
    """A row of the verdict without the name of the file that shows it."""
    facts = asdict(row)
    del facts["example"]
    return facts


def search_facts(
    trials: Sequence[TrialRecord], winner: int, n_asked: int | None = None
) -> dict[str, Any]:
    """How the search went: trials by how they ended, what they tried, which one won.

    Args:
        trials: All trials of the run; those that were set aside are told by the ones after them.
        winner: Number of the trial whose recipe became the model.
        n_asked: Trials that the user asked for; None: as many as there was time for.
    """
    trials = [trial for trial in trials if trial.status != "set aside"]
    won = next(trial for trial in trials if trial.number == winner)
    return {
        "trials": dict(Counter(trial.status for trial in trials)),
        "asked_trials": n_asked,
        "encoders": _tried(trials, "encoder_name"),
        "frozen_depths": _tried(trials, "frozen_depth"),
        "winner": {
            "number": winner,
            "origin": won.origin,
            "epochs": round(won.recipe.epochs, 2),
            "speedup": None if won.speedup is None else round(won.speedup, 2),
        },
        "parameters": won.parameters,
    }


def _tried(trials: Sequence[TrialRecord], field: str) -> list[dict[str, Any]]:
    """Each value that trials had, best first: how many trials and their best score."""
    rows = []
    for value in dict.fromkeys(getattr(trial.recipe, field) for trial in trials):
        having = [trial for trial in trials if getattr(trial.recipe, field) == value]
        best = max((score for trial in having for score in _scores(trial)), default=None)
        rounded = None if best is None else round(best, 4)
        rows.append({"value": value, "trials": len(having), "best_score": rounded})
    return sorted(rows, key=lambda row: -(row["best_score"] or -1.0))


def _scores(trial: TrialRecord) -> list[float]:
    """What a trial scored while it was compared: the winner's last phase is longer than others'."""
    return [point.score for point in trial.curve if point.phase != "final"]
