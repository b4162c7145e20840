import functools
import operator
import os
import signal

import pytest

from autoseg.data.workers import parallel_map
from autoseg.errors import DatasetError


@pytest.mark.parametrize("number", [0, 1, 7, 500])
def test_results_come_in_order_from_several_processes(number):
    add = functools.partial(operator.add, 10)
    results = parallel_map(add, range(number), max_workers=3)
    assert list(results) == [10 + item for item in range(number)]


def test_few_items_stay_in_this_process():
    assert set(parallel_map(_process_id, range(5))) == {os.getpid()}


def _process_id(_item):
    return os.getpid()


def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        list(parallel_map(functools.partial(operator.floordiv, 1), [1, 0, 1] * 50, max_workers=2))


def test_a_process_that_dies_is_an_error_for_the_user():
    kill = functools.partial(signal.raise_signal)
    with pytest.raises(DatasetError, match="exit code -9"):
        list(parallel_map(kill, [signal.SIGKILL] * 4, max_workers=2))


def test_a_caller_that_stops_early_leaves_no_process(tmp_path):
    results = parallel_map(operator.neg, range(1000), max_workers=2)
    assert next(results) == 0
    children = _children()
    assert len(children) >= 1
    results.close()
    assert not _children() & children


def _children():
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            listed = set(file.read().split())
    except FileNotFoundError:
        pytest.skip("this system does not list child processes")
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            listed |= set(file.read().split())
    return listed
