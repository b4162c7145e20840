"""Which trials no other beats in both score and speed, and whose weights are kept."""

import pytest

from autoseg.config import Geometry, Recipe
from autoseg.search.front import MAX_KEPT, kept_front, pareto_front
from autoseg.search.run_folder import TrialRecord

RECIPE = Recipe("test_resnet", Geometry(window=(64, 64), scale=1.0))


def timed(
    number: int, score: float | None, latency_ms: float | None, status: str = "complete"
) -> TrialRecord:
    return TrialRecord(number, status, RECIPE, "sampler", score=score, latency_ms=latency_ms)


TRIALS = [
    timed(0, 0.5, 10), timed(1, 0.6, 20), timed(2, 0.55, 25), timed(3, 0.7, 30, "pruned"),
    timed(4, 0.4, 10), timed(5, 0.9, 5, "failed"), timed(6, 0.9, None), timed(7, None, 5),
    timed(8, 0.9, 5, "set aside"), timed(9, 0.7, 30),
]  # fmt: skip


def test_the_front_is_what_no_other_trial_beats():
    front = pareto_front(TRIALS)
    assert [record.number for record in front] == [0, 1, 3]
    for record in front:
        assert not any(
            other.score >= record.score and other.latency_ms < record.latency_ms
            for other in TRIALS[:5]
        )


def test_a_trial_that_still_runs_keeps_no_other_from_the_front():
    running = timed(1, 0.9, 1, "running")
    assert [record.number for record in pareto_front([timed(0, 0.5, 10), running])] == [1]
    assert [record.number for record in kept_front([timed(0, 0.5, 10), running])] == [0]


@pytest.mark.parametrize("length", [1, MAX_KEPT, MAX_KEPT + 3])
def test_of_a_long_front_the_better_end_is_kept(length):
    trials = [timed(k, 0.1 + 0.01 * k, 1.0 + k) for k in range(length)]
    kept = [record.number for record in kept_front(trials)]
    assert kept == list(range(length))[-MAX_KEPT:]
