"""The listening socket, and connections that may not dawdle.

uvicorn waits for ever for the headers of a request, for its body, and for a client that does not read its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import resource
import socket
import stat
from pathlib import Path
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.clock import random_id
from gateway.errors import SetupError
from gateway.settings import UNIX

MAX_HEADER_BYTES = 32_768
#: The door for events gives up sooner and says so; this ends what no door looks after.
BODY_SECONDS = 60.0
#: How long a client may leave what is sent to it unread.
UNREAD_SECONDS = 60.0
#: Longer than the 60 s after which usual load balancers give up a connection, so that they never use a closed one.
IDLE_SECONDS = 75
#: How long a connection is kept for its request when the server stops.
_LAST_SECONDS = 0.5
#: Connections beyond the most that are served: they are told so. Those beyond that too are closed at once.
_TOLD = 200
#: File descriptors kept for MongoDB, files and the listener.
_RESERVED = 200
#: A name or an address, with or without a port (RFC 9110); nothing, where there is none.
_HOST = re.compile(rb"([A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])?(:[0-9]{0,5})?")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, on a path for `unix:/path`. Raises SetupError when the address is taken or not ours."""
    if host.startswith(UNIX):
        return _listen_on_path(Path(host.removeprefix(UNIX)))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, for asyncio sets TCP_NODELAY on none but connections that say they are TCP; without it an answer that is
    # written in two parts waits for the client's delayed acknowledgement, some 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise SetupError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.", hint=_other_address(port, error)
        ) from error
    return listener


def _other_address(port: int, error: OSError) -> str:
    """What to do about an address that cannot be listened on."""
    other = f"--port {port + 1 if port < 65_535 else 8001}, or GATEWAY_PORT"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "Give an address of this machine: --host 127.0.0.1, or 0.0.0.0 for all (GATEWAY_HOST)."
    if error.errno == errno.EADDRINUSE:
        return f"Does a gateway run there already? Use it, or stop it, or choose another port: {other}."
    return f"Choose another port: {other}."


def _listen_on_path(path: Path) -> socket.socket:
    """Open to its owner and group; what a process that died left there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise SetupError(
            f"Cannot listen on {path}: {error.strerror or error}.", hint="Choose another path in GATEWAY_HOST."
        ) from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def allow_connections(wanted: int) -> int:
    """How many connections the process may have, at most `wanted`, after raising its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _TOLD + _RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - _TOLD - _RESERVED))


def connection_class(*, header_seconds: float, most: int) -> type[HttpToolsProtocol]:
    """The class of connections with these bounds, in the form that uvicorn wants."""
    return type("_BoundedConnection", (_Connection,), {"header_seconds": header_seconds, "most": most + _TOLD})


class _Connection(HttpToolsProtocol):
    """One deadline at a time: for headers, then for the body; another for a client that does not read."""

    header_seconds: float
    most: int

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in_headers = False
        self._header_bytes = 0  # as they came, of headers that are not complete
        self._header_sum = 0  # of what has been read
        self._refused: tuple[int, str, str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse(503, "OVERLOADED", "The gateway has as many connections as it can take.")
            return
        self._begin_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None or self.transport.is_closing():
            return
        if not self._in_headers and self._deadline is None:
            self._begin_headers()
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._too_large()
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._header_sum = True, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        self._in_headers, self._header_bytes = False, 0
        self._check_host()
        self._set_deadline(BODY_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._set_deadline(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._set_deadline(None)
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        """As uvicorn does, but a request that is on its way already is still answered."""
        if self._in_headers and not self._answering and not self.transport.is_closing():
            self._set_deadline(_LAST_SECONDS)
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered in our form too."""
        self._refuse(
            *(self._refused or (400, "BAD_REQUEST", "This is not a valid HTTP request, or its method is not known."))
        )

    @property
    def _answering(self) -> bool:
        """Whether a request has come whose answer is not complete; before the first one uvicorn's cycle is None."""
        return not getattr(self.cycle, "response_complete", True)

    def _begin_headers(self) -> None:
        self._in_headers, self._header_bytes = True, 0
        self._set_deadline(self.header_seconds)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._in_headers and self._answering:
            self._set_deadline(self.header_seconds)  # the answer before is still to be written
        elif self._in_headers and self._header_bytes:
            self._refuse(408, "TIMEOUT", f"The headers did not arrive within {self.header_seconds:g} seconds.")
        else:
            self.transport.close()

    def _count(self, size: int) -> None:
        self._header_sum += size
        if self._header_sum > MAX_HEADER_BYTES:
            self._too_large()
            raise httptools.HttpParserError

    def _check_host(self) -> None:
        """HTTP/1.1 asks for one `Host`, and what stands in it is told to SDKs and pages as the gateway's address."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._refused = (400, "BAD_REQUEST", "A request has one Host header.")
        elif hosts and not _HOST.fullmatch(hosts[0]):
            self._refused = (400, "BAD_REQUEST", "What stands in the Host header is no host.")
        if self._refused is not None:
            raise httptools.HttpParserError

    def _too_large(self) -> None:
        self._refused = (431, "TOO_LARGE", f"The headers have more than {MAX_HEADER_BYTES // 1024} KB.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = orjson.dumps({"code": code, "message": message})
        head = STATUS_LINE[status] + b"content-type: application/json\r\nconnection: close\r\n"
        head += b"x-request-id: %s\r\n" % random_id().encode()
        if status == 503:
            head += b"retry-after: 1\r\n"
        self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()
