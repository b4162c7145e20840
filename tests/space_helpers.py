"""A Space's `app.py` as a process of its own, as the Hub starts it."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ports import free_port

SPACES = Path(__file__).parents[1] / "spaces"


@contextmanager
def running_space(
    kind: str,
    log: Path,
    *,
    environment: Mapping[str, str],
    python: Path | str = sys.executable,
    folder: Path = SPACES,
    cwd: Path | None = None,
    timeout_s: float = 120,
) -> Iterator[str]:
    """Start the page and give its address once it answers.

    Args:
        kind: "predict" or "gallery".
        log: File for what it prints.
        environment: All of its variables but the port and the mark of a Space.
        python: Interpreter of its environment.
        folder: Where the folders of the Spaces are.
        cwd: Where it starts; None: in the Space's own folder, as on the Hub.
        timeout_s: Longest time to wait for it, in seconds.
    """
    port = free_port()
    variables = {
        **environment,
        "SYSTEM": "spaces",
        "SPACE_ID": "alice/space",
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(log.parent / "gradio"),
        "NO_PROXY": "*",
    }
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), str(folder / kind / "app.py")],
            cwd=cwd or folder / kind,
            env=variables,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + timeout_s
        while not _answers(url):
            ended = process.poll()
            assert ended is None, f"It ended with status {ended}: {log.read_text()}"
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def plain_environment() -> dict[str, str]:
    """This process's variables without those of the Hub and of Python's search path."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and name != "PYTHONPATH"
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
