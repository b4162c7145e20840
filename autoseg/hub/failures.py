"""What can go wrong with the Hub, as one sentence: what happened and what to do.

Two halves: `explained` turns whatever the Hub's client raises into a `HubError` that holds no
token, and `patiently` repeats what is worth repeating, for as long as the Hub itself asks.
"""

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import huggingface_hub
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from autoseg.errors import HubAccessError, HubError, HubNotFoundError, HubUnreachableError
from autoseg.hub.waiting import HTTP, LongWait, OnWait, chain, patiently, stated_wait_s, status_of

__all__ = ["ANY_TOKEN", "OnWait", "explain", "explained", "not_the_hub", "patiently"]

_ERRORS: tuple[type[Exception], ...] = (
    HTTP.HTTPError,
    HTTP.InvalidURL,
    EntryNotFoundError,
    LongWait,
    OSError,
    RuntimeError,
    ValueError,
)
"""All that huggingface_hub, its HTTP client and hf_xet raise when something fails."""

_ODD_ANSWERS: tuple[type[Exception], ...] = (AttributeError, IndexError, KeyError, TypeError)
"""What the client stumbles over where an answer has another form; from our own lines, a bug."""

ANY_TOKEN = re.compile(r"\b(hf|api_org)_[\w.-]{5,}\w", re.ASCII)
"""Access tokens of every kind, also those of sign-in pages ("hf_oauth_...", "hf_jwt_...")."""

_QUOTA = re.compile(r"quota|storage|limit|exceed|too large|billing", re.IGNORECASE)

_XET_STATUS = re.compile(r"status (?:client|server) error \((\d{3})")
"""How hf_xet words an HTTP status, which it does not keep as a number."""

_NO_REPO = "the repository"

_REASONS: dict[int | str, tuple[type[HubError], str]] = {
    "anonymous": (
        HubAccessError,
        "you are not signed in{said}; run `hf auth login` or give a token",
    ),
    401: (
        HubAccessError,
        "the Hub does not accept the token{said}; make a new one at {endpoint}/settings/tokens",
    ),
    402: (
        HubAccessError,
        "the Hub wants a paid plan for this{said}; see {endpoint}/pricing, or choose what is free",
    ),
    403: (
        HubAccessError,
        "the token has no right to do this with {repo}{said}; use one with that right "
        "({endpoint}/settings/tokens) or ask the owner",
    ),
    404: (
        HubNotFoundError,
        "there is no {kind} {repo} that you may see; check the name and whose token it is",
    ),
    "no hub": (
        HubNotFoundError,
        "{endpoint} does not know this request{said}; check that HF_ENDPOINT is a Hub",
    ),
    408: (HubUnreachableError, "{endpoint} waited too long for the request; try again"),
    409: (
        HubError,
        "{repo} is being changed by somebody else{said}; look at {page}, then try again",
    ),
    412: (
        HubError,
        "{repo} was changed by somebody else meanwhile{said}; look at {page}, then try again",
    ),
    413: (
        HubAccessError,
        "the storage that the Hub grants is used up{said}; delete what is no longer needed, or "
        "enlarge it at {endpoint}/settings/billing",
    ),
    507: (HubUnreachableError, "the Hub's own storage is full{said}; try again later"),
    "fault": (HubUnreachableError, "the Hub has a fault of its own ({status}); try again later"),
    "refused": (HubError, "the Hub refuses it ({status})"),
}
"""What happened and the way out, by status or by what makes a status special."""

_KINDS = {"model": "model", "dataset": "data set", "space": "Space"}

_Reason = tuple[type[HubError], str]
"""The error to raise, and what happened with the way out, without a full stop."""


class Reached(Protocol):
    """What is needed of a `Connection` to explain a failure."""

    @property
    def endpoint(self) -> str:
        """Address of the Hub."""

    @property
    def token(self) -> str | None:
        """Access token, which no text may hold."""

    @property
    def cache_dir(self) -> Path:
        """Where downloads are kept."""


class _Scene:
    """Where a failure happened: names and addresses for its sentence."""

    def __init__(self, connection: Reached, repo_id: str, revision: str, repo_type: str) -> None:
        self.endpoint, self.cache_dir = connection.endpoint, connection.cache_dir
        self.signed_in = connection.token is not None
        self.token = connection.token
        self.revision, self.kind = revision, _KINDS[repo_type]
        self.repo = repo_id or _NO_REPO
        prefix = "" if repo_type == "model" else f"{repo_type}s/"
        self.page = f"{self.endpoint}/{prefix}{repo_id}"

    def clean(self, text: str) -> str:
        """One printable line without any token."""
        if self.token:
            text = text.replace(self.token, "hf_***")
        text = ANY_TOKEN.sub(r"\1_***", text)
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@contextmanager
def explained(
    connection: Reached,
    doing: str,
    repo_id: str = "",
    *,
    revision: str | None = None,
    repo_type: str = "model",
) -> Iterator[None]:
    """Raise whatever goes wrong with the Hub inside as a `HubError`.

    The error stands alone: neither its text nor its traceback leads to the client's own error,
    whose requests and messages may hold the token.

    Args:
        connection: The Hub that is spoken to.
        doing: Begins the sentence, e.g. "Pushing to owner/name".
        repo_id: The repository, where there is one.
        revision: What was asked for of it.
        repo_type: "model", "dataset" or "space".

    Raises:
        HubError: One of its subclasses where one fits.
    """
    try:
        yield
    except _ERRORS + _ODD_ANSWERS as error:
        if isinstance(error, _ODD_ANSWERS) and not _from_client(error):
            raise
        failure = explain(error, connection, doing, repo_id, revision=revision, repo_type=repo_type)
        try:
            raise failure from None
        finally:
            failure.__context__ = None


def explain(
    error: BaseException,
    connection: Reached,
    doing: str,
    repo_id: str = "",
    *,
    revision: str | None = None,
    repo_type: str = "model",
) -> HubError:
    """The sentence for one error; see `explained`, which raises it."""
    scene = _Scene(connection, repo_id, revision or "main", repo_type)
    for read in (_long_wait, _full_disk, _answer, _xet, _network, _local):
        for link in chain(error):
            reason = read(link, scene)
            if reason is not None:
                kind, text = reason
                return kind(scene.clean(f"{doing} failed: {text}."))
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = scene.clean(str(cause) or type(cause).__name__)[:300].rstrip(".")
    return HubError(f"{scene.clean(doing)} failed: {text}.")


def not_the_hub(endpoint: str) -> str:
    """What happened and the way out where an answer has not the form of the Hub's."""
    return (
        f"what answers at {endpoint} is not the Hub; check the address, and whether the network "
        f"wants you to sign in first"
    )


def _from_client(error: BaseException) -> bool:
    """Whether it arose in a line of huggingface_hub."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return str(module).partition(".")[0] == huggingface_hub.__name__


def _long_wait(error: BaseException, scene: _Scene) -> _Reason | None:
    return _too_many(error.seconds) if isinstance(error, LongWait) else None


def _too_many(wait_s: float | None) -> _Reason:
    when = "in a few minutes" if not wait_s else f"in {_duration(wait_s)}"
    return HubUnreachableError, f"the Hub has had too many requests from you; try again {when}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{-(-seconds // 60):.0f} minutes"


def _full_disk(error: BaseException, scene: _Scene) -> _Reason | None:
    """A disk of this machine that took no more, as Python or hf_xet words it."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if not full and not re.search(r"os error (28|122)\b|No space left on device", str(error)):
        return None
    place = getattr(error, "filename", None) or scene.cache_dir
    return HubError, f"the disk of {place} is full; free some space and try again"


def _answer(error: BaseException, scene: _Scene) -> _Reason | None:
    """An answer of the Hub that refuses."""
    status = status_of(error)
    if status is None:
        return None
    words = _server_words(error, scene)
    if isinstance(error, GatedRepoError):
        where = f"ask for access at {scene.page}"
        then = "try again" if scene.signed_in else "sign in with the account that has it"
        return HubAccessError, f"{scene.repo} opens on request only; {where}, then {then}"
    if isinstance(error, DisabledRepoError):
        return HubAccessError, f"the Hub has disabled {scene.repo}; its page {scene.page} says why"
    if isinstance(error, RevisionNotFoundError):
        return (
            HubNotFoundError,
            f"{scene.repo} has no branch, tag or commit {scene.revision!r}; {scene.page} lists "
            f"those it has",
        )
    if isinstance(error, EntryNotFoundError):
        response: Any = error.response  # type: ignore[attr-defined]
        file = str(response.url).partition("?")[0].rpartition("/")[2]
        return (
            HubNotFoundError,
            f"{scene.repo} has no file {file!r}; {scene.page} shows what it has",
        )
    if status == 401 and not scene.signed_in and isinstance(error, RepositoryNotFoundError):
        return (
            HubNotFoundError,
            f"there is no public {scene.kind} {scene.repo}; check the name, or sign in if it is "
            f"private",
        )
    if status == 429:
        return _too_many(stated_wait_s(error.response))  # type: ignore[attr-defined]
    return _by_status(status, words, scene)


def _by_status(status: int, words: str, scene: _Scene) -> _Reason:
    """What a status alone says."""
    found: int | str = status
    if status == 401 and not scene.signed_in:
        found = "anonymous"
    elif status == 403 and _QUOTA.search(words):
        found = 413
    elif status == 404 and scene.repo == _NO_REPO:
        found = "no hub"
    elif status not in _REASONS:
        found = "fault" if status >= 500 else "refused"
    kind, text = _REASONS[found]
    said = f" ({words})" if words else ""
    return kind, text.format(
        said=said,
        status=f"status {status}{': ' + words if words else ''}",
        kind=scene.kind,
        repo=scene.repo,
        page=scene.page,
        endpoint=scene.endpoint,
    )


def _server_words(error: Any, scene: _Scene) -> str:
    """What the Hub says of its refusal, short enough for a sentence."""
    words = getattr(error, "server_message", None) or error.response.headers.get("X-Error-Message")
    line = scene.clean((words or "").strip().partition("\n")[0])
    return (line if len(line) <= 200 else line[:199] + "…").rstrip(".")


def _xet(error: BaseException, scene: _Scene) -> _Reason | None:
    """An answer of the Hub to hf_xet, which keeps its words to itself."""
    if status_of(error) is None and isinstance(error, OSError | RuntimeError):
        found = _XET_STATUS.search(str(error))
        if found:
            return _by_status(int(found[1]), "", scene)
    return None


def _network(error: BaseException, scene: _Scene) -> _Reason | None:
    """No answer at all."""
    if isinstance(error, OfflineModeIsEnabled):
        return (
            HubUnreachableError,
            "this machine is told to stay offline; unset HF_HUB_OFFLINE to use the Hub",
        )
    if isinstance(error, HTTP.UnsupportedProtocol | HTTP.InvalidURL):
        return HubUnreachableError, f"{scene.endpoint} is no address of a Hub; correct HF_ENDPOINT"
    if isinstance(error, HTTP.ProxyError):
        return HubUnreachableError, "the proxy refuses the connection; check HTTPS_PROXY"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            HubUnreachableError,
            f"the certificate of {scene.endpoint} cannot be verified; name your network's own "
            f"certificates in SSL_CERT_FILE",
        )
    if isinstance(error, HTTP.TimeoutException | TimeoutError):
        return HubUnreachableError, f"{scene.endpoint} took too long to answer; try again later"
    if isinstance(error, HTTP.ConnectError | HTTP.ConnectTimeout):
        return HubUnreachableError, f"{scene.endpoint} cannot be reached; check the network"
    if isinstance(error, HTTP.LocalProtocolError):
        return HubAccessError, "the token cannot be sent; copy it again, whole and by itself"
    if isinstance(error, HTTP.TransportError | ConnectionError):
        return (
            HubUnreachableError,
            f"the connection to {scene.endpoint} broke off; try again, what was sent whole is kept",
        )
    if isinstance(error, (json.JSONDecodeError, *_ODD_ANSWERS)):
        return HubUnreachableError, not_the_hub(scene.endpoint)
    return None


def _local(error: BaseException, scene: _Scene) -> _Reason | None:
    """What is wrong on this side."""
    if isinstance(error, LocalTokenNotFoundError):
        return HubAccessError, "you are not signed in; run `hf auth login` or give a token"
    if isinstance(error, HFValidationError):
        return HubError, f"{scene.repo!r} is no name for a repository; write owner/name"
    if isinstance(error, ValueError) and "Invalid metadata in README.md" in str(error):
        detail = str(error).partition("README.md")[2].lstrip(".: \n-").partition("\n")[0]
        return (
            HubError,
            f"the Hub does not accept the head of README.md ({detail[:200].rstrip('.')}); correct "
            f"the lines between the two '---'",
        )
    if isinstance(error, OSError) and error.errno and not isinstance(error, HfHubHTTPError):
        place = error.filename or scene.cache_dir
        return HubError, f"{place} cannot be used ({error.strerror}); check its permissions"
    return None
