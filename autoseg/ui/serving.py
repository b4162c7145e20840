"""The server of the page: who may open it, what they may send, and what they are told of it."""

import contextlib
import importlib.util
import io
import os
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from autoseg.errors import ConfigError
from autoseg.ui import app, gradio_texts
from autoseg.ui.access import Access
from autoseg.ui.guard import (
    HUB,
    InFramesOf,
    OnlyKnownNames,
    OnlyThisComputer,
    OnlyThisSite,
    guarded_by,
    is_loopback,
    parse_users,
    password_check,
)
from autoseg.ui.server_log import keep_plain
from autoseg.ui.style import CSS, theme
from autoseg.workspace import Workspace

MAX_UPLOAD = "8gb"
"""Largest file that the page takes, unless told otherwise."""

QUEUE_REST_S = 0.1
"""How often the idle queue looks for work, in seconds.

Gradio's own 0.001 keeps an idle server busy (tests/benchmarks/app_idle.py has the numbers).
"""

_SIZE = re.compile(r"\d+ ?(kb|mb|gb|tb)", re.IGNORECASE)


@dataclass(frozen=True)
class Serving:
    """What was asked of the server."""

    host: str = "127.0.0.1"
    """Address to listen on. On a Hugging Face Space all addresses."""
    port: int | None = None
    """None: the first free one from 7860."""
    share: bool = False
    """Whether to make a public link through Gradio's server."""
    auth: tuple[str, ...] = ()
    """Who may open the page, each "USER:PASSWORD"; empty: whoever reaches it."""
    allow: tuple[Path, ...] = ()
    """Folders of this computer that may be named on the page."""
    max_upload: str = MAX_UPLOAD
    """Largest file that the page takes, such as "500mb"."""
    mcp: bool = False
    """Whether assistants may use the API as tools, by the Model Context Protocol."""

    def __post_init__(self) -> None:
        if not _SIZE.fullmatch(self.max_upload):
            raise ConfigError(f"--max-upload wants a size like 500mb, but got {self.max_upload!r}.")
        for folder in self.allow:
            if not folder.expanduser().is_dir():
                raise ConfigError(f"--allow {folder}: there is no such folder.")
        if self.mcp and self.auth:
            raise ConfigError(
                "--mcp and --auth cannot go together: assistants' programs send no password. "
                "Start the app for them without --auth, for this computer alone."
            )

    @property
    def on_space(self) -> bool:
        """Whether this is a Space of the Hugging Face Hub."""
        return "SPACE_ID" in os.environ

    @property
    def is_open(self) -> bool:
        """Whether others than this computer can reach the page."""
        return self.share or self.on_space or not is_loopback(self.host)

    def access(self) -> Access:
        """What those who open the page may do.

        Raises:
            ConfigError: A user's name or password cannot be used.
        """
        users = parse_users(self.auth)
        return Access(local=not (self.is_open or users), users=users, roots=self.allow)


def warning(serving: Serving, access: Access, workspace: Workspace) -> str:
    """What a page that others can open exposes; "" for a page of one's own."""
    if not serving.is_open:
        return ""
    who = "with a password" if access.users else "who reaches it"
    reach = "gets a public link" if serving.share else f"listens on {serving.host}"
    folders = ", ".join(map(str, access.roots))
    lines = [
        f"This page {reach}. Everybody {who} may:",
        f"  - see, add and delete the data sets, runs and models in {workspace.folder}",
        f"  - upload files of up to {serving.max_upload} each, and start and stop searches here",
        f"  - read images and masks below {folders}" if folders else "",
        "  - push and pull models of the Hub with a token of their own" if access.users else "",
        "They may not read other folders, nor use this computer's login to the Hub.",
    ]
    if not access.users:
        lines.append("NO PASSWORD IS ASKED. End the app and add --auth USER:PASSWORD to ask one.")
    if not (access.users or serving.on_space):
        lines.append(
            "Until then it answers to this computer's addresses and own names, not to a proxy's."
        )
    return "\n".join(line for line in lines if line)


def start_lines(serving: Serving, access: Access, address: str, link: str | None) -> str:
    """What is told once the page can be opened: where, by whom, and how to stop it.

    Args:
        serving: What was asked of the server.
        access: What those who open the page may do.
        address: Of the page on this computer.
        link: The public one; None where there is none.
    """
    lines = [f"autoseg is open at {address}", _reached_by(serving, address, link)]
    if access.users:
        lines.append("It asks for a name and a password.")
    if serving.mcp:
        lines.append(f"Assistants reach its tools at {link or address}/gradio_api/mcp/")
    lines.append("Press Ctrl+C here to stop it. Searches that run go on.")
    return "\n".join(lines)


def _reached_by(serving: Serving, address: str, link: str | None) -> str:
    """Who reaches the page."""
    if serving.on_space:
        return "Everyone who may see this Space reaches it."
    near = "Only this computer reaches it."
    if not is_loopback(serving.host):
        everywhere = serving.host in ("0.0.0.0", "::")
        port = address.rpartition(":")[2]
        name = f"http://{socket.gethostname()}:{port}" if everywhere else address
        near = f"Everyone in the network of this computer reaches it, at {name}"
    if not link:
        return near
    far = f"Everyone who has this link reaches it, for a week at most: {link}"
    return far if is_loopback(serving.host) else f"{near}\n{far}"


def serve(serving: Serving) -> None:
    """Serve the page until interrupted. Searches go on when it ends.

    Raises:
        ConfigError: An option does not hold, no port is free, or no public link could be made.
    """
    access, workspace = serving.access(), Workspace()
    if serving.mcp:
        _need_mcp()
    if text := warning(serving, access, workspace):
        print(text, file=sys.stderr, flush=True)
    page = app.build(workspace, access)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Gradio's own lines, for programmers.
            _launch(page, serving, access)
    except OSError as error:
        if "empty port" not in str(error):
            raise
        raise ConfigError(
            f"No port of {serving.host} can be used: another program has "
            f"{serving.port or 'them all'}, or this computer has no such address. Choose another "
            f"one with --port."
        ) from error
    if page.mcp_error:
        print(page.mcp_error, file=sys.stderr, flush=True)
    if serving.share and page.share_url is None and not serving.on_space:
        page.close(verbose=False)
        raise ConfigError(
            "--share: no public link could be made, since Gradio's service for links was not "
            "reached. Check the network of this computer, or start without --share."
        )
    address, link = str(page.local_url).rstrip("/"), page.share_url
    print(start_lines(serving, access, address, link), flush=True)
    _wait(page)


def _wait(page: gr.Blocks) -> None:
    """Until Ctrl+C, which Windows lets through between two short sleeps alone."""
    try:
        while page.is_running:
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("The page is closed.", flush=True)
        page.close(verbose=False)


def _launch(page: gr.Blocks, serving: Serving, access: Access) -> None:
    keep_plain()
    page._queue.sleep_when_free = QUEUE_REST_S
    page._queue.progress_update_sleep_when_free = 0.25
    page.launch(
        server_name="0.0.0.0" if serving.on_space else serving.host,
        server_port=serving.port,
        share=serving.share,
        auth=password_check(access.users) if access.users else None,  # type: ignore[arg-type]
        auth_message=gradio_texts.login_message(),
        i18n=gradio_texts.translations(),
        theme=theme(),
        css=CSS,
        js=f"() => {{ ({app.SCRIPT})(); ({gradio_texts.script()})(); }}",
        # What went wrong inside may name files; it is for the owner. Our own errors are for all.
        show_error=access.local,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        max_file_size=serving.max_upload,
        mcp_server=serving.mcp,
        quiet=True,
        prevent_thread_lock=True,
        # Else Gradio asks itself for the page, and ends where a busy machine takes 3 s to answer.
        _frontend=False,
        app_kwargs={"lifespan": guarded_by(*_guards(page, serving, access))},
    )


def _guards(page: gr.Blocks, serving: Serving, access: Access) -> list[Middleware]:
    """What is refused unseen.

    The Hub shows a Space in a frame, and the page in it asks its own address alone. So a Space with
    users takes as little from other sites as any page, and may only be framed by the Hub. One
    without users knows nobody, answers whoever asks, and may be embedded in any site.
    """
    if access.local:
        return [Middleware(InFramesOf), Middleware(OnlyThisComputer)]
    if serving.on_space and access.users:
        return [Middleware(InFramesOf, HUB), Middleware(OnlyThisSite, framed=True)]
    if serving.on_space:
        return []
    guards = [Middleware(InFramesOf), Middleware(OnlyThisSite)]
    if not access.users:
        names = Middleware(OnlyKnownNames, serving.host, lambda: page.share_url)
        guards.append(names)
    return guards


def _need_mcp() -> None:
    if importlib.util.find_spec("mcp") is None:
        raise ConfigError(
            'The MCP server needs the package mcp: pip install "autoseg-search[mcp]".'
        )
