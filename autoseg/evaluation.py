"""The test split, once: every score with its interval, beside another model's."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from autoseg.config import FORMAT_VERSION, IGNORE_INDEX, ClassInfo
from autoseg.data.dataset import CheckedDataset
from autoseg.inference import Forward, segment
from autoseg.metrics import (
    ClassPixels,
    bootstrap_weights,
    boundary_counts,
    calibration_counts,
    class_pixels,
    confusion_matrix,
    dice,
    expected_calibration_error,
    interval,
    iou,
    macro,
    macro_imagewise,
    mean_present,
    pixel_accuracy,
    pooled,
    precision,
    probability_better,
    recall,
)
from autoseg.preprocessing import Preprocessing
from autoseg.training.hardware import Precision

_DRAWS_AT_ONCE = 100
"""Bootstrap draws scored together."""


@dataclass(frozen=True)
class Predictions:
    """What one model did on a split, image by image, at each image's own size."""

    confusions: np.ndarray
    """(N, K, K) int64, [true, predicted]."""
    boundaries: np.ndarray
    """(N, K, 2) int64, intersection and union of boundary bands."""
    calibration: np.ndarray
    """(bins, 3) float64, see `calibration_counts`."""

    @cached_property
    def pixels(self) -> ClassPixels:
        """What the scores need of the matrices, each (N, K)."""
        return class_pixels(self.confusions)


def predict_split(
    forward: Forward,
    dataset: CheckedDataset,
    indices: Sequence[int],
    preprocessing: Preprocessing,
    precision_: Precision,
    tile: tuple[int, int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Score a network on original images against original masks.

    Args:
        forward: Images (N, 3, h, w) float32, standardised -> logits.
        dataset: The checked data set.
        indices: Images to score; at least one.
        preprocessing: The network's.
        precision_: Device and autocast.
        tile: Largest input, see `segment`.
        on_progress: Told after every image.
    """
    num_classes = dataset.classes.num_classes
    parts = []
    for done, i in enumerate(indices, start=1):
        true = dataset.mask(i)
        with precision_.autocast():
            found = segment(
                forward, dataset.image(i), preprocessing, device=precision_.device, tile=tile
            )
        parts.append(_counts(true, found.mask, found.confidence, num_classes))
        on_progress(done, len(indices))
    confusions, boundaries, calibration = zip(*parts, strict=True)
    return Predictions(np.stack(confusions), np.stack(boundaries), np.sum(calibration, axis=0))


def _counts(
    true: np.ndarray, found: np.ndarray, confidence: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `Predictions` holds of one image."""
    return (
        confusion_matrix(true, found, num_classes),
        boundary_counts(true, found, num_classes),
        calibration_counts(true, found, confidence),
    )


def time_scoring(
    forward: Forward,
    dataset: CheckedDataset,
    index: int,
    preprocessing: Preprocessing,
    precision_: Precision,
    tile: tuple[int, int] | None = None,
) -> float:
    """Seconds that `predict_split` takes for one image once the network is trained.

    A network that is not trained yet finds every class in an image, and each class that is there
    has its boundaries counted. So it is the ground truth that is counted, against itself, and where
    it is ignored against the background.

    Args:
        forward: As in `predict_split`.
        dataset: The checked data set.
        index: The image.
        preprocessing: The network's.
        precision_: Device and autocast.
        tile: Largest input, see `segment`.
    """
    started = time.monotonic()
    true = dataset.mask(index)
    with precision_.autocast():
        found = segment(
            forward, dataset.image(index), preprocessing, device=precision_.device, tile=tile
        )
    as_found = np.where(true == IGNORE_INDEX, np.uint8(0), true)
    _counts(true, as_found, found.confidence, dataset.classes.num_classes)
    return time.monotonic() - started


Draws = Callable[[Predictions, np.ndarray | None], np.ndarray]


def _boundary_iou(predictions: Predictions, weights: np.ndarray | None) -> np.ndarray:
    """Mean over classes of the boundary IoU of all images pooled."""
    both, either = (predictions.boundaries[..., k].astype(np.float64) for k in (0, 1))
    if weights is None:
        both, either = both.sum(0), either.sum(0)
    else:
        both, either = weights @ both, weights @ either
    with np.errstate(invalid="ignore", divide="ignore"):
        return mean_present(np.where(either > 0, both / either, np.nan))


def _accuracy(predictions: Predictions, weights: np.ndarray | None) -> np.ndarray:
    """Pixel accuracy of all images pooled."""
    return pixel_accuracy(pooled(predictions.pixels, weights))


SCORES: dict[str, Draws] = {
    "pixel_accuracy": _accuracy,
    "macro_iou": lambda p, w: macro(iou, p.pixels, w),
    "macro_dice": lambda p, w: macro(dice, p.pixels, w),
    "macro_precision": lambda p, w: macro(precision, p.pixels, w),
    "macro_recall": lambda p, w: macro(recall, p.pixels, w),
    "macro_imagewise_iou": lambda p, w: macro_imagewise(iou, p.pixels, w),
    "macro_imagewise_dice": lambda p, w: macro_imagewise(dice, p.pixels, w),
    "macro_boundary_iou": _boundary_iou,
}
"""Scores of a report, by name; "macro" pools the pixels of all images, "imagewise" does not."""


def _draws(score: Draws, predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """A score's value in every bootstrap draw."""
    parts = [
        np.atleast_1d(score(predictions, weights[k : k + _DRAWS_AT_ONCE]))
        for k in range(0, len(weights), _DRAWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def number_or_none(value: float) -> float | None:
    """A number as JSON can hold it: rounded, None where there is none."""
    return round(float(value), 6) if np.isfinite(value) else None


def score_table(
    predictions: Predictions, classes: ClassInfo, weights: np.ndarray, n_groups: int
) -> dict[str, Any]:
    """Scores with 95 % intervals, and a row per class, as the report stores them.

    Args:
        predictions: Of N images.
        classes: Class names.
        weights: How often each image is in each bootstrap draw, (draws, N).
        n_groups: Images, near-duplicates counted once.
    """
    scores = {}
    for name, score in SCORES.items():
        low, high = interval(_draws(score, predictions, weights), n_groups)
        value = float(score(predictions, None))
        scores[name] = {
            "value": number_or_none(value),
            "low": number_or_none(low),
            "high": number_or_none(high),
        }
    together = pooled(predictions.pixels)
    columns = {
        "iou": iou(together),
        "dice": dice(together),
        "precision": precision(together),
        "recall": recall(together),
        "imagewise_iou": mean_present(iou(predictions.pixels), axis=0),
    }
    bands = predictions.boundaries.sum(0)
    per_class = [
        {
            "name": name,
            **{column: number_or_none(values[k]) for column, values in columns.items()},
            "boundary_iou": number_or_none(bands[k, 0] / bands[k, 1]) if bands[k, 1] else None,
            "pixels": int(together.true[k]),
            "images": int((predictions.pixels.true[:, k] > 0).sum()),
        }
        for k, name in enumerate(classes.names)
    ]
    return {"scores": scores, "per_class": per_class}


def make_report(
    model: Predictions,
    default: Predictions | None,
    classes: ClassInfo,
    *,
    split: str,
    untouched: bool,
    note: str,
    default_note: str,
    groups: np.ndarray | None = None,
    seed: int = 0,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The report of a run (`report.json`).

    Args:
        model: The chosen model's predictions.
        default: The default recipe's or the former model's on the same images; None: neither's.
        classes: Class names.
        split: "test", "validation" or "folds".
        untouched: Whether nothing was chosen by these images.
        note: What the numbers are worth, for people.
        default_note: How that one was trained.
        groups: Near-duplicate group of each image, (N,).
        seed: Seed of the bootstrap.
        facts: More fields, such as the number of trials.
    """
    weights = bootstrap_weights(len(model.confusions), groups, seed=seed)
    n_groups = len(model.confusions) if groups is None else len(np.unique(groups))
    other = None if default is None else score_table(default, classes, weights, n_groups)
    difference = None
    if default is not None:
        objective = SCORES["macro_imagewise_iou"]
        ours, theirs = _draws(objective, model, weights), _draws(objective, default, weights)
        low, high = interval(ours - theirs, n_groups)
        gain = float(objective(model, None)) - float(objective(default, None))
        difference = {
            "name": "macro_imagewise_iou",
            "value": number_or_none(gain),
            "low": number_or_none(low),
            "high": number_or_none(high),
            "probability_better": number_or_none(probability_better(ours, theirs, n_groups)),
        }
    return {
        "format_version": FORMAT_VERSION,
        "split": split,
        "n_images": len(model.confusions),
        "untouched": untouched,
        "note": note,
        "class_names": list(classes.names),
        "confusion": model.confusions.sum(0).tolist(),
        "model": score_table(model, classes, weights, n_groups),
        "default_recipe": other,
        "default_note": default_note,
        "difference": difference,
        "calibration_error": number_or_none(expected_calibration_error(model.calibration)),
        **(facts or {}),
    }


def compared_with(report: Mapping[str, Any]) -> str:
    """What the model of a report was compared with: "default recipe" or "former model"."""
    return str(report.get("compared_with", "default recipe"))


def shown_gain(report: Mapping[str, Any]) -> float:
    """Points that the model lies above what it was compared with, by the scores as they are shown.

    Rounded by itself the difference of 81.2 and 81.3 could be told as 0.2.
    """
    difference = report["difference"]
    name = difference.get("name", "macro_imagewise_iou")
    tables = (report["model"], report.get("default_recipe") or {})
    scores = [table.get("scores", {}).get(name, {}).get("value") for table in tables]
    if None in scores:
        return 100 * float(difference["value"])
    ours, theirs = (round(100 * score, 1) for score in scores)
    return float(ours - theirs)


def forward_of(model: torch.nn.Module) -> Forward:
    """The network's forward pass in the memory format it was trained in."""
    return lambda images: model(images.contiguous(memory_format=torch.channels_last))
