"""The Pareto front of a search: the trials that no other beats in both score and speed."""

from collections.abc import Iterable

from autoseg.search.run_folder import TrialRecord

LOST = ("failed", "set aside")
"""Statuses of trials whose scores say nothing."""

FINISHED = ("complete", "pruned")
"""Statuses of trials that came to an end with weights."""

MAX_KEPT = 6
"""Trials of the front whose weights stay on disk.

An image's time is measured once for each encoder and decoder, so a front has one trial of a pair at
most. Those of the three encoders that come with autoseg need 13 to 22 MB each. Of dozens of
encoders some have hundreds of MB each, and a front of theirs would fill a disk.
"""


def pareto_front(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trials that no other beats in both score and time per image, the fastest first.

    Trials without a score or without a time belong to no front.
    """
    timed = [
        trial
        for trial in trials
        if trial.score is not None and trial.latency_ms is not None and trial.status not in LOST
    ]
    front: list[TrialRecord] = []
    for trial in sorted(timed, key=lambda trial: (trial.latency_ms or 0.0, -(trial.score or 0.0))):
        if not front or (trial.score or 0.0) > (front[-1].score or 0.0):
            front.append(trial)
    return front


def kept_front(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The part of the front whose weights are worth their room on disk, the fastest first.

    Of a longer front it is the better end: what is fastest of all scores least.
    """
    return pareto_front(trial for trial in trials if trial.status in FINISHED)[-MAX_KEPT:]
