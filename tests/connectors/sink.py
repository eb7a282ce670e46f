"""Another system for connectors to speak to: remembers every request, answers as a test says, on a port of its own."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Names of headers are in lower case; the body is unpacked."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def basic(self) -> str:
        """User and password of Basic authentication, as `user:password`."""
        return base64.b64decode(self.headers["authorization"].removeprefix("Basic ")).decode()


@dataclass(frozen=True, slots=True)
class Told:
    """An answer; a body that is not bytes is JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Sink:
    """A server in a thread. `answers` are given in turn; after them, `answer` decides."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Told] = []
        self.answer: Callable[[Asked], Told] = lambda asked: Told()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                asked = Asked(self.command, self.path, headers, body)
                sink.asked.append(asked)
                told = sink.answers.pop(0) if sink.answers else sink.answer(asked)
                content = told.body if isinstance(told.body, bytes) else json.dumps(told.body).encode()
                kind = "text/plain" if isinstance(told.body, bytes) else "application/json"
                self.send_response(told.status)
                for name, value in {"content-type": kind, **told.headers}.items():
                    self.send_header(name, value)
                if told.status != 204:
                    self.send_header("content-length", str(len(content)))
                self.send_header("connection", "close")
                self.end_headers()
                if told.status != 204:
                    self.wfile.write(content)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the tests look at what was asked."""

        return Handler
