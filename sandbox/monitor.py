"""A monitor that keeps what it is told, and answers as it is asked to: over HTTP, or TLS."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from attrs import frozen

from sandbox.certificate import LOOPBACK


@frozen(kw_only=True)
class Told:
    """One request that was answered with 200."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Monitor:
    """The server. `told` is what it took; `asked` counts every request.

    `login` is `user:password`, where it asks for one. `statuses` are answered first, one for each request,
    before 200. While `held` is set it answers nobody.
    """

    def __init__(
        self, *, login: str | None = None, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        """With a certificate and its key it speaks TLS."""
        self.told: list[Told] = []
        self.asked = 0
        self.statuses: list[int] = []
        self.location = ""
        self.held = threading.Event()
        self._released = threading.Event()
        self._login = login
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self._scheme}://{LOOPBACK}:{self.port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                monitor._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        with self._lock:
            self.asked += 1
            status = self.statuses.pop(0) if self.statuses else 200
        if self.held.is_set():
            self._released.wait()
            return
        expected = self._login and f"Basic {base64.b64encode(self._login.encode()).decode()}"
        if expected and request.headers.get("Authorization") != expected:
            status = 401
        if status == 200:
            told = Told(method=request.command, path=request.path, headers=dict(request.headers), body=body)
            with self._lock:
                self.told.append(told)
        request.send_response(status)
        if status in (301, 302, 307):
            request.send_header("Location", self.location)
        request.send_header("Content-Length", "0")
        request.end_headers()
