import numpy as np
import pytest

from autoseg.search.selection import Candidate, choose_winner, selection_corrected


def candidate(number: int, ious: np.ndarray, cost_s: float = 1.0) -> Candidate:
    """A trial of two classes whose images have these IoUs."""
    right = np.round(2e6 * np.clip(ious, 0, 1)).astype(np.int64)
    wrong = np.round(1e6 * (1 - np.clip(ious, 0, 1))).astype(np.int64)
    matrices = np.stack([np.stack([right, wrong], -1), np.stack([wrong, right], -1)], -2)
    return Candidate(number, matrices, cost_s)


def pool(*candidates: Candidate) -> dict[int, Candidate]:
    return {c.number: c for c in candidates}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(0.6, 0.1, 40)


def test_the_score_is_the_mean_over_images(images):
    assert candidate(0, images).score == pytest.approx(images.mean(), abs=1e-4)


def test_a_trial_that_is_better_on_every_image_wins_whatever_it_costs(images):
    candidates = pool(candidate(0, images), candidate(1, images + 0.05, cost_s=9))
    assert choose_winner(candidates, 0, seed=0) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_default_stays_without_evidence(images, seed):
    """A higher mean that rests on one image is none."""
    lucky = images.copy()
    lucky[3] += 0.05
    lucky[5] -= 0.02
    candidates = pool(candidate(4, images, cost_s=3), candidate(7, lucky, cost_s=1))
    assert candidates[7].score > candidates[4].score
    assert choose_winner(candidates, 4, seed) == 4


def test_without_a_default_the_cheapest_of_equals_wins(images):
    noise = np.random.default_rng(1).normal(0, 0.02, (3, 40))
    candidates = pool(*(candidate(k, images + noise[k], cost_s=3 - k) for k in range(3)))
    assert choose_winner(candidates, None, seed=0) == 2


def test_a_cheap_trial_that_is_clearly_worse_does_not_win(images):
    candidates = pool(
        candidate(0, images - 0.2, cost_s=0.1), candidate(1, images, 5), candidate(2, images - 0.1)
    )
    assert choose_winner(candidates, 0, seed=0) == 1
    assert choose_winner(candidates, None, seed=0) == 1


def test_a_cheap_trial_that_does_not_beat_the_default_does_not_win(images):
    """It won where its difference to the best was noisy: below the default, as nobody tested it."""
    noise = np.random.default_rng(4).normal(0, 0.12, 40)
    noise -= noise.mean()
    default, best = candidate(0, images, cost_s=2), candidate(1, images + 0.01, cost_s=3)
    for shift in (-0.005, 0.002):  # Below the default, or not to be told from it.
        cheap = candidate(2, images + shift + noise, cost_s=1)
        assert choose_winner(pool(best, cheap), None, seed=0) == 2
        assert choose_winner(pool(default, best, cheap), 0, seed=0) == 1
        assert choose_winner(pool(default, cheap), 0, seed=0) == 0


def test_the_cheapest_wins_of_those_that_beat_the_default(images):
    noise = np.random.default_rng(5).normal(0, 0.02, (2, 40))
    better = [candidate(k, images + 0.05 + noise[k - 1], cost_s=4 - k) for k in (1, 2)]
    assert choose_winner(pool(candidate(0, images), *better), 0, seed=0) == 2


@pytest.mark.parametrize("n_images", [1, 2, 3])
def test_one_or_two_images_are_no_reason_to_leave_the_default(images, n_images):
    """That both agree happens by luck alone every fourth time."""
    few = images[:n_images]
    default, better = candidate(0, few, cost_s=2), candidate(1, few + 0.1, cost_s=3)
    assert choose_winner(pool(default, better), 0, seed=0) == (1 if n_images == 3 else 0)
    cheap = candidate(2, few - 0.3, cost_s=1)
    assert choose_winner(pool(better, cheap), 0, seed=0) == 1  # Cost does not decide alone.


def test_near_duplicates_are_one_piece_of_evidence(images):
    """A film of 30 frames on which a trial is better is no more than one of six scenes."""
    scenes = np.array([0] * 30 + [1, 2, 3, 4, 5] * 2)
    gains = np.where(scenes == 0, 0.1, np.where(scenes == 5, 0.02, -0.03))
    default, better = candidate(0, images), candidate(1, images + gains)
    assert choose_winner(pool(default, better), 0, seed=0, groups=np.arange(40)) == 1
    assert choose_winner(pool(default, better), 0, seed=0, groups=scenes) == 0
    films = np.arange(40) // 20  # Two pieces of evidence are none.
    assert choose_winner(pool(default, candidate(1, images + 0.1)), 0, seed=0, groups=films) == 0


def test_one_candidate_wins(images):
    assert choose_winner(pool(candidate(3, images)), 3, seed=0) == 3
    assert choose_winner(pool(candidate(3, images)), 0, seed=0) == 3  # The default failed.


@pytest.mark.parametrize("n_images", [15, 40])
def test_the_correction_takes_the_optimism_of_choosing_off(n_images):
    """Trials that differ by chance alone: the truth is known, and the best of them flatters."""
    truth, naive, corrected = 0.6, [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        ease = rng.normal(truth, 0.1, n_images)
        noise = rng.normal(0, 0.08, (12, n_images))
        trials = pool(*(candidate(k, ease + noise[k]) for k in range(12)))
        naive.append(max(c.score for c in trials.values()) - ease.mean())
        corrected.append(selection_corrected(trials, seed, draws=60) - ease.mean())
        assert corrected[-1] < naive[-1]
    assert np.mean(naive) > 0.01
    assert abs(np.mean(corrected)) < 0.5 * np.mean(naive)


def test_the_correction_keeps_a_real_gain(images):
    trials = pool(candidate(0, images), candidate(1, images + 0.1))
    corrected = selection_corrected(trials, seed=0)
    assert corrected == pytest.approx(trials[1].score, abs=0.01)


def test_one_candidate_needs_next_to_no_correction(images):
    (trial,) = trials = [candidate(0, images)]
    assert selection_corrected(pool(*trials), seed=0) == pytest.approx(trial.score, abs=0.01)


def test_the_same_seed_corrects_the_same(images):
    trials = pool(candidate(0, images), candidate(1, images[::-1].copy()))
    assert selection_corrected(trials, 3) == selection_corrected(trials, 3)


def test_a_single_image_or_images_without_pixels_cannot_be_corrected(images):
    assert np.isnan(selection_corrected(pool(candidate(0, images[:1])), seed=0))
    empty = Candidate(0, np.zeros((4, 2, 2), dtype=np.int64), 1.0)
    assert np.isnan(selection_corrected(pool(empty), seed=0))
