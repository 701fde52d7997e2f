"""A TCP proxy on 127.0.0.1 that spoils connections, to see what a client survives."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from attrs import frozen

BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@frozen
class Pass:
    """Leave the connection alone."""


@frozen
class Busy:
    """Answer the first request with 503 and close."""


@frozen
class Cut:
    """Close both ends without warning after so many bytes in either direction."""

    after: int


@frozen
class Stall:
    """After so many bytes in either direction, take what is sent and pass nothing on."""

    after: int


@frozen
class Garble:
    """Change one byte that the client sends, the one after so many."""

    after: int


@frozen
class Slow:
    """Pass on no more than so many bytes a second, in small pieces, in either direction."""

    rate: int


Fault = Pass | Busy | Cut | Stall | Garble | Slow


class FaultyProxy:
    """Passes connections on to a port, each with the fault that `choose` gives for its number, from 0."""

    def __init__(self, port: int, choose: Callable[[int], Fault]) -> None:
        self.counts: dict[str, int] = {}
        """How many connections had each fault."""
        self.stalled = threading.Event()
        """Set once something was not passed on."""
        self._to = port
        self._choose = choose
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(self._listener, *self._sockets)

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                client = self._listener.accept()[0]
                fault = self._choose(number)
                number += 1
                name = type(fault).__name__
                self.counts[name] = self.counts.get(name, 0) + 1
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault) -> None:
        if isinstance(fault, Busy):
            with contextlib.suppress(OSError):
                client.recv(65536)
                client.sendall(BUSY)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            _close(client)
            return
        server = socket.create_connection(("127.0.0.1", self._to))
        self._sockets.append(server)
        threading.Thread(target=self._pump, args=(client, server, fault, True), daemon=True).start()
        self._pump(server, client, fault, False)

    def _pump(self, source: socket.socket, sink: socket.socket, fault: Fault, sent: bool) -> None:
        """Pass on what comes from the source; `sent` where that is the client."""
        passed = 0
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                start, passed = passed, passed + len(chunk)
                if isinstance(fault, Garble) and sent and start <= fault.after < passed:
                    place = fault.after - start
                    chunk = chunk[:place] + bytes([chunk[place] ^ 1]) + chunk[place + 1 :]
                if isinstance(fault, Cut | Stall) and passed > fault.after:
                    sink.sendall(chunk[: max(fault.after - start, 0)])
                    if isinstance(fault, Cut):
                        break
                    self.stalled.set()
                    continue
                pieces = _slowly(chunk, fault.rate) if isinstance(fault, Slow) else [chunk]
                for piece in pieces:
                    sink.sendall(piece)
        _close(source, sink)


def _slowly(chunk: bytes, rate: int) -> Iterator[bytes]:
    size = max(rate // 20, 1)
    for start in range(0, len(chunk), size):
        time.sleep(1 / 20)
        yield chunk[start : start + size]


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)  # wakes the threads that wait for it
        one.close()
