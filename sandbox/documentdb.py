"""What Amazon DocumentDB lacks, in front of a server that has it: a TLS proxy that refuses what that refuses.

It reads each command on its way (OP_MSG) and answers those with an error that use a command, an option or a
kind of index that DocumentDB is held not to have. The rest is passed on.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import bson

from sandbox.certificate import make_certificate

OP_MSG = 2013
MORE_TO_COME = 2
HEADER = struct.Struct("<iiii")
NOT_SUPPORTED = 303
COMMANDS = frozenset({"killSessions", "killAllSessions", "mapReduce", "profile", "validate", "bulkWrite"})
CREATE_OPTIONS = frozenset(
    {
        *("viewOn", "pipeline", "timeseries", "collation", "capped", "size", "max", "clusteredIndex"),
        *(
            "validator",
            "validationLevel",
            "validationAction",
            "storageEngine",
            "changeStreamPreAndPostImages",
        ),
    }
)
INDEX_OPTIONS = frozenset({"collation", "hidden", "wildcardProjection", "storageEngine"})
INDEX_KINDS = (1, -1, "2dsphere", "text")


class DocumentDBProxy:
    """Listens with TLS on a port of 127.0.0.1; `refused` are the reasons for which it refused a command."""

    host = "127.0.0.1"

    def __init__(self, port: int, folder: Path) -> None:
        self.refused: list[str] = []
        self.certificate = folder / "ca.pem"
        self._to = port
        folder.mkdir(parents=True, exist_ok=True)
        key = folder / "key.pem"
        if not key.exists():
            make_certificate(self.certificate, key)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, key)
        self._listener = socket.create_server((self.host, 0))
        self._sockets: list[socket.socket] = []

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
        for one in (self._listener, *self._sockets):
            _close(one)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                plain = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            client = self._tls.wrap_socket(plain, server_side=True)
            server = socket.create_connection((self.host, self._to))
        except OSError:
            _close(plain)
            return
        self._sockets += [client, server]
        with contextlib.suppress(OSError, EOFError):
            while True:
                message = _read(client)
                why = refusal(command_of(message))
                if why:
                    self.refused.append(why)
                    client.sendall(_refused(message, why))
                    continue
                server.sendall(message)
                more = True
                while more:
                    # The driver's monitor asks once, and is told again and again.
                    reply = _read(server)
                    client.sendall(reply)
                    more = bool(struct.unpack_from("<I", reply, HEADER.size)[0] & MORE_TO_COME)
        _close(client)
        _close(server)


def refusal(command: Mapping[str, Any]) -> str:
    """Why DocumentDB would refuse a command; "" where it would not."""
    name = next(iter(command), "")
    if name in COMMANDS:
        return f"{name} is not supported"
    concern = command.get("readConcern") or {}
    if concern.get("level") in ("snapshot", "linearizable"):
        return f"read concern {concern['level']} is not supported"
    if command.get("txnNumber") is not None and not command.get("startTransaction"):
        return "retryable writes are not supported"
    if command.get("bypassDocumentValidation"):
        return "bypassDocumentValidation is not supported"
    if name == "renameCollection" and command.get("dropTarget"):
        return "dropTarget is not supported"
    if name == "create" and (options := sorted(CREATE_OPTIONS & command.keys())):
        return f"option {options[0]} of create is not supported"
    if any(isinstance(each.get("u"), list) for each in command.get("updates") or ()):
        return "updates by a pipeline are not supported"
    if name == "findAndModify" and isinstance(command.get("update"), list):
        return "updates by a pipeline are not supported"
    return _index_refusal(command.get("indexes") or ()) if name == "createIndexes" else ""


def _index_refusal(indexes: Any) -> str:
    for index in indexes:
        if options := sorted(INDEX_OPTIONS & index.keys()):
            return f"index option {options[0]} is not supported"
        for field, kind in index["key"].items():
            if "$**" in field or kind not in INDEX_KINDS:
                return f"indexes of kind {kind} on {field} are not supported"
    return ""


def command_of(message: bytes) -> dict[str, Any]:
    """The command of an OP_MSG, with the documents of its other sections; {} for another message."""
    if HEADER.unpack_from(message)[3] != OP_MSG:
        return {}
    command: dict[str, Any] = {}
    for kind, part in _sections(message):
        if kind == 0:
            command = {**bson.decode(part), **command}
        else:
            name, _, documents = part.partition(b"\0")
            if name != b"documents":  # what is inserted tells nothing
                command[name.decode()] = bson.decode_all(documents)
    return command


def _sections(message: bytes) -> Iterator[tuple[int, bytes]]:
    checksum = struct.unpack_from("<I", message, HEADER.size)[0] & 1
    place, end = HEADER.size + 4, len(message) - 4 * checksum
    while place < end:
        kind = message[place]
        (length,) = struct.unpack_from("<i", message, place + 1)
        part = message[place + 1 : place + 1 + length]
        yield kind, part if kind == 0 else part[4:]
        place += 1 + length


def _refused(message: bytes, why: str) -> bytes:
    reply = bson.encode(
        {
            "ok": 0.0,
            "code": NOT_SUPPORTED,
            "codeName": "FeatureNotSupported",
            "errmsg": f"Feature not supported: {why}",
        }
    )
    request = HEADER.unpack_from(message)[1]
    body = struct.pack("<I", 0) + b"\0" + reply
    return HEADER.pack(HEADER.size + len(body), 0, request, OP_MSG) + body


def _read(connection: socket.socket) -> bytes:
    start = _exactly(connection, 4)
    (length,) = struct.unpack("<i", start)
    return start + _exactly(connection, length - 4)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
