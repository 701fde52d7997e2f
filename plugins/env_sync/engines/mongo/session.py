"""Connections to a server: who it is, how a step talks to it, and how a cancel ends that."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import bson
from attrs import frozen
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import AccessRefused, Cancelled, EnvSyncError
from env_sync.domain.database_name import LEASE_DATABASE
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.mongo.bson_stream import BATCH, RAW
from env_sync.engines.mongo.errors import NO_SUCH, plain_errors
from env_sync.engines.mongo.features import Features

PORT = 27017
CONNECT_TIMEOUT = 10
SELECTION_TIMEOUT = 30
"""Seconds to find a primary; an election takes about ten."""
PREFERENCES = ("primary", "secondary", "secondaryPreferred")
POLL = 0.1
"""Seconds between two looks at whether a step was cancelled, while a command runs."""

T = TypeVar("T")


@frozen(kw_only=True)
class Server:
    """The server of a connection, and the settings in its extra.

    `auth_source` (admin), `replica_set`, `direct_connection` (of a single server), `tls`, `tls_ca_file`,
    `read_preference` (of dumps; primary), `lease_database` (env_sync), `server_selection_timeout` (seconds),
    `open_to_anybody` (the server has no access control, and a dump may lie there before it is sanitised),
    `accepted_readers` (users who may read it there).
    """

    connection: ServerConnection
    features: Features
    group: str
    cancellation: Cancellation
    timeout: float | None = None
    """Seconds to find a primary, other than the connection's extra says."""

    def __str__(self) -> str:
        return f"{self.connection.host}:{self.port}"

    @property
    def port(self) -> int:
        """Its port."""
        return self.connection.port or PORT

    @property
    def lease_database(self) -> str:
        """Where leases and journals are kept."""
        return str(self.connection.extra.get("lease_database") or LEASE_DATABASE)

    @property
    def read_preference(self) -> str:
        """From which members dumps are read. Raises AccessRefused where there is no such preference."""
        wanted = str(self.connection.extra.get("read_preference") or "primary")
        if wanted not in PREFERENCES:
            raise AccessRefused(
                f"Connection {self.connection.connection_id} has a `read_preference` that does not exist: "
                f"write one of {', '.join(PREFERENCES)} into its extra."
            )
        return wanted

    def errors(
        self, what: str, otherwise: type[EnvSyncError] = EnvSyncError, advice: str = ""
    ) -> contextlib.AbstractContextManager[None]:
        """`plain_errors` for this server."""
        return plain_errors(f"{what} on {self}", self.connection.login, otherwise, advice)

    def open(self, name: str = "") -> Session:
        """A session, for the caller to close; connects when it is first used. Raises AccessRefused.

        `name` is what the server calls it; the group's unless it is given.
        """
        return Session(self, self._client(name or f"env_sync {self.group}"))

    @contextlib.contextmanager
    def session(self, name: str = "") -> Iterator[Session]:
        """The same for the length of a block."""
        session = self.open(name)
        try:
            yield session
        finally:
            session.close()

    def _client(self, name: str) -> MongoClient[dict[str, Any]]:
        extra = self.connection.extra
        tls = bool(extra.get("tls", self.features.tls_required))
        bundle = str(extra.get("tls_ca_file") or "")
        if self.features.tls_required and not (tls and bundle):
            raise AccessRefused(
                f"{self.features.product} {self} is reached with TLS alone: give connection "
                f"{self.connection.connection_id} `tls_ca_file`, the path of the CA bundle on every worker, "
                "in its extra, and do not turn `tls` off."
            )
        if bundle and not Path(bundle).is_file():
            raise AccessRefused(
                f"The CA bundle {bundle} of connection {self.connection.connection_id} is not on this "
                "worker: put it there, or correct `tls_ca_file` in the connection's extra."
            )
        options: dict[str, Any] = {
            "appname": name[:128],
            "connectTimeoutMS": CONNECT_TIMEOUT * 1000,
            "serverSelectionTimeoutMS": 1000
            * float(self.timeout or extra.get("server_selection_timeout") or SELECTION_TIMEOUT),
            "retryWrites": self.features.retry_writes,
            "tz_aware": True,
            "directConnection": bool(extra.get("direct_connection", False)),
        }
        if self.connection.login:
            options |= {
                "username": self.connection.login,
                "password": self.connection.password.reveal(),
                "authSource": str(extra.get("auth_source") or "admin"),
            }
        if replica_set := extra.get("replica_set"):
            options["replicaSet"] = str(replica_set)
        if tls:
            options["tls"] = True
        if bundle:
            options["tlsCAFile"] = bundle
        with self.errors("Connecting"):
            return MongoClient(self.connection.host or "localhost", self.port, **options)


class Session:
    """What a step runs its commands through. Its methods raise PyMongoError, and Cancelled.

    Reads and writes go to the primary, and writes wait for a majority, unless something else is said.
    """

    def __init__(self, server: Server, client: MongoClient[dict[str, Any]]) -> None:
        self.server = server
        self.may_write: Callable[[], None] = lambda: None
        """Asked before each command; raises where this process may no longer touch the copies."""
        self._client = client
        self._uninterrupted = 0

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """For the length of a block a cancel is not heard: what was begun is brought to its end."""
        self._uninterrupted += 1
        try:
            yield
        finally:
            self._uninterrupted -= 1

    def secondaries(self) -> list[tuple[str, int]]:
        """The hosts and ports of the secondaries that answer now."""
        self.hello()
        return sorted((host, port or PORT) for host, port in self._client.secondaries)

    def statement(self) -> None:
        """Comes before each command. Raises Cancelled, and what `may_write` raises."""
        if not self._uninterrupted:
            self.server.cancellation.check()
        self.may_write()

    def command(
        self,
        database: str,
        command: Mapping[str, Any],
        *,
        raw: bool = False,
        within: ClientSession | None = None,
    ) -> dict[str, Any]:
        """Run one command, and give its reply; with `raw` the documents in it are left as they are.

        `within` is the driver's session that a cursor belongs to.

        Raises OperationFailure also where a write was not acknowledged as it was asked for.
        """
        self.statement()
        codec: CodecOptions[Any] = RAW if raw else CodecOptions(tz_aware=True)
        target = self._client.get_database(database)

        def run(session: ClientSession | None) -> dict[str, Any]:
            reply: Any = target.command(
                dict(command), codec_options=codec, read_preference=ReadPreference.PRIMARY, session=session
            )
            return reply if raw else dict(reply)

        if within is not None:
            return self._interruptible(run, within)
        with self._client.start_session(causal_consistency=False) as session:
            return self._interruptible(run, session)

    def write(self, database: str, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run a command that writes, acknowledged by a majority. Raises OperationFailure for any part."""
        reply = self.command(database, {**command, "writeConcern": {"w": "majority"}})
        for failed in (*(reply.get("writeErrors") or ()), reply.get("writeConcernError")):
            if failed:
                raise OperationFailure("a write failed", failed.get("code"), failed)
        return reply

    def cursor(self, database: str, command: Mapping[str, Any]) -> Iterator[Sequence[RawBSONDocument]]:
        """Every batch of a command that answers with a cursor, its documents as they came.

        Left to itself a server sends up to 16 MB at once, which a reader holds several times over; asked for
        as many documents as there have been in `BATCH` bytes so far it sends about that.
        """
        documents = size = 0
        with self._client.start_session(causal_consistency=False) as session:
            reply = self.command(database, command, raw=True, within=session)["cursor"]
            collection = str(reply["ns"]).partition(".")[2]
            number, batch = reply["id"], reply["firstBatch"]
            try:
                while True:
                    if batch:
                        yield batch
                    if not number:
                        return
                    documents += len(batch)
                    size += sum(len(each.raw) for each in batch)
                    more: dict[str, Any] = {"getMore": bson.Int64(number), "collection": collection}
                    if documents:
                        more["batchSize"] = max(1, BATCH * documents // size)
                    reply = self.command(database, more, raw=True, within=session)["cursor"]
                    number, batch = reply["id"], reply["nextBatch"]
            except GeneratorExit:
                if number:
                    self._forget(database, collection, number, session)
                raise

    def insert(self, database: str, collection: str, documents: Sequence[RawBSONDocument]) -> None:
        """Insert documents as they are, past the collection's validator where the server lets us."""
        self.statement()
        target = self._client.get_database(database).get_collection(collection, codec_options=RAW)
        target.with_options(write_concern=WriteConcern(w=1)).insert_many(
            documents,
            ordered=False,
            bypass_document_validation=True if self.server.features.bypass_validation else None,
        )

    def hello(self) -> dict[str, Any]:
        """What the server says about itself."""
        return self.command("admin", {"hello": 1})

    def now(self) -> dt.datetime:
        """The server's clock, in UTC."""
        now: dt.datetime = self.hello()["localTime"]
        return now

    def drop(self, database: str, collection: str) -> None:
        """Drop a collection or view; nothing where there is none."""
        try:
            self.write(database, {"drop": collection})
        except OperationFailure as error:
            if error.code != NO_SUCH:
                raise

    def drop_database(self, database: str) -> None:
        """Drop a database; nothing where there is none."""
        self.write(database, {"dropDatabase": 1})

    def collections(self, database: str) -> list[dict[str, Any]]:
        """All that listCollections says of a database, in the order of names."""
        found: list[dict[str, Any]] = [
            bson.decode(each.raw, CodecOptions(tz_aware=True))
            for batch in self.cursor(database, {"listCollections": 1, "cursor": {}})
            for each in batch
        ]
        return sorted(found, key=lambda each: str(each["name"]))

    def names(self, database: str) -> set[str]:
        """The names of all collections of a database; an empty set where it is not there."""
        return {str(each["name"]) for each in self.collections(database)}

    def find_one(self, database: str, collection: str, key: str) -> dict[str, Any] | None:
        """The document with this `_id`."""
        command = {"find": collection, "filter": {"_id": key}, "limit": 1, "singleBatch": True}
        batch = self.command(database, command)["cursor"]["firstBatch"]
        return dict(batch[0]) if batch else None

    def put(self, database: str, collection: str, document: Mapping[str, Any]) -> None:
        """Write a document in the place of the one with its `_id`."""
        update = {"q": {"_id": document["_id"]}, "u": dict(document), "upsert": True}
        self.write(database, {"update": collection, "updates": [update]})

    def remove(self, database: str, collection: str, key: str) -> None:
        """Remove the document with this `_id`."""
        self.write(database, {"delete": collection, "deletes": [{"q": {"_id": key}, "limit": 1}]})

    def count(self, database: str, collection: str) -> int:
        """How many documents a collection has; 0 where it is not there."""
        return int(self.command(database, {"count": collection})["n"])

    def _forget(self, database: str, collection: str, cursor: int, session: ClientSession) -> None:
        try:
            command = {"killCursors": collection, "cursors": [bson.Int64(cursor)]}
            self.command(database, command, within=session)
        except (PyMongoError, EnvSyncError):
            # It lapses by itself.
            return

    def _interruptible(self, run: Callable[[ClientSession], T], session: ClientSession) -> T:
        """Wait for a command, but no longer than until the step is cancelled; then have the server end it."""
        if self._uninterrupted:
            return run(session)
        outcome: list[T] = []
        problem: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                outcome.append(run(session))
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
                problem.append(error)
            finally:
                done.set()

        thread = threading.Thread(target=work, name="env_sync command", daemon=True)
        thread.start()
        while not done.wait(POLL):
            if self.server.cancellation.cancelled:
                self._end(session)
                raise Cancelled
        if problem:
            raise problem[0]
        return outcome[0]

    def _end(self, session: ClientSession) -> None:
        if not self.server.features.kill_sessions:
            return
        try:
            self._client.admin.command("killSessions", [session.session_id])
        except PyMongoError:
            # It ends by itself, at the latest when what it works on is dropped.
            return
