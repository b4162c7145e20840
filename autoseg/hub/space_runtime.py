"""How a Space fares after a deploy: its stages as they pass, and why it does not run."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.errors import HubError
from autoseg.hub.connection import Connection
from autoseg.hub.failures import ANY_TOKEN, explained, patiently

OnStage = Callable[[str], None]
"""Told each stage of a Space, in words, as it begins."""

POLL_S = 3.0
"""Time between two looks at a Space, in seconds."""

SETTLE_S = 20.0
"""A Space may still show its old stage for so long after a change, in seconds."""

LOG_LINES = 20
"""Lines of a log that an error shows, counted from its end."""

STAGE_WORDS = {
    "BUILDING": "Building",
    "RUNNING_BUILDING": "Building while the old version runs",
    "APP_STARTING": "Starting",
    "RUNNING_APP_STARTING": "Starting while the old version runs",
    "RUNNING": "Running",
    "SLEEPING": "Asleep",
    "PAUSED": "Paused",
    "STOPPED": "Stopped",
    "BUILD_ERROR": "Build failed",
    "RUNTIME_ERROR": "Failed",
    "CONFIG_ERROR": "Configuration refused",
    "NO_APP_FILE": "No app.py",
    "DELETING": "Being deleted",
}
"""Stages of a Space for people."""

_PASSING = frozenset({"BUILDING", "RUNNING_BUILDING", "APP_STARTING", "RUNNING_APP_STARTING"})

_SHORTEST_LINE = 6
"""Shorter lines of a secret say nothing of it, such as the braces of a key in JSON."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NO_PACKAGE = re.compile(r"(No matching distribution found for|find a version that satisfies)")


@dataclass(frozen=True)
class Runtime:
    """What the Hub says of a Space that stands still."""

    stage: str
    """As the Hub calls it, e.g. "RUNNING"."""
    app_url: str | None
    """Address of the page itself, without the Hub around it."""
    error: str
    """What the Hub says of a failure."""
    commit: str | None
    """What it was built from; None: the Hub does not say."""


def look(repo_id: str, connection: Connection) -> Runtime:
    """The state of a Space now.

    Raises:
        HubError: The Hub does not say.
    """
    with explained(connection, f"Looking at {repo_id}", repo_id, repo_type="space"):
        found = patiently(lambda: connection.api.get_space_runtime(repo_id))
    raw: dict[str, Any] = found.raw
    domains = [
        entry["domain"]
        for entry in raw.get("domains") or ()
        if isinstance(entry, dict) and entry.get("domain")
    ]
    return Runtime(
        stage=str(getattr(found.stage, "value", found.stage)),
        app_url=f"https://{domains[0]}" if domains else None,
        error=str(raw.get("errorMessage") or ""),
        commit=raw.get("sha"),
    )


def follow(
    repo_id: str,
    connection: Connection,
    *,
    changed: bool,
    commit: str | None,
    wait_s: float,
    on_stage: OnStage,
    poll_s: float,
    settle_s: float,
) -> tuple[Runtime, bool]:
    """Look at a Space until it stands still or the time is over.

    Args:
        repo_id: The Space.
        connection: The Hub.
        changed: Whether it was changed just now, so that its stage may still be the old one.
        commit: The commit that it is to be built from, if there is a new one.
        wait_s: Longest time to wait, in seconds; 0 looks once.
        on_stage: Told each new stage.
        poll_s: Time between two looks, in seconds.
        settle_s: How long an old stage may stay, in seconds.

    Returns:
        The last state, and whether it is that of the Space as it is now; else the Hub has not
        begun with what was changed.

    Raises:
        HubError: The Hub does not say.
    """
    begun = time.monotonic()
    settled = not changed
    last = ""
    while True:
        now = look(repo_id, connection)
        elapsed = time.monotonic() - begun
        is_new = now.stage in _PASSING or (commit is not None and now.commit == commit)
        settled = settled or is_new or elapsed >= settle_s
        if settled and now.stage != last:
            last = now.stage
            on_stage(STAGE_WORDS.get(last, last))
        if (settled and now.stage not in _PASSING) or elapsed + poll_s > wait_s:
            return now, settled
        time.sleep(poll_s)


def is_passing(stage: str) -> bool:
    """Whether a Space goes on to another stage by itself."""
    return stage in _PASSING


def explain_stage(
    repo_id: str, found: Runtime, connection: Connection, hidden: Iterable[str] = ()
) -> str:
    """A sentence on what keeps a Space from running; "" where it runs or wakes by itself.

    Args:
        repo_id: The Space.
        found: Its state.
        connection: The Hub.
        hidden: Secrets that the text must not hold.

    Raises:
        HubError: It has failed; the text ends with the last lines of its log.
    """
    page = connection.page(repo_id, "space")
    secrets = [text for text in (connection.token, *hidden) if text]
    if found.stage in ("BUILD_ERROR", "RUNTIME_ERROR"):
        raise HubError(_failure(repo_id, found, connection, secrets))
    if found.stage == "CONFIG_ERROR":
        said = f" ({_clean(found.error, secrets).rstrip('.')})" if found.error else ""
        raise HubError(
            f"The Hub does not accept the configuration of {repo_id}{said}. Correct the head of "
            f"its README.md at {page}/blob/main/README.md, or its settings at {page}/settings."
        )
    if found.stage == "NO_APP_FILE":
        raise HubError(f"{repo_id} has no app.py, so it cannot start: deploy it again.")
    if found.stage == "DELETING":
        raise HubError(f"{repo_id} is being deleted. Choose another name, or try again later.")
    if found.stage in ("PAUSED", "STOPPED"):
        return (
            f"{repo_id} is {found.stage.lower()} and does not start by itself: start it at "
            f"{page}/settings, or deploy it with --restart."
        )
    if found.stage == "SLEEPING":
        return f"{repo_id} is asleep; it wakes when somebody opens {page}"
    if is_passing(found.stage):
        return (
            f"{repo_id} is not ready yet ({STAGE_WORDS[found.stage].lower()}); its page {page} "
            f"shows when it is."
        )
    return ""


def hide(text: str, secrets: Iterable[str]) -> str:
    """A text without the values of secrets, nor the lines of one that has several."""
    pieces = {secret.strip() for secret in secrets}
    lines = {line.strip() for secret in pieces for line in secret.splitlines()}
    pieces |= {line for line in lines if len(line) >= _SHORTEST_LINE}
    for piece in sorted(pieces - {""}, key=len, reverse=True):
        text = text.replace(piece, "***")
    return text


def _failure(repo_id: str, found: Runtime, connection: Connection, secrets: Sequence[str]) -> str:
    """Why a Space was not built or ended, with the end of its log."""
    build = found.stage == "BUILD_ERROR"
    what = "could not be built" if build else "was built but its page ended with an error"
    said = f" The Hub says: {_clean(found.error, secrets).rstrip('.')}." if found.error else ""
    place = f"{connection.page(repo_id, 'space')}?logs={'build' if build else 'container'}"
    lines = [_clean(line, secrets) for line in _last_lines(repo_id, build, connection)]
    text = f"{repo_id} {what}.{said}"
    if any(_NO_PACKAGE.search(line) for line in lines):
        text += " The Space cannot find the package: name another one, as an address or a version."
    if not lines:
        return f"{text} Its log is at {place}"
    log = "\n".join(lines)
    return f"{text} The whole log is at {place}; it ends with:\n{log}"


def _last_lines(repo_id: str, build: bool, connection: Connection) -> list[str]:
    """The end of a log; nothing where the Hub does not give it: the error names its address."""
    try:
        with explained(connection, "Reading the log", repo_id, repo_type="space"):
            events = connection.api.fetch_space_logs(repo_id, build=build)
            text = "".join(f"{event.rstrip()}\n" for event in events)
    except HubError:
        return []  # The log is a help; that the Space failed is what matters.
    return [line for line in text.splitlines() if line.strip()][-LOG_LINES:]


def _clean(text: str, secrets: Iterable[str]) -> str:
    """A line without colours and without secrets."""
    return ANY_TOKEN.sub(r"\1_***", hide(_ANSI.sub("", text), secrets))
