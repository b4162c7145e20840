"""Work on many files in parallel processes, in order, with flat memory.

The processes are started as `python -c`, not by `multiprocessing`: that would run a user's script
again in each of them (or fork a process that has torch's threads), and here five lines of Python
without a `__main__` guard must work. They import this package and, with the function, nothing
heavier than numpy and Pillow.
"""

import itertools
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from autoseg.cgroups import ROOT, cpu_quota
from autoseg.errors import DatasetError

Item = TypeVar("Item")
Result = TypeVar("Result")

SMALL = 64
"""Below this many items the start of processes (0.2 s) does not pay."""

_LENGTH = struct.Struct("<Q")


def cpu_count(root: Path = ROOT) -> int:
    """Cores that this process may use: those it may run on, and no more than a container pays for.

    Args:
        root: Root of the file system, where the container's quota stands.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else min(cores, math.ceil(quota))


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    max_workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in order, computed in parallel processes.

    Args:
        function: A module's function or a `functools.partial` of one (it is pickled).
        items: Its arguments (pickled in chunks).
        max_workers: Processes; None takes one per core, and few items stay in this process.
        on_progress: Called with (items done, all items).

    Raises:
        DatasetError: A worker process died.
    """
    workers = max_workers or (1 if len(items) < SMALL else cpu_count())
    if workers <= 1:
        results = (function(item) for item in items)
    else:
        results = _map_in_processes(function, items, workers)
    with closing(results):  # Ends the processes also where the caller stops early.
        for done, result in enumerate(results, start=1):
            yield result
            if on_progress is not None:
                on_progress(done, len(items))


def _map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[Result, None, None]:
    chunk = max(1, min(16, len(items) // (4 * workers)))
    chunks = (items[start : start + chunk] for start in range(0, len(items), chunk))
    pool = _Pool(function, workers)
    try:
        waiting: deque[Future[list[Result]]] = deque(
            pool.submit(part) for part in itertools.islice(chunks, 2 * workers)
        )
        while waiting:
            yield from waiting.popleft().result()
            waiting.extend(pool.submit(part) for part in itertools.islice(chunks, 1))
    finally:
        pool.close()


class _Pool:
    """Threads that each talk to one worker process."""

    def __init__(self, function: Callable[..., Any], workers: int) -> None:
        self._function = function
        self._local = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads = ThreadPoolExecutor(workers, initializer=self._start)

    def submit(self, part: Sequence[Any]) -> "Future[list[Any]]":
        return self._threads.submit(self._ask, list(part))

    def close(self) -> None:
        """End every process, also those in the middle of work."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._threads.shutdown(wait=True)
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def _start(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, "-c", "from autoseg.data.workers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        self._processes.append(process)
        self._local.process = process
        _try_send(process, self._function)

    def _ask(self, part: list[Any]) -> list[Any]:
        process: subprocess.Popen[bytes] = self._local.process
        _try_send(process, part)
        assert process.stdout is not None
        answer = _receive(process.stdout)
        if answer is None:
            code = process.wait()
            raise DatasetError(
                f"A process that reads files ended unexpectedly (exit code {code}), perhaps for "
                f"want of memory. Try again with fewer workers."
            )
        results, error = answer
        if error is not None:
            raise error
        return list(results)


def serve() -> None:
    """The worker process: answer chunks from standard input until it closes."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    source, target = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # A stray print must not enter the answers.
    function = _receive(source)
    while (part := _receive(source)) is not None:
        try:
            answer: tuple[list[Any], Exception | None] = [function(item) for item in part], None
        except Exception as error:  # Raised again in the parent, whatever it is.
            answer = [], error
        _send(target, answer)


def _try_send(process: "subprocess.Popen[bytes]", value: Any) -> None:
    """Send; a process that died shows when its answer is missing."""
    assert process.stdin is not None
    try:
        _send(process.stdin, value)
    except BrokenPipeError:
        pass


def _send(pipe: Any, value: Any) -> None:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while view:
        view = view[pipe.write(view) :]


def _receive(pipe: Any) -> Any:
    """The next value, or None when the other side has closed."""
    header = _read_exactly(pipe, _LENGTH.size)
    if header is None:
        return None
    data = _read_exactly(pipe, _LENGTH.unpack(header)[0])
    return None if data is None else pickle.loads(data)


def _read_exactly(pipe: Any, count: int) -> bytes | None:
    parts = []
    while count:
        part = pipe.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
