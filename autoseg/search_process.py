"""A search in a process of its own: its command line, its start, and what it printed."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from autoseg.config import SearchConfig
from autoseg.errors import RunError
from autoseg.search.run_folder import RunFolder, RunState, Status


def spawn(source: Path, config: SearchConfig, run: RunFolder, *, home: Path) -> None:
    """Start a search that outlives this process.

    Args:
        source: Folder or zip.
        config: What to search.
        run: Its folder, which exists.
        home: `AUTOSEG_HOME` of the search.
    """
    environment = {
        **os.environ, "AUTOSEG_HOME": str(home), "PYTHONUNBUFFERED": "1",
        "COLUMNS": "120",
    }  # fmt: skip
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            search_command(source, config, run),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    # Whoever starts a process must wait for it, or it stays in the table as a zombie.
    threading.Thread(target=_wait, args=(process, run), daemon=True).start()


def search_command(source: Path, config: SearchConfig, run: RunFolder) -> list[str]:
    """The command line of a search; the same one resumes it."""
    command = [
        sys.executable, "-m", "autoseg", "search", str(source.expanduser().resolve()),
        "--run", str(run.path), "--budget", _seconds(config.budget_s), "--seed", str(config.seed),
        "--device", config.device,
    ]  # fmt: skip
    if config.encoders:
        command += ["--encoders", ",".join(config.encoders)]
    if config.n_trials is not None:
        command += ["--trials", str(config.n_trials)]
    if config.max_side is not None:
        command += ["--max-side", str(config.max_side)]
    if config.max_latency_ms is not None:
        command += ["--max-latency", f"{config.max_latency_ms!r}ms"]
    if config.flip is not None:
        command += ["--flip", config.flip]
    if config.allow_noncommercial:
        command += ["--allow-noncommercial"]
    for encoder, path in config.weights_files:
        command += ["--weights", f"{encoder}={path}"]
    for value, meaning in config.mapping:
        command += ["--map", f"{value}={meaning}"]
    for name, color in config.colors:
        command += ["--color", f"{name}={color}"]
    if config.start_from is not None:
        command += ["--start-from", config.start_from]
    if not config.warm_start:
        command += ["--no-warm-start"]
    return command


def _seconds(value: float) -> str:
    """A duration for the command line, never in the form 1e+06."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


def starting(run: RunFolder, config: SearchConfig) -> RunState:
    """The record that stands until the search's process writes its first one."""
    now = time.time()
    former = run.state()
    if former is not None and former.status == "done":
        raise RunError(f"{run.name} is finished. Choose another name for a new search.")
    if former is not None:
        return replace(
            former,
            status="running",
            updated_at=now,
            message="Starting again.",
            error="",
            waits_for="",
        )
    return RunState(
        status="running",
        phase="checking data",
        budget_s=config.budget_s,
        elapsed_s=0.0,
        updated_at=now,
        pid=os.getpid(),
        message="Starting.",
    )


def _wait(process: "subprocess.Popen[bytes]", run: RunFolder) -> None:
    """Wait for a search; if it ended without saying so, say it in its place."""
    code = process.wait()
    if code == 0 or not run.path.is_dir():
        return
    try:
        with run.locked():
            state = run.state()
            if state is not None and state.is_at_work:
                printed = [line for line in log_tail(run).splitlines() if line.strip()]
                error = printed[-1] if printed else _ended(code)
                status: Status = "interrupted" if code < 0 else "failed"
                run.write_state(replace(state, status=status, message="", error=error))
    except (RunError, FileNotFoundError):
        return  # Somebody has taken it up again or removed it, or it is of another version.


def _ended(code: int) -> str:
    """How a process ended that printed nothing, from its exit status."""
    if code < 0:
        return (
            f"The search was ended from outside (signal {-code}), perhaps for want of memory. It "
            f"can go on where it stood."
        )
    return f"The search ended with status {code}. Its log may say more."


def log_tail(run: RunFolder, n_bytes: int = 8000) -> str:
    """The end of what a search started here printed."""
    if not run.log.is_file():
        return ""
    with run.log.open("rb") as file:
        file.seek(max(0, run.log.stat().st_size - n_bytes))
        return file.read().decode("utf-8", errors="replace")
