"""What the terminal of the app shows, by raw requests to a running one."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from app_process import ROOT, App
from ports import free_port
from space_helpers import plain_environment, running_space
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from autoseg.ui.server_log import NotOfClients

UPLOAD = (
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc'
)


def refusal(home: Path, environment: dict[str, str], *options: str) -> str:
    """What an app that ends at once says, without a traceback."""
    done = subprocess.run(
        [sys.executable, "app.py", *options], cwd=ROOT, capture_output=True, text=True,
        timeout=300, env={**os.environ, "AUTOSEG_HOME": str(home), **environment},
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def leave_midway(url: str, request: bytes, rest: bytes = b"\r\n") -> None:
    """Begin a request and be gone."""
    place = url.removeprefix("http://")
    host, port = place.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(request + f" HTTP/1.1\r\nHost: {place}\r\n".encode() + rest)
        client.settimeout(1)
        with suppress(TimeoutError):
            client.recv(10)


def visit_and_leave(url: str) -> None:
    """Open the page, break uploads off, and ask on as the page of a former app."""
    for _ in range(3):
        urllib.request.urlopen(url, timeout=30).read()
    leave_midway(url, b"POST /gradio_api/upload", UPLOAD)
    leave_midway(url, b"POST /gradio_api/queue/join", UPLOAD[-3:])
    leave_midway(url, b"GET /gradio_api/queue/data?session_hash=of-a-former-app")
    leave_midway(url, b"GET /gradio_api/heartbeat/gone")
    time.sleep(1)


def test_the_terminal_shows_plain_lines_whatever_clients_do(tmp_path: Path):
    """Pages that were opened, uploads that broke off and old pages used to leave tracebacks."""
    app = App(tmp_path)
    app.start()
    visit_and_leave(app.url)
    assert app.process is not None
    app.process.send_signal(signal.SIGINT)
    app.process.wait(30)
    log = (tmp_path / "app.log").read_text()
    assert f"autoseg is open at {app.url}\nOnly this computer reaches it.\n" in log
    assert "Press Ctrl+C" in log and log.endswith("The page is closed.\n")
    assert "share=True" not in log
    assert "Traceback" not in log and "Exception" not in log, log


def test_a_public_link_that_cannot_be_made_ends_with_a_sentence(tmp_path: Path):
    """Gradio said how to put a program of its own in a hidden folder, and the page went on."""
    environment = {
        "HF_HOME": str(tmp_path / "hub"),  # Gradio keeps its program for links there.
        **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:1"),
        "NO_PROXY": "127.0.0.1",
    }
    said = refusal(tmp_path, environment, "--share", "--port", str(free_port()))
    assert said.endswith("or start without --share.\n")


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refusal(tmp_path, {}, "--port", port)
    assert f"another program has {port}" in said and said.endswith("with --port.\n")


def test_so_does_the_log_of_a_space(tmp_path: Path):
    environment = {**plain_environment(), "PYTHONPATH": str(ROOT)}
    log = tmp_path / "space.log"
    with running_space("predict", log, environment=environment) as url:
        at_start = log.read_text()  # Gradio's own, where the package of the Hub is missing.
        visit_and_leave(url)
    text = log.read_text().removeprefix(at_start)
    assert "Traceback" not in text and "Exception" not in text, text


def kept(error: BaseException) -> bool:
    found = (type(error), error, None)
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "x", (), found)
    return NotOfClients().filter(record)


def test_faults_of_our_own_are_written():
    late = RuntimeError("Caught handled exception, but response already started.")
    assert kept(late) and kept(ValueError("x")) and kept(OSError("disk"))
    late.__cause__ = ValueError("x")
    assert kept(late)
    late.__cause__ = HTTPException(404)
    assert not kept(late) and not kept(ClientDisconnect())
    assert NotOfClients().filter(logging.LogRecord("x", logging.ERROR, "", 0, "x", (), None))
