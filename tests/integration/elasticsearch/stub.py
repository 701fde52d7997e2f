"""Servers of HTTP that answer as other servers do, or as a cluster with security would."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def answering(status: int, body: Any, *, elastic: bool = False) -> Iterator[int]:
    """Answers everything with the same; gives its port. `elastic`: with the header of Elasticsearch."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header(
                "content-type", "text/html" if isinstance(body, str) else "application/json; charset=UTF-8"
            )
            self.send_header("content-length", str(len(content)))
            if elastic:
                self.send_header("x-elastic-product", "Elasticsearch")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _serving(Handler) as port:
        yield port


@contextmanager
def secured(port: int, logins: Mapping[str, str], security: Mapping[str, Any]) -> Iterator[int]:
    """A cluster at a port as its security would make it; gives the port where it asks for a login.

    `logins` are the passwords by user, `security` what is answered below `/_security/`, by the rest of the
    path; it may change meanwhile. Where there is an answer to `anonymous`, that is who comes without a login.
    Anything else is passed on, whoever asks.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.partition("?")[0].removeprefix("/_security/")
            user = self._user()
            if user is None and "anonymous" not in security:
                self._say(401, {"error": {"type": "security_exception", "reason": "no login"}, "status": 401})
            elif path == self.path.partition("?")[0]:
                self._pass_on(content)
            elif path == "_authenticate":
                self._say(200, {"username": user, "roles": []} if user else security["anonymous"])
            elif path in security:
                self._say(200, security[path])
            else:
                self._say(
                    403, {"error": {"type": "security_exception", "reason": "unauthorized"}, "status": 403}
                )

        def _user(self) -> str | None:
            said = self.headers.get("authorization", "").removeprefix("Basic ")
            name, _, password = base64.b64decode(said).decode().partition(":")
            return name if logins.get(name) == password else None

        def _say(self, status: int, body: Any) -> None:
            self._send(status, "application/json; charset=UTF-8", json.dumps(body).encode())

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.send_header("x-elastic-product", "Elasticsearch")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _pass_on(self, content: bytes) -> None:
            headers = {
                name: self.headers[name] for name in ("accept", "content-type") if self.headers.get(name)
            }
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request(self.command, self.path, content or None, headers)
                answer = connection.getresponse()
                self._send(answer.status, answer.headers.get("content-type", ""), answer.read())
            finally:
                connection.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _serving(Handler) as own:
        yield own


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
