"""Bytes done of all bytes, out of the Hub's client, which knows bars on a terminal only."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import CommitOperationAdd

OnProgress = Callable[[int, int], None]
"""Called with the bytes that are done and all of them."""


class Counter:
    """How far each part of a transfer is; parts may be told from several threads."""

    def __init__(self, on_progress: OnProgress | None, all_bytes: int) -> None:
        self.told = on_progress is not None
        """Whether anybody listens."""
        self._on_progress = on_progress or (lambda done_bytes, all_bytes: None)
        self._all_bytes = all_bytes
        self._parts: dict[object, int] = {}
        self._done_bytes = 0
        self._lock = threading.Lock()

    def set(self, part: object, done_bytes: int) -> None:
        """So much of a part is done; less than before if it was begun again."""
        with self._lock:
            self._done_bytes += done_bytes - self._parts.get(part, 0)
            self._parts[part] = done_bytes
            self._on_progress(min(self._all_bytes, self._done_bytes), self._all_bytes)

    def finish(self) -> None:
        """All is done, also what needed no transfer."""
        with self._lock:
            self._on_progress(self._all_bytes, self._all_bytes)

    @contextmanager
    def opened(self, path: Path) -> Iterator["CountedFile"]:
        """A file whose reading is counted."""
        with CountedFile(path, self) as file:
            yield file


class CountedFile(io.BufferedReader):
    """A file for reading that tells how far it was read."""

    def __init__(self, path: Path, counter: Counter) -> None:
        super().__init__(io.FileIO(path))
        self._path, self._counter = path, counter
        self.counting = True
        """Whether reading counts: whoever hashes the file sends nothing of it."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        data = super().read(size)
        if self.counting:
            self._counter.set(self._path, self.tell())
        return data


class CountedAddition(CommitOperationAdd):
    """A file to be committed whose upload by LFS is counted."""

    def __init__(self, path_in_repo: str, source: Path, counter: Counter) -> None:
        super().__init__(path_in_repo, source)
        self._source, self._counter = source, counter

    @contextmanager
    def as_file(self, with_tqdm: bool = False) -> Iterator[BinaryIO]:
        """The open file; the client asks for a bar where it uploads."""
        if with_tqdm and self._counter.told:
            with self._counter.opened(self._source) as file:
                yield file
        else:
            with super().as_file(with_tqdm) as plain:
                yield plain


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
            self.update(0)

        def __enter__(self) -> "SilentBar":
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            counter.set(self, int(self.n))

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes on the wire, which for Xet are fewer than those of the file."""

        def set_postfix_str(self, *_: Any, **__: Any) -> None:
            """Speed, which is not shown."""

        set_transfer_postfix_str = set_description = refresh = set_postfix_str

        def close(self) -> None:
            """Nothing was opened."""

    return SilentBar


_xet_counter: ContextVar[Counter | None] = ContextVar("_xet_counter", default=None)
_xet_lock = threading.Lock()


@contextmanager
def told_by_xet(counter: Counter) -> Iterator[None]:
    """Let uploads by Xet inside tell a counter instead of bars on the terminal.

    The client makes those bars itself and lets nobody choose them, so the class is replaced by a
    function that gives ours to whoever is inside here and theirs to everybody else. Where the
    class is not found (another version), the bars stay and the counter hears of the end only.
    """
    if not counter.told:
        yield
        return
    _replace_xet_bars()
    token = _xet_counter.set(counter)
    try:
        yield
    finally:
        _xet_counter.reset(token)


class _XetBar:
    """What hf_xet reports to."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def update_progress(self, total_update: Any, item_updates: Any = None) -> None:
        """Called from a thread of hf_xet, whose older versions look at the arguments' names."""
        self._counter.set(self, int(getattr(total_update, "total_bytes_completed", 0)))

    def close(self, *_: Any) -> None:
        """Nothing was opened."""


def _replace_xet_bars() -> None:
    try:
        from huggingface_hub.utils import (  # noqa: PLC0415 - of some versions only
            _xet_progress_reporting as bars,
        )
    except ImportError:
        return
    with _xet_lock:
        for name in ("XetUploadProgressReporter", "XetProgressReporter"):
            theirs = getattr(bars, name, None)
            if isinstance(theirs, type):
                setattr(bars, name, _chooser(theirs))


def _chooser(theirs: type[Any]) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        counter = _xet_counter.get()
        return theirs(*args, **kwargs) if counter is None else _XetBar(counter)

    return make
