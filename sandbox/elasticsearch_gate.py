"""A login before an Elasticsearch cluster that asks for none, as the security of a whole one would.

It reads the head of the first request of each connection and answers those of a wrong login, and of users
without any privilege, as Elasticsearch does. The rest is passed on as it comes: a client sends one login with
all requests of a connection.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import socket
import threading
from collections.abc import Collection, Mapping
from typing import Self

MOST = 65536
"""Bytes of a head, and of what is passed on at once."""


class ElasticsearchGate:
    """Listens on a port of 127.0.0.1 for a cluster at another one.

    `passwords` are those of all users, by name; those in `powerless` may log in and do nothing.
    """

    host = "127.0.0.1"

    def __init__(self, port: int, passwords: Mapping[str, str], powerless: Collection[str] = ()) -> None:
        self._to = port
        self._passwords = passwords
        self._powerless = powerless
        self._listener = socket.create_server((self.host, 0))
        self._sockets: set[socket.socket] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> Self:
        """Begin to take connections."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self) -> None:
        """End all connections."""
        for one in (self._listener, *list(self._sockets)):
            _close(one)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._sockets.add(client)
        with contextlib.suppress(OSError):  # a client or a server that goes away ends the connection
            head = _head(client)
            if (refusal := self._refusal(head)) is not None:
                client.sendall(refusal)
            else:
                self._connect(client, head)
        _close(client)
        self._sockets.discard(client)

    def _connect(self, client: socket.socket, head: bytes) -> None:
        with socket.create_connection((self.host, self._to)) as server:
            self._sockets.add(server)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.sendall(head)
            threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
            _pass_on(server, client)
            self._sockets.discard(server)

    def _refusal(self, head: bytes) -> bytes | None:
        """What is answered in the cluster's place; None where the login may do what it asks for."""
        user, password = _login(head)
        path = head.partition(b" ")[2].partition(b" ")[0].decode(errors="replace")
        if user is None or self._passwords.get(user) != password:
            reason = f"unable to authenticate user [{user}] for REST request [{path}]"
            if user is None:
                reason = f"missing authentication credentials for REST request [{path}]"
            return _answer(401, "Unauthorized", reason)
        if user in self._powerless:
            return _answer(403, "Forbidden", f"this action is unauthorized for user [{user}] with no roles")
        return None


def _head(client: socket.socket) -> bytes:
    """What came of the first request, all of its head among it; b"" where nothing comes."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MOST:
        chunk = client.recv(MOST)
        if not chunk:
            break
        head += chunk
    return head


def _login(head: bytes) -> tuple[str | None, str]:
    found = re.search(rb"\r\nauthorization: *basic +([^\r\n]+)", head, re.IGNORECASE)
    if found is None:
        return None, ""
    try:
        user, _, password = base64.b64decode(found[1]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, ""
    return user, password


def _answer(status: int, phrase: str, reason: str) -> bytes:
    error = {"type": "security_exception", "reason": reason}
    body = json.dumps({"error": {"root_cause": [error], **error}, "status": status}).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nX-elastic-product: Elasticsearch\r\n"
        'WWW-Authenticate: Basic realm="security" charset="UTF-8"\r\n'
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(MOST):
            sink.sendall(chunk)
    _close(source)
    _close(sink)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)  # wakes the threads that wait for it
    one.close()
