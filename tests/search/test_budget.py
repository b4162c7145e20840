import time

import numpy as np
import pytest

from autoseg.errors import BudgetError
from autoseg.machine_load import Load
from autoseg.search.budget import (
    SEARCH_FROM_EPOCHS,
    Clock,
    EncoderCost,
    admissible,
    check_enough,
    search_share,
    trial_epochs,
)


def cost(step_s: float) -> EncoderCost:
    return EncoderCost(step_s, step_s / 4, step_s / 6, step_s / 2, bf16=False)


def test_the_clock_counts_earlier_attempts_and_keeps_the_reserve():
    clock = Clock(100, time.monotonic() - 10, spent_before_s=30, reserve_s=5)
    assert clock.elapsed() == pytest.approx(40, abs=0.5)
    assert clock.left() == pytest.approx(55, abs=0.5)
    assert Clock(100, time.monotonic() - 200).left() < 0


@pytest.mark.alone
def test_a_clock_that_stands_counts_nothing_and_then_runs_on():
    clock = Clock(100, time.monotonic() - 10)
    with clock.standing():
        before = clock.elapsed()
        time.sleep(0.2)
        assert clock.elapsed() == before == pytest.approx(10, abs=0.1)
    assert clock.elapsed() == pytest.approx(10, abs=0.1)
    with clock.standing():
        clock.begin_anew()
        time.sleep(0.1)
    assert clock.elapsed() == pytest.approx(0, abs=0.05)
    clock.begin_anew()
    time.sleep(0.2)
    assert 0.2 <= clock.elapsed() < 1


@pytest.mark.parametrize("spent", [0.0, 3.0, 50.0])
@pytest.mark.parametrize("step_s", [0.01, 1.0, 40.0])
@pytest.mark.parametrize("reserve_s", [3.0, 30.0])
def test_too_small_a_budget_is_refused_with_one_that_is_enough(spent, step_s, reserve_s):
    def check(budget_s: float) -> None:
        clock = Clock(budget_s, time.monotonic() - spent, reserve_s=reserve_s + 0.02 * budget_s)
        check_enough(clock, step_s)

    with pytest.raises(BudgetError, match=r"at least (\d+) s") as caught:
        check(1.0)
    least = float(str(caught.value).rsplit("at least ", 1)[1].split()[0])
    for more in (1, 1.5, 10, 100):
        check(least * more)


@pytest.mark.parametrize(("waiting", "told"), [(0.3, False), (13.94, True)])
def test_a_refusal_names_the_load_of_a_busy_computer(waiting, told):
    """What the page had promised was refused, and nothing said that the computer was busy."""
    clock = Clock(20.0, spent_before_s=18.0, load=Load(waiting, cores=2))
    with pytest.raises(BudgetError, match="Give it at least") as refusal:
        check_enough(clock, 1.0)
    assert ("(load 13.9 on 2 cores)" in str(refusal.value)) == told


def test_after_waiting_for_another_search_its_load_is_not_blamed():
    clock = Clock(20.0, load=Load(99.0, cores=2))
    with clock.standing():
        pass
    assert not clock.load.is_busy


def test_whoever_gets_more_time_searches_no_smaller_a_share():
    shares = [search_share(epochs) for epochs in np.geomspace(0.1, 1e5, 300)]
    assert shares == sorted(shares)
    assert shares[0] == 0 and 0 < shares[-1] < 1
    assert search_share(SEARCH_FROM_EPOCHS - 0.1) == 0 < search_share(SEARCH_FROM_EPOCHS)


def test_trials_grow_with_the_budget_within_bounds():
    lengths = [trial_epochs(epochs) for epochs in np.geomspace(0.1, 1e5, 300)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 4 and lengths[-1] == 15


def test_nearly_equal_timings_plan_equally():
    assert trial_epochs(203.0) == trial_epochs(215.0)


@pytest.mark.parametrize("search_s", [0.0, 1.0, 60.0, 1e6])
@pytest.mark.parametrize("first", ["big", "middle", "small"])
def test_the_reference_is_always_admissible_and_first_whatever_it_costs(first, search_s):
    """The cheapest by its timing was, so the default recipe changed from run to run."""
    steps = {"big": 4.0, "small": 0.5, "middle": 1.0}
    costs = {name: cost(steps[name]) for name in dict.fromkeys([first, *steps])}
    names = admissible(costs, n_train=100, epochs=4, search_s=search_s)
    assert names[0] == first
    assert names[1:] == [n for n in ("small", "middle", "big") if n in names[1:]]
    for name in names[1:]:
        assert costs[name].step_s * 100 * 4 <= 0.12 * search_s


def test_more_time_admits_more_encoders():
    costs = {str(k): cost(0.1 * 2**k) for k in range(8)}
    counts = [len(admissible(costs, 50, 4, search_s)) for search_s in np.geomspace(1, 1e6, 40)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 8
