"""Bytes done of all bytes, out of the progress bars of the Hub's client."""

import threading
from collections.abc import Callable
from typing import Any

OnProgress = Callable[[int, int], None]
"""Called with the bytes that are done and all of them."""


class Counter:
    """Adds up bytes from several threads, never more than there are."""

    def __init__(self, on_progress: OnProgress, all_bytes: int) -> None:
        self._on_progress = on_progress
        self._all_bytes = all_bytes
        self._done_bytes = 0
        self._lock = threading.Lock()

    def add(self, n_bytes: float) -> None:
        """Count bytes; a transfer that is begun again may take some back."""
        with self._lock:
            self._done_bytes = min(self._all_bytes, max(0, self._done_bytes + int(n_bytes)))
            self._on_progress(self._done_bytes, self._all_bytes)

    def finish(self) -> None:
        """All is done, also what needed no transfer."""
        with self._lock:
            self._done_bytes = self._all_bytes
            self._on_progress(self._done_bytes, self._all_bytes)


def download_bars(on_progress: OnProgress | None, all_bytes: int) -> type[Any] | None:
    """A class for `tqdm_class` of the Hub's client whose bars print nothing and tell their bytes.

    None if nobody wants to be told: then the client shows bars of its own.
    """
    if on_progress is None:
        return None
    counter = Counter(on_progress, all_bytes)

    class SilentBar:
        """As much of a tqdm bar as the client uses."""

        def __init__(self, *_: Any, initial: float = 0, total: float | None = None, **__: Any):
            self.n, self.total = initial, total
            counter.add(initial)

        def __enter__(self) -> "SilentBar":
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            counter.add(n or 0)

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes on the wire, which for Xet are fewer than those of the file."""

        def set_postfix_str(self, *_: Any, **__: Any) -> None:
            """Speed, which is not shown."""

        set_transfer_postfix_str = set_description = refresh = set_postfix_str

        def close(self) -> None:
            """Nothing was opened."""

    return SilentBar
