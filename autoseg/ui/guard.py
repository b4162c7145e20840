"""Who gets in: names with passwords, and the names under which a page of one's own answers."""

import asyncio
import functools
import hmac
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoseg.errors import ConfigError

_OTHER_NAME = (
    "This page answers only to the computer it runs on, as localhost, and not as {name!r}. "
    "Start the app with --auth USER:PASSWORD to open it under other names."
)
_OTHER_SITE = "This page answers to no other web site. Open it in a tab of its own."

_OTHER_ORIGIN = (
    "This page takes nothing from other web sites. Behind a proxy, let it pass on the Host header "
    "or send X-Forwarded-Host."
)

_UNKNOWN_NAME = (
    "This page asks for no password, so it answers only to addresses such as 192.168.1.4 and to "
    "this computer's own names, not to {name!r}: any web site could point such a name here. Start "
    "the app with --auth USER:PASSWORD, or let the proxy send an address as Host and the name as "
    "X-Forwarded-Host."
)

_LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".home.arpa")
"""Of names that no public name server knows (RFC 6761, 6762 and 8375; ICANN 2024)."""

MIN_PASSWORD_LENGTH = 8
"""Characters of the shortest password that is taken."""

WRONG_PASSWORD_S = 1.0
"""A wrong password is answered after this time, in seconds."""

MOST_WAITING = 20
"""Passwords that wait to be looked at."""

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
    """What Gradio asks at its login page; slow to refuse, so that guessing is slow.

    Passwords are looked at one after another, so guesses sent at once take no less time. Where
    `MOST_WAITING` wait, further ones are refused unseen.
    """
    known = {name: password.encode() for name, password in users}
    turn = asyncio.Semaphore(1)
    waiting = 0

    async def check(name: str, password: str) -> bool:
        nonlocal waiting
        if waiting >= MOST_WAITING:
            return False
        waiting += 1
        try:
            async with turn:
                expected = known.get(name, b"")
                if hmac.compare_digest(expected, password.encode()) and name in known:
                    return True
                await asyncio.sleep(WRONG_PASSWORD_S)
                return False
        finally:
            waiting -= 1

    return check


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


HUB = "https://huggingface.co"
"""The site that shows a Space, which has an address of its own, in a frame."""


class InFramesOf:
    """Tells browsers to show the page in its own frames, and in those of sites that are named.

    Any other site could lay its own picture over the page, and have its visitor click buttons of
    the page in the belief that they are its own.
    """

    def __init__(self, app: ASGIApp, *sites: str) -> None:
        self.app = app
        self.policy = " ".join(["frame-ancestors 'self'", *sites]).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with a header more."""

        async def send_framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                header = (b"content-security-policy", self.policy)
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        await self.app(scope, receive, send_framed)


class OnlyThisComputer:
    """Answers only to requests that call this computer by a name of its own, and to no other site.

    A page of one's own may read every folder. A web site that points its own name at 127.0.0.1
    (DNS rebinding) would otherwise read along in the browser of whoever visits it, and so would
    everybody behind a proxy that hands requests on. Any site may also let the browser send
    uploads here, though it cannot read the answers; a link to the page is all it may have.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            host = headers.get(b"host", "")
            if not is_loopback(_name(host)):
                await _refuse(send, _OTHER_NAME.format(name=_name(host)))
                return
            if _from_other_site(scope, headers, host):
                await _refuse(send, _OTHER_SITE)
                return
        await self.app(scope, receive, send)


class OnlyKnownNames:
    """Answers only to names that no web site can point at this computer.

    A site that points a name of its own here (DNS rebinding) is the page's own site to the browser
    of who visits it, and could read and send there whatever the page can. Where users give a
    password it has nobody's cookie; else the name must be an address, one without a dot, one of a
    local network, or known to be this computer's. `X-Forwarded-Host` does not help a request in:
    such a site sends it as it likes.

    Args:
        app: The page.
        host: Name or address that the server listens on.
        share_url: Asked for Gradio's share link, which is there only after the start.
    """

    def __init__(self, app: ASGIApp, host: str, share_url: Callable[[], str | None]) -> None:
        self.app = app
        self.host = host
        self.share_url = share_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            headers = dict(scope["headers"])
            name = _name(headers.get(b"host", b"").decode("latin-1")).lower().rstrip(".")
            if not (_is_local_name(name) or await self._is_own(name)):
                await _refuse(send, _UNKNOWN_NAME.format(name=name))
                return
        await self.app(scope, receive, send)

    async def _is_own(self, name: str) -> bool:
        shared = _name((self.share_url() or "").partition("://")[2])
        if name in (self.host.lower(), shared.lower()):
            return True
        return name == await asyncio.to_thread(_full_name)


def _is_local_name(name: str) -> bool:
    """Whether no public name server is asked for a name, in small letters."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(_LOCAL_ENDINGS)
    return True


@functools.cache
def _full_name() -> str:
    """This computer's name with its domain; it may have to ask the network."""
    return socket.getfqdn().lower()


class OnlyThisSite:
    """Takes from browsers only what the page itself has them send, and links to the page.

    A browser sends the cookie of whoever is signed in along with what another site makes it send
    (Gradio sets it with `SameSite=None`), and Gradio lets any site read the answers where the page
    is not on localhost. So could any site use the page in its visitor's name, and a page of the
    local network by any visitor's browser.

    Browsers say by `Sec-Fetch-Site`, which no site can set, on https and on localhost, whether the
    page itself asks. Else `Origin` must name the host that was asked for, also as a proxy or
    Gradio's share link has received it. Programs send neither. On plain http elsewhere browsers
    send neither with an image's address: there another site can still sign its visitor out, with
    the one address that changes something by GET.

    Args:
        app: The page.
        framed: Whether other sites may also show the page in a frame; which, `InFramesOf` says.
    """

    def __init__(self, app: ASGIApp, framed: bool = False) -> None:
        self.app = app
        self.places = ("document", "iframe") if framed else ("document",)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "http":  # Gradio has no web sockets.
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            if _has_other_origin(scope, headers, self.places):
                await _refuse(send, _OTHER_ORIGIN)
                return
        await self.app(scope, receive, send)


def _has_other_origin(scope: Scope, headers: Mapping[bytes, str], places: Sequence[str]) -> bool:
    """Whether another site than the one that was asked has sent a request, and no mere link."""
    if b"sec-fetch-site" in headers:
        return not (_asks_itself(headers) or _is_link(scope, headers, places))
    if (origin := headers.get(b"origin")) is None:
        return False
    forwarded = headers.get(b"x-forwarded-host", "").partition(",")[0].strip()
    asked = [host for host in (headers.get(b"host", ""), forwarded) if host]
    return not any(_is_at(origin, host) for host in asked)


def _is_at(origin: str, host: str) -> bool:
    """Whether an origin is the host that was asked, at its port unless a proxy left that out."""
    scheme, _, place = origin.lower().partition("://")
    port = _port(place) or {"http": "80", "https": "443"}.get(scheme, "")
    return _name(place) == _name(host.lower()) and _port(host) in ("", port)


def guarded_by(*guards: Middleware) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """What puts guards around an app that starts, and around what Gradio has put around it.

    Within Gradio's own answer to preflights, a site could set `X-Forwarded-Host` as it likes.
    """

    @asynccontextmanager
    async def guarded(app: Starlette) -> AsyncIterator[None]:
        app.user_middleware[:0] = guards
        app.middleware_stack = app.build_middleware_stack()
        yield

    return guarded


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _port(host: str) -> str:
    """The port in a Host header; "" where it has none."""
    return host.rpartition("]")[2].partition(":")[2]


def _from_other_site(scope: Scope, headers: Mapping[bytes, str], host: str) -> bool:
    """Whether a page of another site made the browser send a request; programs say neither."""
    origin = headers.get(b"origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return True
    return not (_asks_itself(headers) or _is_link(scope, headers))


def _asks_itself(headers: Mapping[bytes, str]) -> bool:
    """Whether, by what the browser says, the page itself asks, or its visitor, or a program."""
    return headers.get(b"sec-fetch-site", "none") in ("none", "same-origin")


def _is_link(
    scope: Scope, headers: Mapping[bytes, str], places: Sequence[str] = ("document",)
) -> bool:
    """Whether another site leads its visitor to the page, and not to the page's way out.

    Args:
        scope: The request.
        headers: Its headers.
        places: Where the browser may show the page.
    """
    asked = (scope.get("method"), headers.get(b"sec-fetch-mode"))
    signs_out = scope["path"].rstrip("/").endswith("/logout")
    shown = headers.get(b"sec-fetch-dest") in places
    return asked == ("GET", "navigate") and shown and not signs_out


async def _refuse(send: Send, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
