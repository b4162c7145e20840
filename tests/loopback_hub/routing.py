"""Which function answers which request."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from loopback_hub.messages import Answer, Refusal, Request
from loopback_hub.state import Access, State

_PARTS = {
    "kind": "(?P<kind>models|datasets|spaces)",
    "site": "(?:(?P<kind>datasets|spaces)/)?",
    "repo_id": "(?P<repo_id>[^/]+/[^/]+?)",
    "path": "(?P<path>.+)",
}
"""What stands for more than one step of a path, or for one of few words."""

Handler = Callable[..., Answer]


@dataclass(frozen=True)
class Route:
    """A kind of request and its function."""

    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    handler: Handler
    access: Access | None
    streams: bool


_routes: list[Route] = []


def route(
    methods: str, template: str, access: Access | None = None, *, streams: bool = False
) -> Callable[[Handler], Handler]:
    """Let a function answer requests.

    Args:
        methods: Separated by spaces; HEAD comes with GET.
        template: Path with {names} that are given to the function; {kind} and {site} say whether
            it is about a model, a data set or a Space.
        access: What the user must be allowed to do with the repository, which is then given in
            place of {kind} and {repo_id}.
        streams: Whether the function reads the body itself, without the lock.
    """
    pattern = re.sub(r"\\{(\w+)\\}", lambda match: _part(match[1]), re.escape(template))
    names = tuple(methods.replace("GET", "GET HEAD").split())

    def register(handler: Handler) -> Handler:
        _routes.append(Route(names, re.compile(pattern), handler, access, streams))
        return handler

    return register


def _part(name: str) -> str:
    return _PARTS.get(name, f"(?P<{name}>[^/]+)")


def answer(state: State, request: Request) -> Answer:
    """Answer a request.

    Raises:
        Refusal: The Hub says no.
    """
    token = request.headers.get("Authorization", "").partition(" ")[2]
    if token:
        request.user = state.accounts.of_token(token)
        if request.user is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
    path = request.path.rstrip("/") or "/"
    for found in _routes:
        match = found.pattern.fullmatch(path)
        if match and request.method in found.methods:
            return _answer_by(found, match, state, request)
    raise Refusal(404, "Sorry, we can't find the page you are looking for.")


def _answer_by(found: Route, match: re.Match[str], state: State, request: Request) -> Answer:
    values: dict[str, Any] = {
        name: unquote(value or "") for name, value in match.groupdict().items()
    }
    if "kind" in values:
        values["kind"] = values["kind"].removesuffix("s") or "model"
    if found.access is not None:
        kind, repo_id = values.pop("kind", "space"), values.pop("repo_id")
        with state.lock:
            values["repository"] = state.opened(kind, repo_id, request.user, found.access)
    if found.streams:
        return found.handler(state, request, **values)
    _ = request.body  # A slow client must not keep the others waiting.
    with state.lock:
        return found.handler(state, request, **values)
