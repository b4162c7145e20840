import json
import time

import numpy as np
import pytest
import torch

from autoseg.config import ClassInfo, Geometry
from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.evaluation import SCORES, Predictions, make_report, predict_split, score_table
from autoseg.metrics import (
    bootstrap_weights,
    boundary_counts,
    calibration_counts,
    confusion_matrix,
    dice,
    interval,
    iou,
    precision,
    recall,
)
from autoseg.preprocessing import Preprocessing
from autoseg.training.hardware import Precision

CLASSES = ClassInfo(("a", "b", "c", "d"), ((0, 0, 0),) * 4)


def predictions(n: int = 10, wrong: float = 0.2, seed: int = 0) -> Predictions:
    """Masks of classes a, b and c, of which a share is wrong; d is nowhere."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        true = rng.integers(0, 3, (6, 8)).astype(np.uint8).repeat(5, 0).repeat(5, 1)
        noise = rng.integers(0, 3, true.shape).astype(np.uint8)
        pairs.append((true, np.where(rng.random(true.shape) < wrong, noise, true)))
    sure = rng.random((n, 30, 40))
    return Predictions(
        np.stack([confusion_matrix(t, p, 4) for t, p in pairs]),
        np.stack([boundary_counts(t, p, 4) for t, p in pairs]),
        sum(calibration_counts(t, p, s) for (t, p), s in zip(pairs, sure, strict=True)),
    )


def report(model: Predictions, default: Predictions | None = None, **more: object) -> dict:
    texts = {"split": "test", "untouched": True, "note": "n", "default_note": "d", **more}
    return make_report(model, default, CLASSES, **texts)


def test_the_report_is_json_with_every_score_in_its_interval():
    made = report(predictions(), predictions(seed=1), facts={"trials": 3})
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    for table in (made["model"], made["default_recipe"]):
        assert set(table["scores"]) == set(SCORES)
        for score in table["scores"].values():
            assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
            assert score["low"] < score["high"]
    assert made["trials"] == 3 and made["n_images"] == 10
    assert made["class_names"] == list(CLASSES.names)


def test_pooled_scores_are_those_of_all_pixels_together():
    given = predictions()
    pooled = given.confusions.sum(0)
    made = report(given)
    values = {name: score["value"] for name, score in made["model"]["scores"].items()}
    assert made["confusion"] == pooled.tolist()
    assert values["pixel_accuracy"] == pytest.approx(np.trace(pooled) / pooled.sum(), abs=1e-6)
    for name, score in (("iou", iou), ("dice", dice), ("precision", precision), ("recall", recall)):
        assert values[f"macro_{name}"] == pytest.approx(np.nanmean(score(pooled)), abs=1e-6)
        for k, row in enumerate(made["model"]["per_class"][:3]):
            assert row[name] == pytest.approx(score(pooled)[k], abs=1e-6)
    bands = given.boundaries.sum(0)[:3]
    assert values["macro_boundary_iou"] == pytest.approx(np.mean(bands[:, 0] / bands[:, 1]), 1e-4)


def test_imagewise_scores_are_means_over_images():
    given = predictions()
    made = report(given)["model"]["scores"]
    each = np.mean([[iou(m)[k] for m in given.confusions] for k in range(3)])
    assert made["macro_imagewise_iou"]["value"] == pytest.approx(each, abs=1e-6)


def test_a_class_that_is_nowhere_has_no_scores():
    (row,) = [r for r in report(predictions())["model"]["per_class"] if r["name"] == "d"]
    assert row["pixels"] == row["images"] == 0
    assert {row[name] for name in ("iou", "dice", "precision", "recall", "boundary_iou")} == {None}


def test_pixels_and_images_of_a_class_are_those_of_the_truth():
    given = predictions()
    for k, row in enumerate(report(given)["model"]["per_class"]):
        assert row["pixels"] == given.confusions[:, k].sum()
        assert row["images"] == sum(m[k].sum() > 0 for m in given.confusions)


def test_draws_scored_in_parts_are_those_scored_at_once():
    given = predictions()
    weights = bootstrap_weights(10, draws=250)
    table = score_table(given, CLASSES, weights, 10)
    for name, score in SCORES.items():
        low, high = interval(score(given, weights), 10)
        assert table["scores"][name]["low"] == pytest.approx(low, abs=1e-6)
        assert table["scores"][name]["high"] == pytest.approx(high, abs=1e-6)


MATRIX_SCORES = {
    "pixel_accuracy": lambda m: np.trace(m, axis1=-2, axis2=-1) / m.sum((-2, -1)),
    "macro_iou": lambda m: np.nanmean(iou(m), axis=-1),
    "macro_dice": lambda m: np.nanmean(dice(m), axis=-1),
    "macro_precision": lambda m: np.nanmean(precision(m), axis=-1),
    "macro_recall": lambda m: np.nanmean(recall(m), axis=-1),
}


@pytest.mark.parametrize("name", MATRIX_SCORES)
def test_scores_of_draws_are_those_of_their_pooled_matrices(name):
    given, weights = predictions(), bootstrap_weights(10, draws=50)
    matrices = np.einsum("dn,nij->dij", weights, given.confusions)
    wanted = MATRIX_SCORES[name](matrices)
    np.testing.assert_allclose(SCORES[name](given, weights), wanted, rtol=0, atol=1e-12)
    boundaries = np.einsum("dn,nkc->dkc", weights, given.boundaries)[:, :3]
    wanted = (boundaries[..., 0] / boundaries[..., 1]).mean(-1)
    np.testing.assert_allclose(SCORES["macro_boundary_iou"](given, weights), wanted, atol=1e-12)


def test_many_classes_take_a_report_no_time_to_speak_of():
    """With 150 classes the draws pooled whole matrices: 31 s for one model on 200 images."""
    generator = np.random.default_rng(0)
    given = Predictions(
        generator.integers(0, 9, (200, 150, 150)),
        generator.integers(1, 9, (200, 150, 2)),
        generator.random((15, 3)),
    )
    classes = ClassInfo(tuple(f"c{k}" for k in range(150)), ((0, 0, 0),) * 150)
    weights, began = bootstrap_weights(200), time.process_time()
    score_table(given, classes, weights, len(weights[0]))
    assert time.process_time() - began < 8


def test_the_difference_is_that_of_the_objective_with_its_probability():
    better, worse = predictions(wrong=0.1), predictions(wrong=0.4)
    made = report(better, worse)
    values = [
        made[side]["scores"]["macro_imagewise_iou"]["value"] for side in ("model", "default_recipe")
    ]
    difference = made["difference"]
    assert difference["value"] == pytest.approx(values[0] - values[1], abs=2e-6)
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    sure = 1 - 0.5**10  # As ten images can make it.
    assert difference["probability_better"] == pytest.approx(sure, abs=1e-6)
    reverse = report(worse, better)["difference"]
    assert reverse["probability_better"] == pytest.approx(1 - sure, abs=1e-6)
    assert report(better, better)["difference"]["probability_better"] == 0.5
    assert report(better)["difference"] is None and report(better)["default_recipe"] is None


def test_near_duplicates_widen_the_interval():
    """Ten images, each four times, are no forty."""
    ten = predictions()
    forty = Predictions(
        ten.confusions.repeat(4, axis=0), ten.boundaries.repeat(4, axis=0), ten.calibration
    )
    groups = np.arange(10).repeat(4)
    width = {}
    for name, made in (
        ("naive", report(forty)), ("grouped", report(forty, groups=groups)), ("ten", report(ten))
    ):  # fmt: skip
        score = made["model"]["scores"]["macro_iou"]
        width[name] = score["high"] - score["low"]
    assert width["grouped"] == pytest.approx(width["ten"], rel=0.1)
    assert width["naive"] < 0.7 * width["grouped"]


def test_near_duplicates_make_a_comparison_no_surer():
    better, worse = predictions(wrong=0.1), predictions(wrong=0.4)
    groups = np.arange(10) % 2
    difference = report(better, worse, groups=groups)["difference"]
    assert difference["probability_better"] == 0.75


def test_the_split_is_scored_at_the_images_own_size(tmp_path):
    dataset = check_dataset(make_sample_dataset(tmp_path, 6, size=(50, 70)))
    half = Preprocessing(Geometry(window=(32, 64), scale=0.5), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    told = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        """Class 1 everywhere, with certainty."""
        logits = torch.zeros(len(images), 5, *images.shape[-2:])
        logits[:, 1] = 50
        return logits

    found = predict_split(
        forward,
        dataset,
        (4, 1),
        half,
        Precision(torch.device("cpu")),
        on_progress=lambda *done: told.append(done),
    )
    assert told == [(1, 2), (2, 2)]
    for matrix, i in zip(found.confusions, (4, 1), strict=True):
        true = dataset.mask(i)
        expected = confusion_matrix(true, np.ones_like(true), 5)
        np.testing.assert_array_equal(matrix, expected)
    assert found.calibration[-1, 0] == found.confusions.sum() == 2 * 50 * 70
    assert found.calibration[-1, 2] == found.confusions[:, 1, 1].sum()
