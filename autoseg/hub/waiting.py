"""Patience with the Hub: what is worth repeating, and for how long."""

import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session, parse_ratelimit_headers

OnWait = Callable[[float], None]
"""Called with the seconds that are about to be waited."""

WAIT_LIMIT_S = 300.0
"""All that is waited, at the Hub's own request, within one call."""

HTTP: Any = importlib.import_module(HfHubHTTPError.__mro__[1].__module__.partition(".")[0])
"""The client's HTTP library: httpx up to huggingface_hub 1.29, httpx2 from 2.0."""

_FAULTS = frozenset({408, 500, 502, 503, 504})
_FAULT_WAITS_S = (1.0, 2.0, 4.0, 8.0)
_DROPPED_WAITS_S = (1.0, 2.0, 4.0)
_UNREACHED_WAITS_S = (1.0, 2.0)
"""Waits where the Hub states none. Nobody at home is usually a network that is off: be quick."""

_MOST_CALLS = 10
"""Also where each wait is short."""

_FAULTS_LIMIT_S = 30.0
"""Time after which a call that meets faults is not begun again; it may repeat within itself."""

_hooks_lock = threading.Lock()
_own_patience: ContextVar["_Patience | None"] = ContextVar("own_patience", default=None)
"""That of the call which this thread works for: all threads share one client and its hooks."""

_watching: list["_Patience"] = []
"""All calls under way, of all threads."""

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class LongWait(Exception):
    """The Hub asks for a wait longer than what is left of the limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


def patiently(
    call: Callable[[], _T], *, on_wait: OnWait | None = None, limit_s: float = WAIT_LIMIT_S
) -> _T:
    """Call, and call again after what passes: too many requests, faults of the Hub, cut lines.

    The Hub's own waiting time is kept to where it states one. The client waits by itself inside
    some calls; those waits are told and limited too. A thread that the call starts is known as
    its own if it runs in a copy of the context, else only while no other call is under way.

    Args:
        call: May be done twice: the answer to the first may have been lost.
        on_wait: Told the seconds of each wait as it begins; None: logged.
        limit_s: All that is waited at the Hub's request.

    Raises:
        LongWait: The Hub asks for more than the limit.
        Exception: What `call` raised last, as it is: see `failures.explained`.
    """
    patience = _Patience(limit_s, on_wait or _log_wait)
    with patience.watching():
        while True:
            try:
                return call()
            except (HTTP.HTTPError, OSError, RuntimeError) as error:
                # The client raises a RuntimeError from whatever broke off an upload.
                wrapped = isinstance(error, RuntimeError) and error.__cause__ is not None
                wait_s = patience.wait_after((error.__cause__ or error) if wrapped else error)
                if wait_s is None:
                    raise
            time.sleep(wait_s)


def chain(error: BaseException) -> list[BaseException]:
    """An error and what led to it, the last first."""
    links: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in links:
        links.append(current)
        current = current.__cause__ or current.__context__
    return links


def status_of(error: BaseException) -> int | None:
    """HTTP status of the answer that an error stands for."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def stated_wait_s(response: Any) -> float | None:
    """Seconds that an answer asks to wait; None: it does not say."""
    limit = parse_ratelimit_headers(response.headers)
    if response.status_code == 429 and limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds + 1.0  # The Hub counts whole seconds.
    after = (response.headers.get("retry-after") or "").strip()
    if after.isdecimal():
        return float(after)
    try:
        moment = parsedate_to_datetime(after)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


class _Patience:
    """What is left of the waiting time of one call, and how often it was begun."""

    def __init__(self, limit_s: float, on_wait: OnWait) -> None:
        self._left_s = limit_s
        self._on_wait = on_wait
        self._begun_s = time.monotonic()
        self._calls = 0
        self._waits = 0
        self._lock = threading.Lock()
        self._waiting_until_s = self._begun_s
        """When the waits end that were counted; those of parallel threads pass together."""
        self._counted: Any = None
        """The last answer whose wait was told; the client's error holds the same object."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See every answer that the client gets, also those it repeats by itself."""
        client = get_session()
        _set_hooks(client, add=self._see)
        _watching.append(self)
        before = _own_patience.set(self)
        try:
            yield
        finally:
            _own_patience.reset(before)
            _watching.remove(self)
            _set_hooks(client, remove=self._see)

    def wait_after(self, error: BaseException) -> float | None:
        """Seconds to wait before the next call; None: calling again is of no use."""
        self._calls += 1
        if self._calls >= _MOST_CALLS:
            return None
        status = status_of(error)
        if status == 429 or status in _FAULTS:
            response = error.response  # type: ignore[attr-defined]
            if (stated := stated_wait_s(response)) is not None:
                self._count(response, stated)
                return stated
        if time.monotonic() - self._begun_s > _FAULTS_LIMIT_S:
            return None
        waits = _waits_for(status, error)
        if self._waits >= len(waits):
            return None
        wait_s = waits[self._waits]
        self._waits += 1
        self._on_wait(wait_s)
        return wait_s

    def _see(self, response: Any) -> None:
        owner = _own_patience.get()
        if owner is not self and (owner is not None or _watching != [self]):
            return  # An answer to another thread's call.
        if response.status_code in (429, 503):
            if (stated := stated_wait_s(response)) is not None:
                self._count(response, stated)

    def _count(self, response: Any, wait_s: float) -> None:
        """Take a wait off what is left, once."""
        with self._lock:
            if response is self._counted:
                return
            now = time.monotonic()
            more_s = max(0.0, now + wait_s - max(now, self._waiting_until_s))
            if more_s > self._left_s:
                raise LongWait(wait_s)
            self._counted = response
            self._left_s -= more_s
            self._waiting_until_s = max(self._waiting_until_s, now + wait_s)
        self._on_wait(wait_s)


def _waits_for(status: int | None, error: BaseException) -> tuple[float, ...]:
    """Seconds before each further call, where the Hub states none."""
    if status == 429 or status in _FAULTS:
        return _FAULT_WAITS_S
    if status is not None:
        return ()
    if isinstance(error, HTTP.ConnectError | HTTP.ConnectTimeout):
        return _UNREACHED_WAITS_S
    if isinstance(error, HTTP.NetworkError | HTTP.TimeoutException | HTTP.RemoteProtocolError):
        return _DROPPED_WAITS_S
    return ()


def _set_hooks(client: Any, *, add: Any = None, remove: Any = None) -> None:
    """Replace the client's hooks by new lists, for another thread may be reading the old."""
    with _hooks_lock:
        hooks = client.event_hooks
        kept = [hook for hook in hooks["response"] if hook != remove]
        client.event_hooks = {
            "request": list(hooks["request"]),
            "response": kept + ([add] if add is not None else []),
        }


def _log_wait(wait_s: float) -> None:
    if wait_s >= 5:
        _logger.warning("The Hub asks to wait %.0f seconds.", wait_s)
