"""HTTP: one thread a connection, faults first, every request in a list."""

import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, cast

from loopback_hub import reading, routing, spaces, transfers, writing
from loopback_hub.faults import Fault, Faults
from loopback_hub.messages import Answer, Refusal, Request, json_answer
from loopback_hub.state import State

_ANSWERING = (reading, writing, transfers, spaces)
"""Importing them is what fills the routes."""


class Server(ThreadingHTTPServer):
    """A server on this machine for one Hub."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, state: State, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.state = state
        self.faults = Faults()
        self.requests: list[tuple[str, str, int]] = []
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # Clients may go away at any time.
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """End every connection, also those that wait."""
        self.stopping.set()
        self.shutdown()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server_version = "loopback-hub"

    def _handle(self) -> None:
        path, _, query = self.path.partition("?")
        request = Request(
            self.command, path, query, self.headers, cast(BinaryIO, self.rfile), self._server.url
        )
        try:
            if path == "/_control":
                self._send(request, self._control(request))
                return
            fault = self._server.faults.next(self.command, path)
            self._serve(request, fault or Fault(match="", times=0))
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    @property
    def _server(self) -> Server:
        return cast(Server, self.server)

    def _serve(self, request: Request, fault: Fault) -> None:
        if fault.delay_s and self._server.stopping.wait(fault.delay_s):
            self.close_connection = True
            return
        if fault.drop_after is not None:
            for _ in request.chunks(fault.drop_after):
                pass
            self._log(request, 0)
            self._reset()
            return
        answer = fault.answer() if fault.status is not None else self._answer(request)
        if fault.lose_answer:
            self._log(request, 0)
            self._reset()
            return
        self._log(request, answer.status)
        self._send(request, answer, fault)

    def _answer(self, request: Request) -> Answer:
        try:
            return routing.answer(self._server.state, request)
        except Refusal as refusal:
            return refusal.answer
        except ConnectionError:
            raise
        except Exception as error:
            traceback.print_exc()
            return json_answer({"error": f"Internal Error: {error!r}"}, 500)

    def _send(self, request: Request, answer: Answer, fault: Fault | None = None) -> None:
        request.drain()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(answer.length))
        self.send_header("X-Request-Id", f"Root=1-loopback-{time.time_ns()}")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if request.method == "HEAD":
            return
        for chunk in _spoilt(answer.chunks(), fault):
            self.wfile.write(chunk)
        if fault is not None and fault.truncate is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _control(self, request: Request) -> Answer:
        """Faults and scripts for a Hub in another process; GET tells what happened."""
        server = self._server
        if request.method == "POST":
            if "faults" in request.fields:
                server.faults.replace(Fault(**fields) for fields in request.fields["faults"])
            for repo_id, script in request.fields.get("spaces", {}).items():
                space = server.state.space(repo_id)
                space.__dict__.update(script)
                space.start()
            return json_answer({})
        running = {
            repo_id: {"hardware": space.hardware, "secrets": sorted(space.secrets)}
            for repo_id, space in server.state.spaces.items()
        }
        return json_answer({"log": server.requests, "spaces": running})

    def _log(self, request: Request, status: int) -> None:
        """Before the client can know the answer, so that the list is never behind it."""
        self._server.requests.append((request.method, request.path, status))

    def _reset(self) -> None:
        """Close the connection as a crash would, without a farewell."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _spoilt(chunks: Iterator[bytes], fault: Fault | None) -> Iterator[bytes]:
    """The body as a fault leaves it."""
    left = fault.truncate if fault else None
    corrupt = fault is not None and fault.corrupt
    for chunk in chunks:
        if corrupt:
            chunk, corrupt = bytes([chunk[0] ^ 0xFF]) + chunk[1:], False
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        yield chunk
