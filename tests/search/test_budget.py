import time
from dataclasses import replace

import numpy as np
import pytest

from autoseg.errors import BudgetError
from autoseg.machine_load import Load
from autoseg.search.budget import (
    LEAST_ASKED_STEPS,
    LEAST_TRIAL_STEPS,
    SEARCH_FROM_EPOCHS,
    SEARCH_FROM_STEPS,
    Clock,
    EncoderCost,
    Horizon,
    admissible,
    check_enough,
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


TIMES = np.geomspace(0.1, 1e5, 300)
"""In epochs."""


@pytest.mark.parametrize("steps_per_epoch", [1.0, 10.0, 500.0])
@pytest.mark.parametrize("n_trials", [None, 5])
def test_whoever_gets_more_time_searches_no_smaller_a_share(steps_per_epoch, n_trials):
    shares = [Horizon(epochs, steps_per_epoch, n_trials).search_share for epochs in TIMES]
    assert shares == sorted(shares)
    assert shares[0] == 0 and 0 < shares[-1] < 1


def test_no_search_is_made_in_few_epochs_or_few_steps():
    assert Horizon(SEARCH_FROM_EPOCHS - 0.1, 1e4).search_share == 0
    assert Horizon(SEARCH_FROM_STEPS / 5 - 0.1, 5).search_share == 0
    assert Horizon(SEARCH_FROM_STEPS / 5, 5).search_share > 0


@pytest.mark.parametrize("n_trials", [2, 5, 20])
@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(2, 500), (12, 50), (40, 10), (300, 5)])
def test_whoever_asks_for_several_trials_gets_them_in_however_little_time(
    n_trials, epochs, steps_per_epoch
):
    ahead = Horizon(epochs, steps_per_epoch, n_trials)
    n_whole = ahead.search_share * epochs / ahead.trial_epochs
    assert n_whole >= n_trials or ahead.trial_epochs * steps_per_epoch <= LEAST_ASKED_STEPS
    assert Horizon(epochs, steps_per_epoch, n_trials=1).search_share == 0


@pytest.mark.parametrize("n_trials", [2, 5, 200])
def test_where_a_search_is_made_anyway_its_trials_are_no_shorter_for_being_asked_for(n_trials):
    asked, ahead = Horizon(1000.0, 10, n_trials), Horizon(1000.0, 10)
    assert asked.search_share == ahead.search_share > 0
    assert asked.trial_epochs == ahead.trial_epochs


def test_encoders_that_the_user_named_are_compared_as_soon_as_two_trials_fit():
    """`--encoders resnet18,resnet50` tried the first alone for hours, and nothing said so."""
    times = [Horizon(epochs, 10) for epochs in TIMES]
    searches = [ahead for ahead in times if ahead.search_share > 0]
    assert all(replace(ahead, names_encoders=True).compares_encoders for ahead in searches)
    assert not Horizon(10.0, 10, names_encoders=True).compares_encoders


@pytest.mark.parametrize("epochs", [99.99999999999999, 100.0, 999.9999999999999, 2 / 3 * 1e3])
def test_a_length_next_to_a_power_of_ten_is_on_the_grid(epochs):
    length = Horizon(epochs / 0.03, 1000).trial_epochs
    assert 0.6 * epochs < length <= 1.001 * epochs


@pytest.mark.parametrize("steps_per_epoch", [0.5, 10.0, 500.0])
def test_trials_grow_with_the_budget(steps_per_epoch):
    lengths = [Horizon(epochs, steps_per_epoch).trial_epochs for epochs in TIMES]
    assert lengths == sorted(lengths)
    assert lengths[0] * steps_per_epoch > 0.8 * LEAST_TRIAL_STEPS  # On a coarse grid.


@pytest.mark.parametrize("n_trials", [None, 5])
def test_a_search_holds_several_trials(n_trials):
    for epochs in TIMES:
        for steps_per_epoch in (0.5, 10.0, 500.0):
            ahead = Horizon(epochs, steps_per_epoch, n_trials)
            if ahead.search_share > 0:
                assert ahead.search_share * epochs / ahead.trial_epochs >= 1.5


def test_nearly_equal_timings_plan_equally():
    assert Horizon(203.0, 20).trial_epochs == Horizon(215.0, 20).trial_epochs


@pytest.mark.parametrize("limit_s", [0.0, 100.0, 600.0, 1e6])
@pytest.mark.parametrize("first", ["big", "middle", "small"])
def test_the_reference_is_always_admissible_and_first_whatever_it_costs(first, limit_s):
    """The cheapest by its timing was, so the default recipe changed from run to run."""
    steps = {"big": 4.0, "small": 0.5, "middle": 1.0}
    costs = {name: cost(steps[name]) for name in dict.fromkeys([first, *steps])}
    names = admissible(costs, n_train=100, epochs=4, limit_s=limit_s)
    assert names[0] == first
    assert names[1:] == [n for n in ("small", "middle", "big") if n in names[1:]]
    for name in names[1:]:
        assert costs[name].step_s * 100 * 4 <= limit_s


def test_more_time_admits_more_encoders():
    costs = {str(k): cost(0.1 * 2**k) for k in range(8)}
    counts = [len(admissible(costs, 50, 4, limit_s)) for limit_s in np.geomspace(1, 1e6, 40)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 8
