"""Scores from confusion matrices; pure functions.

A confusion matrix is (..., K, K) int64, [true, predicted], in pixels. A class that is neither in
the truth nor in the prediction has no score (NaN) and counts in no mean: counting it as 1, as
many tools do, flatters every image that lacks a rare class.

Three reductions, always named: `micro` pools the pixels of all classes, `macro` is the mean over
classes of the data set's pooled pixels, `macro-imagewise` is the mean over classes of the mean
over images. Source of the last: Wang et al. 2023, "Revisiting Evaluation Metrics for Semantic
Segmentation" (arXiv 2310.19252), mIoU^C.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from autoseg.config import IGNORE_INDEX

BOOTSTRAP_DRAWS = 2000
CALIBRATION_BINS = 15


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count pixels by class.

    Args:
        true: Mask, any shape, uint8; `IGNORE_INDEX` is left out.
        predicted: Mask of the same shape, uint8, in [0, num_classes).
        num_classes: K, background included.

    Returns:
        (K, K) int64, [true, predicted].

    Raises:
        ValueError: The shapes differ, or a value is no class.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"Masks must have one shape, but got {true.shape=}, {predicted.shape=}.")
    kept = true != IGNORE_INDEX
    # 255 classes give indices up to 254 * 255 + 254 < 2 ** 16.
    index = true[kept].astype(np.uint16) * np.uint16(num_classes) + predicted[kept]
    if kept.any() and (int(true[kept].max()) >= num_classes or predicted.max() >= num_classes):
        raise ValueError(f"Masks must hold classes below {num_classes}.")
    counts = np.bincount(index, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)


class ClassPixels(NamedTuple):
    """All that the scores need of confusion matrices, each (..., K) float64.

    The numbers are whole, so that sums are exact in any order below 2 ** 53 pixels.
    """

    hits: np.ndarray
    """Pixels of a class that were predicted as such."""
    true: np.ndarray
    """Pixels of a class in the truth."""
    predicted: np.ndarray
    """Pixels predicted as a class."""


Counts = np.ndarray | ClassPixels
"""Confusion matrices (..., K, K), or what was made of them once: with many classes that takes
longer than the scores.
"""


def class_pixels(confusion: Counts) -> ClassPixels:
    """What the scores need of confusion matrices."""
    if isinstance(confusion, ClassPixels):
        return confusion
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    true, predicted = (confusion.sum(axis).astype(np.float64) for axis in (-1, -2))
    return ClassPixels(hits, true, predicted)


def pooled(confusions: Counts, weights: np.ndarray | None = None) -> ClassPixels:
    """All images as one.

    Args:
        confusions: Of N images.
        weights: How often each image counts, (draws, N); None: once.

    Returns:
        Each (draws, K), or (K,) without weights.
    """
    parts = class_pixels(confusions)
    return ClassPixels(*(p.sum(0) if weights is None else weights @ p for p in parts))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient with NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: np.ndarray = np.where(denominator > 0, numerator / denominator, np.nan)
    return quotient


def iou(confusion: Counts) -> np.ndarray:
    """Intersection over union, (..., K) in [0, 1]; NaN where a class is absent on both sides."""
    hits, true, predicted = class_pixels(confusion)
    return _ratio(hits, true + predicted - hits)


def dice(confusion: Counts) -> np.ndarray:
    """Dice = F1 = 2 TP / (2 TP + FP + FN), (..., K); NaN where absent on both sides."""
    hits, true, predicted = class_pixels(confusion)
    return _ratio(2 * hits, true + predicted)


def precision(confusion: Counts) -> np.ndarray:
    """TP / (TP + FP), (..., K); NaN where the class was never predicted."""
    hits, _, predicted = class_pixels(confusion)
    return _ratio(hits, predicted)


def recall(confusion: Counts) -> np.ndarray:
    """TP / (TP + FN), (..., K); NaN where the class is not in the truth."""
    hits, true, _ = class_pixels(confusion)
    return _ratio(hits, true)


def pixel_accuracy(confusion: Counts) -> np.ndarray:
    """Share of pixels whose class is right, (...); equals micro precision, recall and F1."""
    hits, true, _ = class_pixels(confusion)
    return _ratio(hits.sum(-1), true.sum(-1))


def mean_present(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean along `axis` over what is not NaN; NaN where nothing is left."""
    kept = ~np.isnan(values)
    return _ratio(np.where(kept, values, 0.0).sum(axis), kept.sum(axis))


Score = Callable[[Counts], np.ndarray]


def macro(score: Score, confusions: Counts, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over classes of `score` on the pooled pixels of all images.

    Args:
        score: One of the scores above.
        confusions: Of N images.
        weights: How often each image counts, (draws, N); None: once.

    Returns:
        (draws,), or a scalar array without weights.
    """
    return mean_present(score(pooled(confusions, weights)))


def macro_imagewise(
    score: Score, confusions: Counts, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean over classes of the mean over images where the class is; arguments as `macro`.

    The objective of the search: unlike the pooled score it is not ruled by the largest objects,
    and it has a spread over images from which intervals follow.
    """
    values = score(confusions)
    if weights is None:
        return mean_present(mean_present(values, axis=0))
    known = ~np.isnan(values)
    sums, counts = weights @ np.where(known, values, 0.0), weights @ known.astype(np.float64)
    return mean_present(_ratio(sums, counts))


def bootstrap_weights(
    n_images: int,
    groups: np.ndarray | None = None,
    *,
    seed: int = 0,
    draws: int = BOOTSTRAP_DRAWS,
) -> np.ndarray:
    """How often each image is in each bootstrap draw.

    Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap".

    Args:
        n_images: N.
        groups: Group of each image, (N,): images of a group are drawn together, because
            near-duplicates are no independent evidence. None: every image by itself.
        seed: Seed of the draws.
        draws: Number of draws.

    Returns:
        (draws, N) float64.
    """
    rng = np.random.default_rng(seed)
    index = np.arange(n_images) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(index.max()) + 1
    picks = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)
    return picks.astype(np.float64)[:, index]


def interval(draws: np.ndarray, n_images: int, coverage: float = 0.95) -> tuple[float, float]:
    """Expanded percentile bootstrap interval of a score's draws; NaN where no draw has a score.

    The plain percentiles are those of a normal interval with the spread divided by n: of five
    images they hold the truth in 81 of 100 cases where 95 are told. Here they lie as far out as
    Student's interval does.

    Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap" (arXiv 1411.5279),
    section 4.3.

    Args:
        draws: The score in each bootstrap draw, (draws,).
        n_images: Images that were drawn from, near-duplicates counted once.
        coverage: Share of cases in which it shall hold the truth.
    """
    known = draws[~np.isnan(draws)]
    if len(known) == 0:
        return float("nan"), float("nan")
    tail = 100 * _expanded_tail((1 - coverage) / 2, n_images)
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


def _expanded_tail(tail: float, n_images: int) -> float:
    """Share of draws beyond either end of an expanded interval; of one image none are."""
    if n_images < 2:
        return 0.0
    degrees, z = n_images - 1, NormalDist().inv_cdf(1 - tail)
    # Abramowitz & Stegun 1964, 26.7.5; its error is below 1 % of t from four images on, and of
    # fewer no draw lies beyond it.
    t = z + sum(
        np.polyval(terms, z) / divisor / degrees**power
        for power, (terms, divisor) in enumerate(_STUDENT_TERMS, start=1)
    )
    return NormalDist().cdf(-t * np.sqrt(n_images / degrees))


_STUDENT_TERMS = (
    ((1, 0, 1, 0), 4),
    ((5, 0, 16, 0, 3, 0), 96),
    ((3, 0, 19, 0, 17, 0, -15, 0), 384),
)
"""Coefficients, highest power first, and divisor of the terms in 1 / degrees of freedom."""


def surest(n_images: int) -> float:
    """The highest probability that so many images can give: 1 - 2 ** -n.

    That all of them speak for one of two equal models happens by luck alone in 2 ** -n of cases
    for either (a sign test), and drawing the same images again makes them no more.
    """
    return 1 - 2.0**-n_images


def probability_better(candidate: np.ndarray, reference: np.ndarray, n_images: int) -> float:
    """Share of paired draws in which the candidate scores higher; ties count half.

    Args:
        candidate: Its score in each bootstrap draw, (draws,).
        reference: The other's in the same draws, (draws,).
        n_images: Images that were drawn from, near-duplicates counted once; with fewer of them
            the share stays further from 0 and 1 (`surest`).
    """
    gains = candidate - reference
    share = float(np.mean(gains > 0) + 0.5 * np.mean(gains == 0))
    most = surest(n_images)
    return min(most, max(1 - most, share))


def clearly_better(
    candidate: np.ndarray, reference: np.ndarray, probability: float = 0.95, draws: int = 500
) -> bool:
    """Whether a model scores higher on the same images, beyond the chance of these images.

    Of fewer than five images none is enough for 95 %: see `surest`.

    Args:
        candidate: Confusion matrices, (N, K, K).
        reference: Of the same images, (N, K, K).
        probability: Share of paired bootstrap draws in which it must score higher.
        draws: Number of draws.
    """
    n_images = len(candidate)
    weights = bootstrap_weights(n_images, draws=draws)
    gains = [macro_imagewise(iou, matrices, weights) for matrices in (candidate, reference)]
    return probability_better(gains[0], gains[1], n_images) > probability


def boundary_counts(
    true: np.ndarray, predicted: np.ndarray, num_classes: int, width_share: float = 0.02
) -> np.ndarray:
    """Intersection and union of the boundary bands of each class in one image.

    The band of a class is what a square erosion by d pixels takes from it, with d a share of the
    image's diagonal. Source: Cheng et al. 2021, "Boundary IoU" (arXiv 2103.16562), section 4.

    Args:
        true: Mask (H, W) uint8; `IGNORE_INDEX` is left out on both sides.
        predicted: Mask (H, W) uint8.
        num_classes: K, background included.
        width_share: d as a share of the diagonal.

    Returns:
        (K, 2) int64: intersection and union in pixels. Sum over images, then divide.
    """
    distance = max(1, round(width_share * float(np.hypot(*true.shape))))
    kept = true != IGNORE_INDEX
    counts = np.zeros((num_classes, 2), dtype=np.int64)
    # Ignored regions cut into both sides alike, or their rims would count as mistakes.
    predicted = np.where(kept, predicted, IGNORE_INDEX)
    present = np.union1d(np.unique(true[kept]), np.unique(predicted[kept]))
    for index in present:
        bands = [_band(mask == index, distance) for mask in (true, predicted)]
        counts[index] = (bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum()
    return counts


def _band(region: np.ndarray, distance: int) -> np.ndarray:
    """Pixels of a region (H, W) within `distance` of its outside; the image's edge is inside."""
    height, width = region.shape
    # Counts of outside pixels above and left of each corner, so that a square costs four reads.
    sums = np.zeros((height + 1, width + 1), dtype=np.int32)
    np.cumsum(np.cumsum(~region, axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
    rows, columns = np.arange(height), np.arange(width)
    top, bottom = np.maximum(rows - distance, 0), np.minimum(rows + distance + 1, height)
    left, right = np.maximum(columns - distance, 0), np.minimum(columns + distance + 1, width)
    tall = sums[bottom] - sums[top]
    band: np.ndarray = region & (tall[:, right] - tall[:, left] > 0)
    return band


def calibration_counts(
    true: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, bins: int = CALIBRATION_BINS
) -> np.ndarray:
    """Pixels, summed confidence and right pixels per confidence bin; sum over images.

    Args:
        true: Mask (H, W) uint8; `IGNORE_INDEX` is left out.
        predicted: Mask (H, W) uint8.
        confidence: (H, W) in [0, 1], of the predicted class.
        bins: Number of bins of equal width.

    Returns:
        (bins, 3) float64.
    """
    kept = true != IGNORE_INDEX
    sure = confidence[kept].astype(np.float64)
    index = np.minimum((sure * bins).astype(np.int64), bins - 1)
    right = (true[kept] == predicted[kept]).astype(np.float64)
    columns = (None, sure, right)
    return np.stack([np.bincount(index, weights=w, minlength=bins) for w in columns], axis=1)


def expected_calibration_error(counts: np.ndarray) -> float:
    """Mean gap between confidence and accuracy, weighted by pixels, in [0, 1].

    Source: Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".
    """
    pixels, confidence, right = counts.T
    return float(np.abs(confidence - right).sum() / pixels.sum()) if pixels.sum() else float("nan")
