"""Learning-rate schedules that can be stopped or tied to a deadline."""

from dataclasses import dataclass

from autoseg.errors import ConfigError


@dataclass(frozen=True)
class Schedule:
    """Warm-up, constant, linear cooldown, over a number of windows or a time.

    Constant with a cooldown matches a cosine and, unlike it, can be left and continued at any
    point (Hägele et al. 2024, arXiv 2405.18392). Whichever of the two limits is nearer counts.
    """

    windows: int | None = None
    """Windows seen at the end of the schedule."""
    seconds: float | None = None
    """Wall-clock time at the end of the schedule, in seconds."""
    warmup_share: float = 0.05
    """Share of the schedule in which the rate rises from 0."""
    cooldown_share: float = 0.0
    """Share of the schedule, at its end, in which the rate falls to 0."""
    evaluations: tuple[float, ...] = (1.0,)
    """Shares of the schedule after which the validation split is scored, rising to 1."""

    def __post_init__(self) -> None:
        if self.windows is None and self.seconds is None:
            raise ConfigError("A schedule needs `windows`, `seconds` or both, but got neither.")
        if sorted(self.evaluations) != list(self.evaluations) or self.evaluations[-1] != 1.0:
            raise ConfigError(f"`evaluations` must rise to 1, but got {self.evaluations}.")

    def progress(self, windows: int, seconds: float) -> float:
        """Share of the schedule that is done, in [0, 1]."""
        shares = [0.0]
        if self.windows is not None:
            shares.append(windows / max(1, self.windows))
        if self.seconds is not None:
            shares.append(seconds / max(1e-9, self.seconds))
        return min(1.0, max(shares))

    def factor(self, progress: float) -> float:
        """Learning rate as a share of its peak, in [0, 1]."""
        if progress < self.warmup_share:
            return max(0.01, progress / self.warmup_share)
        if progress > 1 - self.cooldown_share:
            return max(0.0, (1 - progress) / self.cooldown_share)
        return 1.0
