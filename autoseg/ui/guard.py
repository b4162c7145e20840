"""Who gets in: names with passwords, and the names under which a page of one's own answers."""

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from autoseg.errors import ConfigError

MIN_PASSWORD_LENGTH = 8
"""Characters of the shortest password that is taken."""

WRONG_PASSWORD_S = 1.0
"""A wrong password is answered after this time, in seconds."""

Users = tuple[tuple[str, str], ...]
"""Names and passwords."""


def parse_users(texts: Iterable[str]) -> Users:
    """Names and passwords as `--auth` has them.

    Raises:
        ConfigError: A text is not "USER:PASSWORD", a password is short, or a name comes twice.
    """
    users: dict[str, str] = {}
    for text in texts:
        name, colon, password = text.partition(":")
        name = name.strip()
        if not (name and colon and password):
            # The text is not repeated: it may be a password that ends up in a log.
            raise ConfigError("--auth wants USER:PASSWORD, such as anna:a-long-password.")
        if len(password) < MIN_PASSWORD_LENGTH:
            raise ConfigError(
                f"The password of {name!r} in --auth has fewer than {MIN_PASSWORD_LENGTH} "
                f"characters and could be guessed. Choose a longer one."
            )
        if name in users:
            raise ConfigError(f"--auth names {name!r} twice. Give each user one password.")
        users[name] = password
    return tuple(users.items())


def password_check(users: Users) -> Callable[[str, str], Awaitable[bool]]:
    """What Gradio asks at its login page; slow to refuse, so that guessing is slow."""
    known = {name: password.encode() for name, password in users}

    async def check(name: str, password: str) -> bool:
        expected = known.get(name, b"")
        if hmac.compare_digest(expected, password.encode()) and name in known:
            return True
        await asyncio.sleep(WRONG_PASSWORD_S)
        return False

    return check


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class OnlyThisComputer:
    """Answers only to requests that call this computer by a name of its own.

    A page of one's own may read every folder. A web site that points its own name at 127.0.0.1
    (DNS rebinding) would otherwise read along in the browser of whoever visits it, and so would
    everybody behind a proxy that hands requests on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            name = _host(scope)
            if not is_loopback(name):
                await _refuse(send, name)
                return
        await self.app(scope, receive, send)


def _host(scope: Scope) -> str:
    """The name in a request's Host header, without the port."""
    header: str = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


async def _refuse(send: Send, name: str) -> None:
    text = (
        f"This page answers only to the computer it runs on, as localhost, and not as {name!r}. "
        f"Start the app with --auth USER:PASSWORD to open it under other names."
    )
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
