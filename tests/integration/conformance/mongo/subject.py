"""MongoDB for the conformance suite: two servers, with the users of an application and of the sync."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from env_sync.engines.mongo.names import LIVE_STAMP, STAGED, STAMP
from sandbox.documentdb import DocumentDBProxy
from sandbox.mongodb import SYNC_USER, MongoDBServer
from tests.integration.conformance.drivers.mongo import PyMongo
from tests.integration.conformance.mongo.rich import (
    PLAIN_TRANSFORMATION,
    TRANSFORMATION,
    add_rich,
    change_rich,
    fill_rich,
    fill_small,
)
from tests.integration.conformance.subject import (
    PRIVATE,
    SOURCE,
    TARGET,
    BadDump,
    BadTransformation,
    Reading,
    Subject,
)

SECRET = "a password of the conformance suite"  # of users on servers of this suite alone
OWNER, READER, STRANGER, POWERLESS = "conf_owner", "conf reader", "conf_stranger", "conf_powerless"
SYNC_ROLES = ("readWriteAnyDatabase", "dbAdminAnyDatabase", "env_sync_looks")
KEPT_OPTIONS = ("viewOn", "pipeline", "timeseries")
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class NothingThereError(Exception):
    """The collection that an application reads is not there."""


class MongoDBSubject(Subject):
    """SecantusDB above and below; the sync's user is no administrator."""

    dbms = "mongo"
    refusals = (PyMongoError, NothingThereError)
    driver = PyMongo()
    keeps_previous = False
    statements_of_people = (
        "- {update: people, updates: [{q: {}, u: {$set: {seen: 1}}, multi: true}]}",
        "- {delete: people, deletes: [{q: {_id: -1}, limit: 0}]}",
    )
    # Each takes this server some forty milliseconds from the push to the end of the pull.
    many = 500
    # A role names the database by its name, and is there before it.
    closed_at_first = False

    def __init__(self, name: str, source: MongoDBServer, target: MongoDBServer) -> None:
        self.name = name
        self.servers = {SOURCE: source, TARGET: target}
        for server in self.servers.values():
            make_users(server)

    # Servers

    def connection(self, environment: str) -> dict[str, object]:
        return self._connection(environment, SYNC_USER)

    def connection_without_rights(self, environment: str, database: str) -> dict[str, object]:
        return self._connection(environment, POWERLESS)

    def _connection(self, environment: str, user: str) -> dict[str, object]:
        # Direct, so that a proxy before the server is not passed by.
        return self.servers[environment].airflow_connection(
            user, SECRET, direct_connection=True, server_selection_timeout=2
        )

    def stop(self, environment: str) -> None:
        self.servers[environment].kill()

    def start(self, environment: str) -> None:
        if not self.servers[environment].running:
            self.servers[environment].start()

    # Databases

    def fill(self, environment: str, database: str, generation: str, rows: int, *, private: bool) -> None:
        self._let_in(environment, database)
        with self.servers[environment].connected() as client:
            fill_small(client[database], generation, rows, private=private)

    def fill_rich(self, environment: str, database: str) -> None:
        self._let_in(environment, database)
        with self.servers[environment].connected() as client:
            fill_rich(client[database])
            if environment == SOURCE:
                client[database].command("profile", 2)
                client[database].people.find_one({"email": f"1@{PRIVATE}.example"})
                client[database].command("profile", 0)

    def change_rich(self, environment: str, database: str) -> None:
        with self.servers[environment].connected() as client:
            change_rich(client[database])

    def add_rich(self, environment: str, database: str) -> None:
        with self.servers[environment].connected() as client:
            add_rich(client[database])

    def fill_empty(self, environment: str, database: str) -> None:
        # A database without a collection is none.
        self._let_in(environment, database)
        with self.servers[environment].connected() as client:
            client[database].command("create", "empty")

    def fill_tables(self, environment: str, database: str, count: int) -> None:
        self._let_in(environment, database)
        with self.servers[environment].connected() as client:
            for number in range(count):
                client[database][f"collection_{number}"].insert_one({"_id": number, "note": "note"})

    def drop(self, environment: str, database: str) -> None:
        for name in (database, f"{database}__incoming"):
            self.servers[environment].drop_database(name)

    def picture(self, environment: str, database: str) -> Mapping[str, str]:
        return dict(self._picture(environment, database))

    def never_comes_down(self, environment: str, database: str) -> list[str]:
        with self.servers[environment].connected() as client:
            names = [each["name"] for each in client[database].list_collections()]
        return [name for name in names if name == "system.profile"]

    def whole_text(self, environment: str, database: str) -> bytes:
        with self.servers[environment].connected() as client:
            found = [repr(list(client[database].list_collections())).encode()]
            for each in client[database].list_collections():
                if each["type"] != "view":
                    batches = client[database][each["name"]].find_raw_batches()
                    # PyMongo's types say that a raw batch is a document; it is bytes.
                    found += [bytes(batch) for batch in batches]  # type: ignore[arg-type]
        return b"".join(found)

    def transformation(self) -> str:
        return TRANSFORMATION

    def bad_transformations(self) -> Mapping[str, BadTransformation]:
        good = "- {update: people, updates: [{q: {}, u: {$set: {x: 1}}, multi: true}]}\n"
        wrong = "- {update: people, updates: [{q: {}, u: {$nonsense: {x: 1}}, multi: true}]}\n"
        same = "- {update: people, updates: [{q: {}, u: {$set: {email: x}}, multi: true}]}\n"
        failing = (
            "- {update: people, updates: [{q: {_id: {$gt: 7}}, "
            "u: [{$set: {x: {$divide: [1, {$subtract: [$_id, 9]}]}}}], multi: true}]}\n"
        )
        elsewhere = "- {aggregate: people, pipeline: [{$merge: {into: {db: elsewhere, coll: people}}}]}\n"
        return {
            "first": BadTransformation(text=wrong + good + good, says="line 1 .*failed: "),
            "middle": BadTransformation(text=good + wrong + good, says="line 2 .*failed: "),
            "last": BadTransformation(text=good + good + wrong, says="line 3 .*failed: "),
            "unique": BadTransformation(text=good + same, says="line 2 .*DuplicateKey"),
            "row": BadTransformation(text=good + failing, says="line 2 .*failed: "),
            "not closed": BadTransformation(text=good + "- {update: [", says="line 2: it is no YAML"),
            "commit": BadTransformation(text=good + "- {commitTransaction: 1}\n", says="line 2: a command"),
            "vacuum": BadTransformation(text=good + "- {compact: people}\n", says="line 2: a command"),
            "copy": BadTransformation(text=good + elsewhere, says="line 2: .*of this database"),
            "missing table": BadTransformation(
                text="- {delete: pepole, deletes: [{q: {}, limit: 0}]}", says="line 1 .*pepole"
            ),
        }

    def bad_dumps(self, good: bytes, other: bytes) -> Mapping[str, BadDump]:
        size = len(good)
        bad = {
            f"cut at {where}": BadDump(content=good[:at], says="damaged or not whole|not a dump of MongoDB")
            for where, at in {
                "1 byte": 1,
                "the magic": 5,
                "the header": 12,
                "its contents": 300,
                **{f"{tenth}0 %": size * tenth // 10 for tenth in (1, 5, 9)},
                "the last byte": size - 1,
            }.items()
        }
        bad |= {
            f"flipped at {percent} %": BadDump(content=_flipped(good, size * percent // 100), says="damaged")
            for percent in (30, 60, 90)
        }
        archive = gzip.decompress(good)
        # Within documents, behind all definitions: neither length nor gzip tells.
        place = archive.rindex(b"@" + PRIVATE.encode())
        length = archive.rindex(b"generation") - 12
        bad |= {
            "flipped and gzipped again": BadDump(
                content=gzip.compress(_flipped(archive, place)), says="the checksum of collection people"
            ),
            "cut and gzipped again": BadDump(
                content=gzip.compress(archive[: len(archive) // 2]), says="damaged"
            ),
            "an absurd length": BadDump(
                content=gzip.compress(_with(archive, length, struct.pack("<i", 2**31 - 1))), says="damaged"
            ),
            "a negative length": BadDump(
                content=gzip.compress(_with(archive, length, struct.pack("<i", -1))), says="damaged"
            ),
        }
        deep = b"\x05\0\0\0\0"
        for _ in range(100_000):
            deep = struct.pack("<i", len(deep) + 8) + b"\x03a\0" + deep + b"\0"
        name = archive.partition(b"\x02db\0")[2][4:].partition(b"\0")[0].decode()
        statements = b"-- MySQL dump 10.13  Distrib 8.0.36\nCREATE TABLE t (id int);\n-- Dump completed\n"
        bad |= {
            "nested without end": BadDump(
                content=_folder(name, {"people.bson": deep}), says="nested too deeply"
            ),
            "a folder of another database": BadDump(
                content=_folder("another", {"people.bson": b""}), says="another database"
            ),
            "a folder of two": BadDump(
                content=_folder(name, {"people.bson": b"", "../other/people.bson": b""}), says="databases"
            ),
            "a folder with half a document": BadDump(
                content=_folder(name, {"people.bson": bson.encode({"a": "b" * 50})[:40]}), says="ends within"
            ),
            "a folder without documents": BadDump(
                content=_folder(name, {"people.metadata.json": b'{"options":{},"indexes":[]}'}),
                says="not whole",
            ),
            "empty": BadDump(content=b"", says="is empty"),
            "of another engine": BadDump(content=gzip.compress(statements), says="a dump of MySQL, gzipped"),
            "of PostgreSQL": BadDump(content=b"PGDMP" + bytes(100), says="an archive of pg_dump"),
            "gzip of nothing": BadDump(content=gzip.compress(b""), says="not a dump of MongoDB"),
            "a bomb": BadDump(content=gzip.compress(bytes(300_000_000), 1), says="not a dump of MongoDB"),
            "noise": BadDump(content=bytes(range(256)) * 40, says="not a dump of MongoDB"),
            "of another database": BadDump(content=other, says="another database"),
        }
        return bad

    # Watching

    def read(self, environment: str, database: str) -> Reading:
        return self.reader(environment, database)()

    def reader(self, environment: str, database: str) -> Callable[[], Reading]:
        def read() -> Reading:
            with self.servers[environment].connected(OWNER, SECRET) as client:
                found = list(client[database].people.find({}, {"generation": 1, "email": 1}))
            if not found:
                raise NothingThereError
            generations = sorted({str(each.get("generation")) for each in found})
            private = sum(PRIVATE in str(each.get("email")) for each in found)
            return Reading("+".join(generations), len(found), private)

        return read

    def write(self, environment: str, database: str) -> None:
        with self.servers[environment].connected(OWNER, SECRET) as client:
            client[database].notes.insert_one({"note": "written"})

    def intruders(self, environment: str, database: str) -> Mapping[str, Callable[[], None]]:
        def into_incoming(user: str) -> Callable[[], None]:
            def attempt() -> None:
                with self.servers[environment].connected(user, SECRET) as client:
                    client[f"{database}__incoming"].people.find_one()

            return attempt

        def into_staged() -> None:
            """What is staged in live's own database can be read, but is sanitised by then."""
            with self.servers[environment].connected(OWNER, SECRET) as client:
                names = client[database].list_collection_names(filter={"name": {"$regex": f"^{STAGED}"}})
                for name in names:
                    if PRIVATE in str(list(client[database][name].find().limit(20))):
                        return
            raise NothingThereError

        return {
            **{f"{user} into incoming": into_incoming(user) for user in (OWNER, READER, STRANGER)},
            "the owner into what is staged": into_staged,
        }

    def copies(self, environment: str, database: str) -> set[str]:
        with self.servers[environment].connected() as client:
            names = client[database].list_collection_names()
            raw = client[f"{database}__incoming"].list_collection_names()
        found = {"live"} if any(not name.startswith(("env_sync.", "system.")) for name in names) else set()
        if raw or any(name.startswith(STAGED) for name in names):
            found.add("incoming")
        return found

    def is_open(self, environment: str, database: str) -> bool:
        return True

    def sessions(self, environment: str, database: str) -> list[str]:
        with self.servers[environment].connected() as client:
            running = list(client.admin.aggregate([{"$currentOp": {"allUsers": True}}]))
        return [str(each.get("command")) for each in running if "env_sync" in str(each.get("appName"))]

    def forge_proof(self, environment: str, database: str) -> None:
        with self.servers[environment].connected() as client:
            done = client[f"{database}__incoming"][STAMP].update_one(
                {"said.state": "raw"}, {"$set": {"said.state": "sanitised", "said.holder.attempt": "another"}}
            )
        assert done.modified_count == 1

    def break_stamp(self, environment: str, database: str) -> None:
        with self.servers[environment].connected() as client:
            done = client[database][LIVE_STAMP].update_one({}, {"$unset": {"said.stamp.state": ""}})
        assert done.modified_count == 1

    def forget_leases(self, environment: str) -> None:
        self.servers[environment].drop_database("env_sync")

    # Parts

    def _let_in(self, environment: str, database: str) -> None:
        server = self.servers[environment]
        server.grant(OWNER, [{"role": "readWrite", "db": database}])
        server.grant(READER, [{"role": "read", "db": database}])

    def _picture(self, environment: str, database: str) -> Iterator[tuple[str, str]]:
        with self.servers[environment].connected() as client:
            for each in client[database].list_collections():
                name = each["name"]
                if name.startswith(("env_sync.", "system.")):
                    continue
                # A rename loses the other options on this server alone, what is clustered among them:
                # tests/integration/mongo looks at them before it.
                kept = {key: each["options"][key] for key in KEPT_OPTIONS if key in each["options"]}
                yield f"definition of {name}", repr((each["type"], kept))
                if each["type"] == "view":
                    continue
                collection: Any = client[database].get_collection(name, codec_options=RAW)
                rows = sorted(bytes(each.raw) for each in collection.find())
                yield f"rows of {name}", f"{len(rows)} {hashlib.sha256(b''.join(rows)).hexdigest()}"
                for index in client[database][name].list_indexes():
                    lost = ("clustered", "unique") if index["name"] == "_id_" else ()
                    told = sorted((item for item in index.items() if item[0] not in lost), key=str)
                    yield f"index {index['name']} of {name}", repr(told)


class DocumentDBSubject(MongoDBSubject):
    """The same servers, each behind a proxy that refuses what DocumentDB lacks."""

    dbms = "documentdb"
    # The validator that `add_rich` gives a collection is left out, with a warning.
    same_words = False
    many = 100

    def __init__(
        self, name: str, source: MongoDBServer, target: MongoDBServer, proxies: Mapping[str, DocumentDBProxy]
    ) -> None:
        super().__init__(name, source, target)
        self.proxies = proxies

    def _connection(self, environment: str, user: str) -> dict[str, object]:
        proxy = self.proxies[environment]
        connection = super()._connection(environment, user)
        extra = connection["extra"]
        assert isinstance(extra, dict)
        return {**connection, "port": proxy.port, "extra": {**extra, "tls_ca_file": str(proxy.certificate)}}

    def fill(self, environment: str, database: str, generation: str, rows: int, *, private: bool) -> None:
        self._let_in(environment, database)
        with self.servers[environment].connected() as client:
            fill_small(client[database], generation, rows, private=private, unique=False)

    def fill_rich(self, environment: str, database: str) -> None:
        super().fill_rich(environment, database)
        with self.servers[environment].connected() as client:
            client[database].people.drop_index("email_1")
            self._as_documentdb(client[database])

    def add_rich(self, environment: str, database: str) -> None:
        super().add_rich(environment, database)
        with self.servers[environment].connected() as client:
            client[database].drop_collection("added view")

    def transformation(self) -> str:
        return PLAIN_TRANSFORMATION

    def _as_documentdb(self, database: Any) -> None:
        """Without what it could not have."""
        for name in (
            "open cases",
            "view of a view",
            *("capped", "validated", "french", "clustered", "measured"),
        ):
            database.drop_collection(name)
        for name in ("plane", "hidden", "wildcard", "collated"):
            database.indexed.drop_index(name)


def make_users(server: MongoDBServer) -> None:
    """The users of an application, of strangers and of the sync, where they are not there yet."""
    if SYNC_USER in server.users():
        return
    for user in (OWNER, READER, STRANGER, POWERLESS):
        server.create_user(user, SECRET)
    server.create_looking_role("env_sync_looks")
    server.create_user(SYNC_USER, SECRET, [{"role": role, "db": "admin"} for role in SYNC_ROLES])


def _flipped(content: bytes, at: int) -> bytes:
    return _with(content, at, bytes([content[at] ^ 0x10]))


def _with(content: bytes, at: int, part: bytes) -> bytes:
    return content[:at] + part + content[at + len(part) :]


def _folder(database: str, files: Mapping[str, bytes]) -> bytes:
    """A tar.gz as the shell script wrote it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{database}/{name}")
            if name.startswith("../"):
                info.name = name.removeprefix("../")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()
