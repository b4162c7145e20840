import numpy as np
import pytest

from autoseg.metrics import (
    bootstrap_weights,
    boundary_counts,
    calibration_counts,
    clearly_better,
    confusion_matrix,
    dice,
    expected_calibration_error,
    interval,
    iou,
    macro,
    macro_imagewise,
    mean_present,
    pixel_accuracy,
    precision,
    probability_better,
    recall,
    surest,
)

K = 4


def random_masks(seed: int, shape=(17, 23), ignored: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, K - 1, (2, *shape)).astype(np.uint8)  # The last is absent.
    true[rng.random(shape) < ignored] = 255
    return true, predicted


def confusions(n: int = 12) -> np.ndarray:
    return np.stack([confusion_matrix(*random_masks(seed), K) for seed in range(n)])


@pytest.mark.parametrize("seed", range(5))
def test_the_confusion_matrix_counts_pairs_of_pixels(seed):
    true, predicted = random_masks(seed)
    expected = np.zeros((K, K), dtype=np.int64)
    for t, p in zip(true.flat, predicted.flat, strict=True):
        if t != 255:
            expected[t, p] += 1
    np.testing.assert_array_equal(confusion_matrix(true, predicted, K), expected)


def test_all_255_classes_are_counted_apart():
    values = np.arange(255, dtype=np.uint8)
    shifted = np.roll(values, 1)
    matrix = confusion_matrix(values, shifted, 255)
    assert matrix.sum() == 255 and (matrix[values, shifted] == 1).all()


@pytest.mark.parametrize(("true", "predicted"), [([0, 3], [0, 1]), ([0, 1], [0, 3])])
def test_a_value_that_is_no_class_is_refused(true, predicted):
    with pytest.raises(ValueError, match="below 3"):
        confusion_matrix(np.array(true, np.uint8), np.array(predicted, np.uint8), 3)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


@pytest.mark.parametrize("seed", range(5))
def test_scores_follow_their_definitions_on_sets_of_pixels(seed):
    true, predicted = random_masks(seed)
    matrix = confusion_matrix(true, predicted, K)
    kept = true != 255
    for k in range(K - 1):
        t, p = (true == k) & kept, (predicted == k) & kept
        both = (t & p).sum()
        assert iou(matrix)[k] == pytest.approx(both / (t | p).sum())
        assert dice(matrix)[k] == pytest.approx(2 * both / (t.sum() + p.sum()))
        assert precision(matrix)[k] == pytest.approx(both / p.sum())
        assert recall(matrix)[k] == pytest.approx(both / t.sum())
    assert pixel_accuracy(matrix) == pytest.approx((true == predicted)[kept].mean())
    np.testing.assert_allclose(dice(matrix), 2 * iou(matrix) / (1 + iou(matrix)))


def test_absent_classes_have_no_score_and_count_in_no_mean():
    """smp counts them as 1 and so flatters every image that lacks a rare class."""
    matrix = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    for score in (iou, dice, precision, recall):
        values = score(matrix)
        assert np.isnan(values[2])
        assert macro(score, matrix[None]) == pytest.approx(values[:2].mean())
        assert macro_imagewise(score, matrix[None]) == pytest.approx(values[:2].mean())
    predicted_only = np.array([[8, 2], [0, 0]])
    assert iou(predicted_only)[1] == 0 and np.isnan(recall(predicted_only)[1])
    true_only = predicted_only.T
    assert iou(true_only)[1] == 0 and np.isnan(precision(true_only)[1])


def test_a_mean_of_nothing_is_nan():
    assert np.isnan(mean_present(np.array([np.nan, np.nan])))
    assert np.isnan(pixel_accuracy(np.zeros((2, 2))))
    assert np.isnan(macro_imagewise(iou, np.zeros((3, 2, 2))))


def test_reductions_follow_their_definitions():
    matrices = confusions()
    assert macro(iou, matrices) == pytest.approx(np.nanmean(iou(sum(matrices))))
    per_class = [np.nanmean([iou(m)[k] for m in matrices]) for k in range(K - 1)]
    assert macro_imagewise(iou, matrices) == pytest.approx(np.mean(per_class))


@pytest.mark.parametrize("reduction", [macro, macro_imagewise])
def test_weights_are_repetitions_of_images(reduction):
    matrices = confusions()
    weights = bootstrap_weights(len(matrices), draws=20)
    for row, value in zip(weights, reduction(iou, matrices, weights), strict=True):
        repeated = np.repeat(matrices, row.astype(int), axis=0)
        assert value == pytest.approx(reduction(iou, repeated))


def test_each_draw_has_as_many_groups_as_there_are():
    groups = np.array([5, 5, 5, 9, 2, 2])
    weights = bootstrap_weights(6, groups, draws=200)
    for group in (5, 9, 2):
        members = weights[:, groups == group]
        assert (members == members[:, :1]).all()  # Drawn together.
    assert (weights[:, [0, 3, 4]].sum(1) == 3).all()
    assert (bootstrap_weights(6, draws=200).sum(1) == 6).all()


def test_the_same_seed_draws_the_same():
    np.testing.assert_array_equal(bootstrap_weights(9, seed=4), bootstrap_weights(9, seed=4))
    assert (bootstrap_weights(9, seed=4) != bootstrap_weights(9, seed=5)).any()


@pytest.mark.parametrize(
    ("n_images", "quantile", "off"), [(80, 1.990, 0.1), (12, 2.201, 0.1), (5, 2.776, 0.2)]
)
def test_intervals_of_a_normal_mean_cover_it_in_95_of_100_cases(n_images, quantile, off):
    """Plain percentiles of five images did in 81."""
    rng = np.random.default_rng(0)
    weights = bootstrap_weights(n_images, draws=600) / n_images
    samples = rng.normal(3, 2, (400, n_images))
    lows, highs = np.array([interval(weights @ sample, n_images) for sample in samples]).T
    covered = ((lows <= 3) & (highs >= 3)).mean()
    assert 0.90 < covered < 0.98
    # The width of Student's interval, 2 t sd / sqrt(n).
    width = (2 * quantile * samples.std(1, ddof=1) / np.sqrt(n_images)).mean()
    assert (highs - lows).mean() == pytest.approx(width, rel=off)


def test_intervals_of_so_few_images_that_none_can_be_too_wide_are_all_that_was_drawn():
    draws = np.linspace(0.2, 0.8, 50)
    assert interval(draws, 1) == interval(draws, 2) == (0.2, 0.8)


def test_an_interval_of_nothing_is_nan():
    assert np.isnan(interval(np.full(5, np.nan), 5)).all()


def test_paired_probabilities_add_up_to_one():
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 3, (2, 500)).astype(float)
    for n_images in (1, 3, 50):
        both = [probability_better(*pair, n_images) for pair in ((one, other), (other, one))]
        assert sum(both) == pytest.approx(1)
        assert probability_better(one, one, n_images) == 0.5
    assert probability_better(one + 5, one, 50) == pytest.approx(1)


def test_pairing_finds_a_small_but_steady_gain():
    """Images differ much more than the two models do: only the pairing can tell them apart."""
    rng = np.random.default_rng(2)
    difficulty = rng.normal(0.6, 0.2, 50)
    gained = difficulty + rng.normal(0.02, 0.02, 50)
    weights = bootstrap_weights(50) / 50
    assert probability_better(weights @ gained, weights @ difficulty, 50) > 0.99


def brute_force_band(region: np.ndarray, distance: int) -> np.ndarray:
    """Pixels of a region that a square of that reach around them leaves."""
    band = np.zeros_like(region)
    for row, column in np.argwhere(region):
        top, left = max(0, row - distance), max(0, column - distance)
        around = region[top : row + distance + 1, left : column + distance + 1]
        band[row, column] = not around.all()
    return band


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_boundary_bands_are_what_an_erosion_takes(seed, share):
    rng = np.random.default_rng(seed)
    blobs = (rng.random((2, 8, 10)) * 3).astype(np.uint8)
    true, predicted = blobs.repeat(5, axis=1).repeat(4, axis=2)  # Regions touch the edges.
    distance = max(1, round(share * np.hypot(*true.shape)))
    counts = boundary_counts(true, predicted, K, share)
    for k in range(K):
        bands = [brute_force_band(mask == k, distance) for mask in (true, predicted)]
        assert counts[k].tolist() == [(bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum()]


def test_the_edge_of_the_image_is_no_boundary():
    mask = np.ones((20, 20), np.uint8)
    assert boundary_counts(mask, mask, 2).sum() == 0


def test_a_prediction_right_wherever_it_counts_has_boundary_iou_one():
    """The truth's bands ran along ignored regions, where a prediction has no boundary."""
    true = np.zeros((40, 40), np.uint8)
    true[10:30, 10:30] = 1
    predicted = true.copy()
    true[5:15, 20:26] = 255
    intersection, union = boundary_counts(true, predicted, 2).T
    np.testing.assert_array_equal(intersection, union)
    assert (union > 0).all()


def test_calibration_of_a_calibrated_toy_is_zero():
    """In each tile of ten pixels the confidence is the share of right ones."""
    confidence = np.repeat([0.1, 0.5, 0.9, 1.0], 10)
    right = np.concatenate([np.arange(10) < round(10 * c) for c in (0.1, 0.5, 0.9, 1.0)])
    true = np.where(right, 1, 0).astype(np.uint8)
    counts = calibration_counts(true, np.ones(40, np.uint8), confidence)
    assert counts[:, 0].sum() == 40
    assert expected_calibration_error(counts) == pytest.approx(0)


def test_calibration_error_is_the_gap_of_an_overconfident_toy():
    true = np.array([1, 0] * 50 + [255] * 20, np.uint8)
    counts = calibration_counts(true, np.ones(120, np.uint8), np.full(120, 0.9))
    assert expected_calibration_error(counts) == pytest.approx(0.4)
    assert expected_calibration_error(2 * counts) == pytest.approx(0.4)
    assert np.isnan(expected_calibration_error(np.zeros((15, 3))))


def test_chance_does_not_make_a_model_clearly_better():
    rng = np.random.default_rng(0)
    hits = rng.integers(60, 100, 40)
    reference = np.stack([np.array([[50, 0], [100 - h, h]]) for h in hits])
    luckier = np.stack([np.array([[50, 0], [100 - h, h]]) for h in hits + rng.integers(-9, 10, 40)])
    better = np.stack([np.array([[50, 0], [100 - h, h]]) for h in np.minimum(hits + 20, 100)])
    assert not clearly_better(luckier, reference) and not clearly_better(reference, luckier)
    assert clearly_better(better, reference) and not clearly_better(reference, better)
    assert not clearly_better(reference, reference)


@pytest.mark.parametrize("n_images", range(1, 8))
def test_so_few_images_are_never_enough_to_be_clearly_better(n_images):
    """One image was: drawn again and again, it is the same in every draw."""
    better, worse = (np.array([[[50, 0], [100 - hits, hits]]] * n_images) for hits in (90, 30))
    assert clearly_better(better, worse) is (n_images >= 5)
    assert clearly_better(better, worse, probability=0.8) is (n_images >= 3)
    assert not clearly_better(worse, better)


def test_images_that_all_agree_are_as_sure_as_a_sign_test_of_them():
    for n_images in (1, 2, 4, 8):
        sure = probability_better(np.ones(500), np.zeros(500), n_images)
        assert sure == surest(n_images) == 1 - 0.5**n_images
