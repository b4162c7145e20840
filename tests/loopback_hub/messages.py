"""What a handler of the loopback Hub is given, what it gives back, and how it refuses."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs

from loopback_hub.accounts import User

_CHUNK_BYTES = 1 << 20


class Refusal(Exception):
    """An answer with an error status, in the words and headers of the Hub."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Refuse.

        Args:
            status: HTTP status.
            message: What the client shows.
            code: "RepoNotFound", "RevisionNotFound", "EntryNotFound" or "GatedRepo"; clients choose
                the class of their error by it.
            headers: Sent beside those of the message and the code.
            fields: Go into the JSON body beside "error".
        """
        super().__init__(message)
        named = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer = json_answer(
            {"error": message, **fields}, status, {**named, **(headers or {})}
        )


@dataclass(frozen=True)
class FilePart:
    """Bytes [start, start + length) of a file."""

    path: Path
    start: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        left = self.length
        with self.path.open("rb") as file:
            file.seek(self.start)
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True)
class Answer:
    """An answer that can be sent once."""

    content: bytes | FilePart = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/plain; charset=utf-8"
    announced_bytes: int | None = None
    """Content-Length of an answer to HEAD; None: the length of the content."""

    @property
    def length(self) -> int:
        if self.announced_bytes is not None:
            return self.announced_bytes
        return self.content.length if isinstance(self.content, FilePart) else len(self.content)

    def chunks(self) -> Iterator[bytes]:
        if isinstance(self.content, FilePart):
            yield from self.content.chunks()
        elif self.content:
            yield self.content


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content = json.dumps(value, default=str).encode()  # YAML has dates, JSON has none.
    return Answer(content, status, headers or {}, "application/json")


@dataclass
class Request:
    """A request whose body may not have been read yet."""

    method: str
    path: str
    """As it was sent: quoted, without the query."""
    query_string: str
    headers: Message
    stream: BinaryIO
    base_url: str
    user: User | None = None
    """Whose token came with it."""
    unread_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.unread_bytes = int(self.headers.get("Content-Length") or 0)

    @cached_property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.query_string, keep_blank_values=True)

    def flag(self, name: str) -> bool:
        """Whether the query asks for something; "false" and absence do not."""
        return self.query.get(name, ["false"])[-1].lower() not in ("false", "0")

    def chunks(self, at_most: int | None = None) -> Iterator[bytes]:
        """The body, or its next bytes, piece by piece.

        Raises:
            ConnectionError: The client went away before it had sent everything.
        """
        wanted = self.unread_bytes if at_most is None else min(at_most, self.unread_bytes)
        while wanted:
            chunk = self.stream.read(min(wanted, _CHUNK_BYTES))
            if not chunk:
                raise ConnectionError("the client sent less than it announced")
            wanted -= len(chunk)
            self.unread_bytes -= len(chunk)
            yield chunk

    @cached_property
    def body(self) -> bytes:
        return b"".join(self.chunks())

    def drain(self) -> None:
        """Read what is left, so that the connection can carry the next request."""
        for _ in self.chunks():
            pass

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The body's fields, of JSON or of a form; those of a form are lists.

        Raises:
            Refusal: It is neither.
        """
        if "x-www-form-urlencoded" in (self.headers.get("Content-Type") or ""):
            return dict(parse_qs(self.body.decode(), keep_blank_values=True))
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refusal(400, f"Invalid JSON: {error}") from None
        if not isinstance(value, dict):
            raise Refusal(400, "Invalid JSON: expected an object")
        return value
