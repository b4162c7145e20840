"""Which trial wins: paired evidence against the default, then the cheapest of equals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autoseg.metrics import (
    bootstrap_weights,
    iou,
    macro_imagewise,
    mean_present,
    probability_better,
    surest,
)

SWITCH_PROBABILITY = 0.8
"""A trial replaces the default only if it is better in this share of bootstrap draws."""

DRAWS = 500


@dataclass(frozen=True)
class Candidate:
    """One finished trial."""

    number: int
    confusions: np.ndarray
    """(n, K, K) on the validation images, the same images in every candidate."""
    cost_s: float
    """Time of a prediction, in seconds: the tie-break."""

    @property
    def score(self) -> float:
        """macro-imagewise IoU."""
        return float(macro_imagewise(iou, self.confusions))


def choose_winner(
    candidates: Mapping[int, Candidate],
    default: int | None,
    seed: int,
    groups: np.ndarray | None = None,
) -> int:
    """Number of the winning trial.

    In about a tenth of searches the best validation score belongs to a recipe that generalises
    worse than the default (arXiv 2506.19540), so a trial must beat the default image by image.
    The best has to, or the default wins; then the cheapest to run wins of those that do and that
    the best does not clearly beat. One that cannot be told from the default does not count among
    them, however cheap: that a few images tell no difference does not mean that there is none.

    Args:
        candidates: Finished trials by number; at least one.
        default: Number of the default's trial, if it is among them.
        seed: Seed of the bootstrap.
        groups: Group of each image, (n,): near-duplicates are one piece of evidence. None: every
            image is one.
    """
    best = max(candidates.values(), key=lambda candidate: candidate.score)
    n_images = len(best.confusions) if groups is None else len(np.unique(groups))
    if surest(n_images) <= SWITCH_PROBABILITY:
        # Nothing can be told apart: there is no reason to leave the default, or the best for cost.
        return default if default is not None and default in candidates else best.number
    weights = bootstrap_weights(len(best.confusions), groups, seed=seed, draws=DRAWS)

    def beats(one: Candidate, other: Candidate) -> bool:
        ours, theirs = (macro_imagewise(iou, c.confusions, weights) for c in (one, other))
        return probability_better(ours, theirs, n_images) > SWITCH_PROBABILITY

    rivals = list(candidates.values())
    if default is not None and default in candidates:
        if not beats(best, candidates[default]):
            return default
        rivals = [rival for rival in rivals if beats(rival, candidates[default])]
    equals = [rival for rival in rivals if rival is best or not beats(best, rival)]
    return min(equals, key=lambda candidate: (candidate.cost_s, -candidate.score)).number


def selection_corrected(candidates: Mapping[int, Candidate], seed: int, draws: int = 200) -> float:
    """Validation score of the search with the optimism of choosing taken off, in [0, 1].

    Each draw chooses the best trial on a bootstrap sample of the images and scores it on the
    images left out. Source: Tsamardinos et al. 2018, "Bootstrapping the out-of-sample predictions
    for efficient and accurate cross-validation" (BBC-CV).
    """
    # Per image and class once, (trials, n, K): with 150 classes the matrices would take minutes.
    values = np.stack([iou(candidate.confusions) for candidate in candidates.values()])
    n_images = values.shape[1]
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(draws):
        sample = rng.integers(0, n_images, n_images)
        left_out = np.setdiff1d(np.arange(n_images), sample)
        on_sample = mean_present(mean_present(values[:, sample], axis=1))
        if len(left_out) == 0 or np.isnan(on_sample).all():
            continue
        chosen = values[int(np.nanargmax(on_sample))]
        scores.append(mean_present(mean_present(chosen[left_out], axis=0)))
    return float(mean_present(np.asarray(scores))) if scores else float("nan")
