"""Failures on demand: the next requests that fit a pattern are answered badly, or not at all."""

import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopback_hub.messages import Answer


@dataclass
class Fault:
    """What happens to the requests that fit."""

    match: str
    """Regular expression searched in "METHOD /path"; the path is without its query."""
    times: int = 1
    """Requests it still happens to."""
    status: int | None = None
    """Answered in place of the true answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """Text, bytes, or anything of JSON; None: {"error": "injected"}."""
    drop_after: int | None = None
    """Bytes of the request's body after which the connection is reset."""
    lose_answer: bool = False
    """Do what was asked, then reset the connection in place of an answer."""
    truncate: int | None = None
    """Bytes of the answer's body after which the connection is closed."""
    corrupt: bool = False
    """Change the first byte of the answer's body."""
    delay_s: float = 0.0
    """Wait before anything else."""

    def answer(self) -> Answer:
        assert self.status is not None
        body = {"error": "injected"} if self.body is None else self.body
        if isinstance(body, str):
            body = body.encode()
        if isinstance(body, bytes):
            return Answer(body, self.status, self.headers)
        return Answer(json.dumps(body).encode(), self.status, self.headers, "application/json")


class Faults:
    """The faults that are still to happen, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        re.compile(fault.match)
        with self._lock:
            self._faults.append(fault)

    def replace(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._faults = list(faults)

    def next(self, method: str, path: str) -> Fault | None:
        """The first fault that fits, used up by one."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and re.search(fault.match, f"{method} {path}"):
                    fault.times -= 1
                    return fault
        return None
