"""How much there is to compute on this machine already."""

import os
from dataclasses import dataclass

BUSY_SHARE = 0.5
"""Share of the cores from which on a search gets noticeably less than it could."""


@dataclass(frozen=True)
class Load:
    """What a machine had to compute in the last minute."""

    waiting: float
    """Threads that computed or waited for a core, on average."""
    cores: int
    """Cores of the machine, those that this process may not use included."""

    @property
    def is_busy(self) -> bool:
        """Whether so many cores are taken that everything takes longer."""
        return self.waiting >= BUSY_SHARE * self.cores

    def __str__(self) -> str:
        return f"load {self.waiting:.1f} on {self.cores} cores"


def current_load() -> Load:
    """The load of this machine; none where the system does not tell it (Windows)."""
    try:
        waiting = os.getloadavg()[0]
    except (AttributeError, OSError):
        waiting = 0.0
    return Load(waiting, os.cpu_count() or 1)
