"""Judging the model of a run: on the test split, or on images kept out of training."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from autoseg.checkpoint import Weights
from autoseg.config import Recipe, from_dict, to_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits
from autoseg.evaluation import Predictions, forward_of, predict_split, time_scoring
from autoseg.files import write_json
from autoseg.inference import segment
from autoseg.search.folds import FoldModel
from autoseg.search.run_folder import RunFolder, TrialRecord
from autoseg.training.hardware import Precision
from autoseg.training.trial import Trial, build_network, preprocessing_of, tile_of

Progress = Callable[[float, float], None]

FoldPredictions = Mapping[tuple[int, ...], Predictions]
"""Predictions of networks beside the model, by the images that each of them left out."""

_SCORED = "scored_on_test.json"

_TIMED_IMAGES = 5
"""Images that are judged to learn what judging takes, if there is time."""


@dataclass(frozen=True)
class Judged:
    """Predictions of images that the network did not train on."""

    split: str
    """"test", "validation" or "folds"."""
    indices: tuple[int, ...]
    """Images, in the order of the predictions."""
    predictions: Predictions
    seconds: float = 0.0
    """Time that predicting them took, in seconds; 0: not known."""


def held_out(splits: Splits) -> tuple[str, tuple[int, ...]]:
    """The split that a model itself is judged on, and its images."""
    return ("test", splits.test) if splits.test else ("validation", splits.val)


@dataclass(frozen=True)
class ScoredOnTest:
    """Which models of a run were scored on its test images (`scored_on_test.json`).

    Scores are honest as long as nobody chooses by them: the more models were scored, the more
    whoever keeps the best of them fools himself.
    """

    trials: tuple[int, ...]
    """Trial of each model, in the order in which they were scored; the first is the winner, and one
    that was taken twice stands here twice.
    """

    @property
    def n_models(self) -> int:
        """How many models they are."""
        return len(set(self.trials))

    @staticmethod
    def of(run: RunFolder) -> "ScoredOnTest":
        """The record of a run; one of an earlier autoseg has scored its winner.

        Raises:
            RunError: The record is damaged.
        """
        stored = run.json(_SCORED)
        if stored is not None:
            return from_dict(ScoredOnTest, stored, _SCORED)
        winners = [trial.number for trial in run.trials() if "winner" in trial.tags]
        scored = (run.json("report/report.json") or {}).get("split") == "test"
        return ScoredOnTest(tuple(winners) if scored else ())

    def write(self, run: RunFolder) -> None:
        """Keep the record in a run's folder."""
        write_json(run.path / _SCORED, to_dict(self))


def predict_weights(
    dataset: CheckedDataset,
    indices: tuple[int, ...],
    precision: Precision,
    recipe: Recipe,
    weights: Weights,
    on_progress: Progress = lambda done, total: None,
) -> Predictions:
    """Score one model on original images at their own size."""
    model = _network(dataset, precision.device, recipe, weights)
    return predict_split(
        forward_of(model),
        dataset,
        indices,
        preprocessing_of(recipe),
        precision,
        tile=tile_of(recipe),
        on_progress=on_progress,
    )


def predict_images(
    dataset: CheckedDataset,
    indices: Iterable[int],
    precision: Precision,
    recipe: Recipe,
    weights: Weights,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image (H, W, 3), ground truth and prediction (H, W) of some images, one after another."""
    forward = forward_of(_network(dataset, precision.device, recipe, weights))
    preprocessing, tile = preprocessing_of(recipe), tile_of(recipe)
    for i in indices:
        image = dataset.image(i)
        with precision.autocast():
            found = segment(forward, image, preprocessing, device=precision.device, tile=tile)
        yield image, dataset.mask(i), found.mask


def time_judging(dataset: CheckedDataset, splits: Splits, trial: Trial, most_s: float) -> float:
    """Seconds that judging a held-out image takes at its own size, by the network of a trial.

    A pixel of a large image takes longer (on dsb2018 1.6 us in 1040x1388 pixels, 0.7 in 256x256),
    so validation images of several sizes are timed, each for as many pixels of the held-out ones.
    The median of their times per pixel counts: other work on the machine may make one image take
    many times as long.

    Args:
        dataset: The data set.
        splits: Of the run.
        trial: With any weights.
        most_s: Time that timing may take, in seconds; one image takes what it takes.
    """
    pixels = dataset.statistics.sizes.astype(np.float64).prod(1)
    judged = pixels[list(held_out(splits)[1])]
    chosen = _like_pixels(pixels, splits.val, judged)
    trial.model.eval()
    forward, seen_as, tile = forward_of(trial.model), trial.preprocessing, tile_of(trial.recipe)
    rates: list[float] = []
    spent_s = 0.0
    for i in (chosen[0], *chosen):  # The first one warms up.
        if rates and spent_s + spent_s / len(rates) > most_s:
            break
        seconds = time_scoring(forward, dataset, i, seen_as, trial.precision, tile)
        spent_s += seconds
        rates.append(seconds / pixels[i])
    return float(judged.mean() * np.median(rates[1:] or rates))


def _like_pixels(pixels: np.ndarray, among: tuple[int, ...], judged: np.ndarray) -> list[int]:
    """`_TIMED_IMAGES` images of the sizes in which equal shares of judged pixels lie; where few are
    of such a size, one comes again.

    Args:
        pixels: Of each image, (N,).
        among: The images to choose from.
        judged: Pixels of each image that will be judged, (M,).
    """
    ordered = np.sort(judged)
    shares = (np.arange(_TIMED_IMAGES) + 0.5) / _TIMED_IMAGES
    sizes = ordered[np.searchsorted(ordered.cumsum(), shares * ordered.sum())]
    chosen: list[int] = []
    for size in sizes.tolist():
        off = np.abs(pixels[list(among)] - size)
        nearest = [i for i, far in zip(among, off, strict=True) if far == off.min()]
        chosen.append(min(nearest, key=chosen.count))
    return chosen


def _network(
    dataset: CheckedDataset, device: torch.device, recipe: Recipe, weights: Weights
) -> torch.nn.Module:
    """A trained network on its device, in eval mode."""
    model = build_network(recipe, dataset.classes.num_classes, weights)
    return model.eval().to(device).to(memory_format=torch.channels_last)


def judge_folds(
    dataset: CheckedDataset,
    precision: Precision,
    recipe: Recipe,
    folds: Iterable[FoldModel],
    on_judged: Callable[[tuple[int, ...], Predictions], None],
    on_progress: Progress = lambda done, total: None,
) -> None:
    """Score each image by the network that never saw it.

    Args:
        dataset: The data set.
        precision: How and where the networks compute.
        recipe: What the folds trained.
        folds: Networks, one after another.
        on_judged: Told of every fold's predictions.
        on_progress: Told after every image of a fold.
    """
    for fold in folds:
        made = predict_weights(dataset, fold.left_out, precision, recipe, fold.weights, on_progress)
        on_judged(fold.left_out, made)


def joined(own: Judged, folds: FoldPredictions) -> Judged:
    """The model's predictions of its validation images and those of the networks beside it.

    Args:
        own: The model's.
        folds: Predictions of the others, by the images they left out; may be none.
    """
    if not folds:
        return own
    parts = [own.predictions, *folds.values()]
    together = Predictions(
        np.concatenate([part.confusions for part in parts]),
        np.concatenate([part.boundaries for part in parts]),
        np.sum([part.calibration for part in parts], axis=0),
    )
    indices = (*own.indices, *(i for left_out in folds for i in left_out))
    seconds = own.seconds * len(indices) / len(own.indices)
    return Judged("folds", indices, together, seconds)


def report_note(judged: Judged, splits: Splits, n_candidates: int, *, goes_on: bool = False) -> str:
    """What the report's numbers are worth, in one sentence or two.

    Args:
        judged: On what the model was judged.
        splits: Of the run.
        n_candidates: Trials that were compared.
        goes_on: Whether a former model was trained on, which may have seen the images.
    """
    if judged.split == "test" and splits.test_is_untouched:
        return (
            "Measured once, on images that neither training nor the search has seen; the interval "
            "is what other images of the same kind would do to it in 95 of 100 cases."
        )
    if judged.split == "test":
        return "Measured on the given test images; read the notes on the splits."
    if judged.split == "folds":
        return (
            "An estimate without an untouched test, for which there are too few images: each of "
            "these was predicted by the model or by one of the same recipe, trained about as long, "
            "that had not learnt from it."
            + (" The recipe was chosen with the help of some of the images." * (n_candidates > 1))
        )
    if n_candidates > 1:
        return (
            f"An estimate without an untouched test: there is no test split, and {n_candidates} "
            f"trials were compared by these same images. Expect somewhat less on new ones."
        )
    if goes_on:
        return (
            "An estimate without an untouched test: there is no test split, and weights were "
            "chosen by these same images. Expect somewhat less on new ones."
        )
    return (
        "An estimate without an untouched test: there is no test split. The model has not learnt "
        "from these images; only how long to train it may have been decided by them."
    )


def taken_note(judged: Judged, splits: Splits, n_models: int, n_candidates: int) -> str:
    """What the numbers of a model are worth that a person took from the trials of a finished run.

    Args:
        judged: On what it was judged.
        splits: Of the run.
        n_models: Models of the run that were scored on the test images, this one included.
        n_candidates: Trials that were compared.
    """
    if judged.split != "test":
        return report_note(judged, splits, n_candidates)
    seen = (
        "images that neither training nor the search has seen"
        if splits.test_is_untouched
        else "the given test images (read the notes on the splits)"
    )
    return (
        f"Measured on {seen}. {n_models} models of this run have been scored on them by now: who "
        f"chooses among these by their scores must expect somewhat less on new images."
    )


def about_taken(taken: TrialRecord, winner: TrialRecord | None) -> str:
    """What a model is that a person took, and how it relates to the winner, in a sentence or two.

    Args:
        taken: Its trial.
        winner: The trial of the run's own model; None: not known.
    """
    said = (
        f"This is trial {taken.number} as the search trained it, for {taken.recipe.epochs:.1f} "
        f"epochs, without final training."
    )
    if winner is None or winner.latency_ms is None or taken.latency_ms is None:
        return said
    return (
        f"{said} The winner, trial {winner.number}, had its final training and takes "
        f"{winner.latency_ms:.1f} ms for an image where this one takes {taken.latency_ms:.1f} ms."
    )


def default_note(
    epochs: float | None,
    won: bool,
    n_candidates: int,
    *,
    stopped: bool = False,
    asked_for_one: bool = False,
) -> str:
    """How the model relates to the default recipe, in one sentence.

    Args:
        epochs: Length of the default's own trial where it is compared; None: it is not.
        won: Whether the model is of the default recipe.
        n_candidates: Trials that could have won.
        stopped: Whether the run was asked to finish before its time.
        asked_for_one: Whether one trial alone was allowed.
    """
    if epochs is not None:
        return (
            f"The default recipe as the search trained it, for {epochs:.1f} epochs, without the "
            f"final training."
        )
    if not won:
        return "There was no time, or no untouched image, to score the default recipe beside it."
    if n_candidates <= 1 and stopped:
        return "No recipes were compared until then: the model is the default recipe."
    if n_candidates <= 1 and asked_for_one:
        return "One trial was asked for: the model is the default recipe."
    if n_candidates <= 1:
        return (
            "There was no time to compare recipes: the model is the default recipe, trained for "
            "all the time there was."
        )
    return "No recipe was clearly better than the default: the model is that one."
