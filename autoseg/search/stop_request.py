"""The wish that a search shall finish now."""

import time

from autoseg.search.run_folder import RunFolder


class StopRequest:
    """Whether somebody asked the search to finish now: this process, or a file in the run."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self.asked_at: float | None = None
        """`time.monotonic()` when this process asked, or saw that the file is there; None: not."""

    @property
    def asked(self) -> bool:
        """Whether this process asked, or has seen that the file is there."""
        return self.asked_at is not None

    def ask(self) -> None:
        """Finish now with the best so far."""
        self.asked_at = self.asked_at or time.monotonic()

    def __bool__(self) -> bool:
        if not self.asked and self._run.stop_requested():
            self.ask()
        return self.asked
