"""What the benchmarks share: peak memory of processes, children that find autoseg, tables."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

DATA = ROOT.parent / "shared" / "data"
"""Real data sets."""


@dataclass
class PeakMemory:
    """Peak memory of a process and its children inside a `with` block, by polling.

    Resident memory counts mapped files (the image cache) too; they can be dropped at any time, so
    `private_bytes` leaves them out.
    """

    pid: int = field(default_factory=os.getpid)
    """Root of the process tree."""
    interval_s: float = 0.02
    """Time between two looks."""
    resident_bytes: int = 0
    """Peak of the tree's resident set."""
    private_bytes: int = 0
    """Peak of the tree's resident set without files and shared memory."""

    def __enter__(self) -> "PeakMemory":
        self._done = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self.interval_s):
            self._look()

    def _look(self) -> None:
        resident = shared = 0
        try:
            root = psutil.Process(self.pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                memory = process.memory_info()
            except psutil.NoSuchProcess:  # It ended between the two calls.
                continue
            resident += memory.rss
            shared += getattr(memory, "shared", 0)
        self.resident_bytes = max(self.resident_bytes, resident)
        self.private_bytes = max(self.private_bytes, resident - shared)


def child_environment(threads: int, home: Path | None = None) -> dict[str, str]:
    """Environment in which a child process finds autoseg.

    Args:
        threads: Threads that torch may use.
        home: `AUTOSEG_HOME`, so that no cache of an earlier run helps; None: as it is.
    """
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    paths = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    if home is not None:
        environment["AUTOSEG_HOME"] = str(home)
    return environment


def run_child(
    arguments: Sequence[str], environment: dict[str, str], log: Path
) -> tuple[float, PeakMemory]:
    """Run `python arguments...` to its end, output to `log`; wall time in seconds, and memory.

    Raises:
        SystemExit: It failed; the end of its output is the message.
    """
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        with PeakMemory(process.pid, interval_s=0.1) as memory:
            code = process.wait()
    seconds = time.monotonic() - started
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise SystemExit(f"{' '.join(arguments)} ended with status {code}:\n{tail}")
    return seconds, memory


def keep_to_cores(count: int) -> None:
    """Let this process and its children use only that many cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; all columns but the first are numbers."""
    table = Table()
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 120
    console = Console(width=width, highlight=False)
    console.print(f"\n{title}")
    console.print(table)
