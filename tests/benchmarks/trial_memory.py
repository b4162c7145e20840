"""Memory of a search after each trial: it must not grow with their number.

Target: after trial 50 within 5 % of what it is after trial 5, without mapped files.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from measuring import PeakMemory, child_environment, print_table

from autoseg.config import parse_duration
from autoseg.data.sample import make_sample_dataset
from autoseg.search.run_folder import RunFolder

TARGET_RATIO = 1.05
FIRST = 5
"""Trial that the others are compared with: caches are warm by then."""

SHOWN_EVERY = 5


@contextmanager
def searching(source: Path, run: Path, args: argparse.Namespace) -> Iterator[subprocess.Popen]:
    """A search in a process of its own, ended with the block."""
    command = [sys.executable, "-m", "autoseg", "search", str(source), "--run", str(run)]
    options = ["--budget", args.budget, "--trials", str(args.trials), "--device", args.device]
    with (run.parent / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options],
            env=child_environment(args.threads, run.parent / "home"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def private_bytes(pid: int) -> int:
    """Memory of a process now, without mapped files."""
    with PeakMemory(pid, interval_s=60) as memory:
        return memory.private_bytes


def watch(process: subprocess.Popen, run: RunFolder, trials: int) -> dict[int, int]:
    """Bytes after each trial, by how many had ended, until there were enough."""
    found: dict[int, int] = {}
    while max(found, default=0) < trials and process.poll() is None:
        ended = sum(trial.status in ("complete", "pruned") for trial in run.trials())
        if ended and ended not in found:
            found[ended] = private_bytes(process.pid)
        time.sleep(0.05)
    return found


def main() -> None:
    """Search, look after each trial, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--images", type=int, default=40, help="of the generated data set")
    parser.add_argument("--budget", default="30m", help="more than the trials take")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    parse_duration(args.budget)
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source = make_sample_dataset(folder / "sample", args.images, size=(96, 96))
        run = folder / "run"
        with searching(source, run, args) as process:
            found = watch(process, RunFolder(run), args.trials)
        if FIRST not in found:
            raise SystemExit((folder / "log.txt").read_text(errors="replace")[-2000:])
    shown = [n for n in found if n == FIRST or n % SHOWN_EVERY == 0 or n == max(found)]
    rows = [[str(n), f"{found[n] / 1e6:.0f}", f"{found[n] / found[FIRST]:.3f}"] for n in shown]
    title = f"Memory of a search, {psutil.cpu_count()} cores, {args.device}; target {TARGET_RATIO}"
    print_table(title, ("trials ended", "MB", f"/ trial {FIRST}"), rows)


if __name__ == "__main__":
    main()
