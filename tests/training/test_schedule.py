import numpy as np
import pytest

from autoseg.errors import ConfigError
from autoseg.training.schedule import Schedule


def test_the_rate_rises_stays_and_falls():
    schedule = Schedule(windows=100, warmup_share=0.1, cooldown_share=0.4)
    factors = np.array([schedule.factor(p) for p in np.linspace(0, 1, 101)])
    assert 0 < factors[0] <= 0.01 and factors[-1] == 0
    assert (np.diff(factors[:11]) >= 0).all()
    assert (factors[10:61] == 1).all()
    falling = np.diff(factors[60:])
    assert (falling < 0).all() and np.allclose(falling, falling[0])
    assert ((factors >= 0) & (factors <= 1)).all()


def test_without_a_cooldown_the_rate_stays_to_the_end():
    assert Schedule(windows=10).factor(1.0) == 1


def test_the_nearer_of_two_limits_counts():
    schedule = Schedule(windows=100, seconds=10)
    assert schedule.progress(50, 1) == 0.5
    assert schedule.progress(10, 8) == 0.8
    assert schedule.progress(200, 0) == 1
    assert Schedule(seconds=10).progress(10**9, 5) == 0.5
    assert Schedule(windows=10).progress(5, 1e9) == 0.5


@pytest.mark.parametrize("evaluations", [(0.5,), (0.5, 0.2, 1.0), (1.0, 2.0)])
def test_evaluations_must_rise_to_the_end(evaluations):
    with pytest.raises(ConfigError, match="rise to 1"):
        Schedule(windows=1, evaluations=evaluations)


def test_a_schedule_without_an_end_is_refused():
    with pytest.raises(ConfigError, match="windows"):
        Schedule()
