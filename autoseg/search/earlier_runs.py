"""Earlier searches of this user, as the records that they left tell of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.config import Recipe, from_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits
from autoseg.errors import ConfigError, RunError
from autoseg.search.budget import Plan
from autoseg.search.run_folder import RunFolder, find_runs
from autoseg.search.space import SearchSpace

LEAST_COMPARED = 2
"""Trials that a winner must be the best of: where there was one, nothing won."""

_UNREADABLE = (RunError, ConfigError, OSError)
"""A run that is damaged, foreign, of another version, or being deleted at this moment."""


@dataclass(frozen=True)
class Traits:
    """What is known of the data of a search."""

    fingerprint: str
    """Content of the data set."""
    class_shares: dict[str, float]
    """Share of the pixels of each class, by its name, in [0, 1]."""
    n_train: int
    """Images to train on."""
    seed: int = 0
    """Of the splits."""

    @staticmethod
    def of(dataset: CheckedDataset, splits: Splits) -> "Traits":
        """Those of a data set; what its test images hold must not shape the model."""
        areas = dataset.statistics.class_pixels[sorted((*splits.train, *splits.val))].sum(0)
        shares = (areas / max(1, areas.sum())).tolist()
        return Traits(
            fingerprint=dataset.fingerprint,
            class_shares=dict(zip(dataset.classes.names, shares, strict=True)),
            n_train=len(splits.train),
            seed=splits.seed,
        )


@dataclass(frozen=True)
class EarlierSearch:
    """A search that came to its end, with a winner."""

    run: RunFolder
    """Its run."""
    traits: Traits
    """Its data."""
    winner: int
    """The trial that won."""


@dataclass(frozen=True)
class Winner:
    """What won a search, and among what."""

    recipe: Recipe
    space: SearchSpace


@dataclass(frozen=True)
class _Facts:
    """What is read of a report."""

    class_shares: dict[str, float]
    n_train: int
    trials: dict[str, int]
    """How many ended how."""
    winner: int


def finished_searches(folder: Path, beside: RunFolder) -> list[EarlierSearch]:
    """Searches whose winner was compared with others, the newest first.

    What was trained on from a former model, and what a person took, was not chosen by a search. A
    run that cannot be read is left out: it is no concern of the search that asks.

    Args:
        folder: The runs.
        beside: The run that asks, which is not among them.
    """
    runs = [run for run in find_runs(folder) if run.path != beside.path]
    return [found for run in runs if (found := _finished_search(run)) is not None]


def _finished_search(run: RunFolder) -> EarlierSearch | None:
    try:
        state = run.state()
        if state is None or state.status != "done":
            return None
        info, report = run.info(), run.json("report/report.json")
        if info is None or not info.data_fingerprint or info.config.start_from is not None:
            return None
        if report is None or (isinstance(report, dict) and report.get("taken")):
            return None
        facts = _facts(report, run.name)
    except _UNREADABLE:
        return None
    if facts.trials.get("complete", 0) + facts.trials.get("pruned", 0) < LEAST_COMPARED:
        return None
    traits = Traits(info.data_fingerprint, facts.class_shares, facts.n_train, info.config.seed)
    return EarlierSearch(run, traits, facts.winner)


def _facts(report: Any, name: str) -> _Facts:
    """What a report says that is needed here.

    Raises:
        ConfigError: It is none of autoseg's.
    """
    try:
        data, search = report["data"], report["search"]
        picked = {
            "class_shares": {row["name"]: row["share"] for row in data["classes"]},
            "n_train": data["splits"]["train"],
            "trials": search["trials"],
            "winner": search["winner"]["number"],
        }
    except (KeyError, TypeError) as error:
        raise ConfigError(f"The report of {name} lacks {error}.") from error
    return from_dict(_Facts, picked, f"The report of {name}")


def winner_of(search: EarlierSearch) -> Winner | None:
    """What won a search; None: its records cannot be read."""
    try:
        trial = search.run.trial_record(search.winner)
        stored = search.run.json("plan.json")
        if trial is None or stored is None:
            return None
        return Winner(trial.recipe, from_dict(Plan, stored, "plan.json").space)
    except _UNREADABLE:
        return None
