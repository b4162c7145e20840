"""The command that starts the app."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

SHAPE: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""What all our command lines have in common."""

alone = typer.Typer(**SHAPE)
"""`python app.py`: the app, and no other command."""


@contextlib.contextmanager
def _own_uploads() -> Iterator[None]:
    """A folder for what is temporary of this server, which goes with it, and uploads in it.

    Gradio would put uploads where every Gradio app of the machine serves files from, and reads
    the place as it is imported.
    """
    with tempfile.TemporaryDirectory(prefix="autoseg-app-") as folder:
        tempfile.tempdir = folder
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "uploads")

        def leave(number: int, frame: FrameType | None) -> None:
            """End at once: Python would first wait for threads, as long as they please."""
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(128 + number)

        signal.signal(signal.SIGTERM, leave)
        yield


@alone.command()
def start_app(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port (else the first free from 7860).")] = None,
    share: Annotated[bool, typer.Option("--share", help="Also make a public link.")] = False,
    auth: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER:PASSWORD",
            envvar="AUTOSEG_AUTH",
            show_envvar=False,
            help="Who may open the page; repeatable. Better in AUTOSEG_AUTH, spaces between.",
        ),
    ] = None,
    allow: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Folder that may be named on the page; repeatable."),
    ] = None,
    max_upload: Annotated[str, typer.Option(help="Largest file taken, such as 500mb.")] = "8gb",
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Let assistants use it as tools (extra mcp).")
    ] = False,
) -> None:
    """Open the app in the browser.

    Without --auth, everybody who has an account on this computer reaches the page, and may read
    every folder with it that you may. On a computer that others use too, add --auth, and --allow
    for the folders you want to name.
    """
    with _own_uploads():
        from autoseg.ui.serving import Serving, serve  # noqa: PLC0415 - gradio

        serve(Serving(host, port, share, tuple(auth or ()), tuple(allow or ()), max_upload, mcp))
