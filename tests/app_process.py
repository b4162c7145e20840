"""The app in a process of its own."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ports import free_port

ROOT = Path(__file__).parents[1]


@contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """Let processes end by SIGINT that start here, also where a shell runs tests in the background.

    It has them ignore the signal then, and what they start too.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


class App:
    """`python app.py` in a process of its own, over one workspace."""

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.arguments = arguments
        self.environment = environment or os.environ
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **self.environment,
            "AUTOSEG_HOME": str(self.home),
            "GRADIO_SERVER_PORT": str(self.port),
        }
        with (self.home / "app.log").open("ab") as log, heeding_ctrl_c():
            self.process = subprocess.Popen(
                [sys.executable, "app.py", *self.arguments],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        for _ in range(1800):
            assert self.process.poll() is None, (self.home / "app.log").read_text()
            try:
                with urllib.request.urlopen(self.url, timeout=30):
                    return
            except OSError:  # Nobody listens yet, or a busy machine takes its time.
                time.sleep(0.1)
        raise AssertionError("The app did not answer within three minutes.")

    def end(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)
