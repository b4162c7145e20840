"""What a search tries early because it won this user's earlier runs on similar data.

An earlier run is similar if it searched in the same data set, or if all of this holds:

- Of the classes of both at least half are in both, by their names; background apart.
- Those classes take a share of the pixels that differs by a factor of three at most. Names alone
  say little: every other data set has but a "foreground".
- A window shows objects about as large: its side in pixels of the original images (where all are
  brought to one size: as a share of that size) differs by a factor of three at most. The working
  size is chosen so that objects have about one width in it, hence this is their width in the
  images. A GPU's windows are twice as wide as a CPU's, which takes two of the three.
- There are at most four times as many training images, and at least a quarter.

Only recipes are taken from it: neither weights nor what its test images said of them. A search in
the same data set with another seed is left out: it may have chosen by images that test this one.
So is any search whose record says that it did, as in a data set that has grown or was corrected.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from autoseg.config import Geometry
from autoseg.search.earlier_runs import (
    EarlierSearch,
    Traits,
    finished_searches,
    winner_of,
)
from autoseg.search.run_folder import RunFolder
from autoseg.search.space import EarlierWinner, Params, SearchSpace

MOST_WINNERS = 3
"""Recipes of earlier runs that a search tries; each takes the time of one of its own."""

LEAST_OVERLAP = 0.5
"""Share of the classes of both data sets that both must have (Jaccard)."""

SHARE_FACTOR = 3.0
"""Shares of pixels within this factor are alike. Draws of 20 images of dsb2018 differ by up to 2.4
from the whole."""

FIELD_FACTOR = 3.0
"""What windows show is alike within this factor."""

TRAIN_FACTOR = 4.0
"""Numbers of training images within this factor are alike."""

RATE_FACTOR = 1.25
"""Learning rates within this factor are as good as equal."""

BACKGROUND = frozenset(("background", "ignore", "void", "unlabeled", "unlabelled", "none", "背景"))
"""Names of classes that say nothing of a task."""

_RATES = ("decoder_lr", "encoder_lr_ratio")


def warm_started(
    space: SearchSpace,
    data: Traits,
    runs: Path,
    run: RunFolder,
    *,
    knows_too_much: Callable[[RunFolder], bool] = lambda run: False,
) -> SearchSpace:
    """A space that begins with what won earlier runs on similar data.

    Args:
        space: What is searched.
        data: Of the new search.
        runs: Folder of this user's runs.
        run: The new search's own.
        knows_too_much: Whether a run learnt from images that test this one, or chose by them.
    """
    searches = finished_searches(runs, run)
    return replace(space, earlier=earlier_winners(space, data, searches, knows_too_much))


def earlier_winners(
    space: SearchSpace,
    data: Traits,
    searches: Sequence[EarlierSearch],
    knows_too_much: Callable[[RunFolder], bool],
) -> tuple[EarlierWinner, ...]:
    """What won similar searches, as points of a space; the most similar first.

    A point that is almost one of the portfolio's becomes that one, which then comes earlier; what
    is almost the default is tried anyway.

    Args:
        space: What is searched.
        data: Of the new search.
        searches: Earlier ones, the newest first.
        knows_too_much: See `warm_started`.
    """
    portfolio = space.portfolio()
    found: list[EarlierWinner] = []
    for search in _nearest_first(data, searches):
        if len(found) == MOST_WINNERS:
            break
        winner = winner_of(search)
        if winner is None or knows_too_much(search.run):
            continue
        same_data = search.traits.fingerprint == data.fingerprint
        if not same_data and not shows_alike(winner.space.geometry, space.geometry):
            continue
        point = space.nearest(winner.recipe, winner.space)
        if point is None:
            continue
        point = next((known for known in portfolio if alike(known, point)), point)
        tried = [portfolio[0], *(other.params for other in found)]
        if not any(alike(point, other) for other in tried):
            found.append(EarlierWinner(search.run.name, point))
    return tuple(found)


def _nearest_first(data: Traits, searches: Sequence[EarlierSearch]) -> list[EarlierSearch]:
    """Searches in similar data, as far as class names and numbers tell."""
    ranks = {}
    for number, search in enumerate(searches):
        if search.traits.fingerprint == data.fingerprint:
            if search.traits.seed == data.seed:
                ranks[number] = (0, 0.0)
        elif is_similar(data, search.traits):
            ranks[number] = (1, -overlap(data, search.traits))
    return [searches[number] for number in sorted(ranks, key=ranks.__getitem__)]


def is_similar(one: Traits, other: Traits) -> bool:
    """Whether two data sets pose one task, as far as class names, areas and numbers tell."""
    if overlap(one, other) < LEAST_OVERLAP:
        return False
    common = _classes(one).keys() & _classes(other).keys()
    shares = [sum(_classes(data)[name] for name in common) for data in (one, other)]
    return _within(SHARE_FACTOR, *shares) and _within(TRAIN_FACTOR, one.n_train, other.n_train)


def overlap(one: Traits, other: Traits) -> float:
    """Share of the classes of either data set that are in both, background apart, in [0, 1]."""
    first, second = _classes(one).keys(), _classes(other).keys()
    return len(first & second) / max(1, len(first | second))


def _classes(data: Traits) -> dict[str, float]:
    """Shares of pixels by names that are compared."""
    shares = {name.strip().casefold(): share for name, share in data.class_shares.items()}
    return {name: share for name, share in shares.items() if name not in BACKGROUND}


def shows_alike(one: Geometry, other: Geometry) -> bool:
    """Whether windows show about as much of an image, and objects are about as large in them."""
    if (one.box is None) != (other.box is None):
        return False
    return _within(FIELD_FACTOR, _field(one), _field(other))


def _field(geometry: Geometry) -> float:
    """Side of a window, in pixels of the original; where there is a box, as a share of it."""
    side = math.sqrt(math.prod(geometry.window))
    if geometry.box is not None:
        return side / math.sqrt(math.prod(geometry.box))
    assert geometry.scale is not None
    return side / geometry.scale


def alike(one: Params, other: Params) -> bool:
    """Whether two points are as good as equal: the same choices, and rates hardly apart."""
    if one.keys() != other.keys():
        return False
    return all(
        _within(RATE_FACTOR, value, other[name]) if name in _RATES else value == other[name]
        for name, value in one.items()
    )


def _within(factor: float, one: float, other: float) -> bool:
    """Whether two positive numbers differ by a factor at most."""
    low, high = sorted((one, other))
    return 0 < low and high <= factor * low
