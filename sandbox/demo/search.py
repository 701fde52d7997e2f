"""The proof: every invented value is looked for in servers, published dumps, logs and Airflow's database.

A database of PostgreSQL is read as `pg_dump` writes it, which is every row of every table with its comments
and code, and so are its statistics, which hold the most common values of columns. Copies that are closed to
everybody, as previous is, are read through a copy of their own.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from attrs import field, frozen
from elasticsearch import helpers
from psycopg import sql

from sandbox.demo.invented import Kind, found_in
from sandbox.elasticsearch import ElasticsearchServer
from sandbox.mariadb import ADMINISTRATOR, MariaDBServer, find_program
from sandbox.mongodb import MongoDBServer
from sandbox.postgresql import PostgreSQLServer
from sandbox.process import SandboxError
from sandbox.s3 import S3Server

PG_DUMP = b"PGDMP"
GZIP = b"\x1f\x8b"
CHUNK = 4 * 2**20  # bytes that are searched at once
COPY = "env_sync_demo_search"
UNREADABLE = ("secrets.json", "passwords.json")
"""Files of the sandbox's Airflow that are neither logs nor of the product."""


@frozen(kw_only=True)
class Found:
    """The marks found in one kind of place; `places` names each part that was read, with what was in it."""

    where: str
    places: Mapping[str, frozenset[bytes]] = field(repr=False)

    @property
    def marks(self) -> frozenset[bytes]:
        """All marks, each once."""
        return frozenset().union(*self.places.values())

    def count(self, marks: Mapping[bytes, Kind]) -> Counter[Kind]:
        """How many different values of each kind."""
        return Counter(marks[mark] for mark in self.marks)


def search_stream(stream: IO[bytes] | gzip.GzipFile, marks: Mapping[bytes, Kind]) -> frozenset[bytes]:
    """The marks in a stream; no value goes across lines, so chunks end where lines do."""
    found: set[bytes] = set()
    rest = b""
    while chunk := stream.read(CHUNK):
        whole, newline, rest_of_chunk = chunk.rpartition(b"\n")
        if newline:
            found |= found_in(rest + whole, marks)
            rest = rest_of_chunk
        else:
            rest += chunk
    return frozenset(found | found_in(rest, marks))


def search_server(where: str, server: PostgreSQLServer, marks: Mapping[bytes, Kind]) -> Found:
    """Searches all databases of a server, live, previous and whatever else is there, but the templates."""
    places: dict[str, frozenset[bytes]] = {}
    allowed = server.execute(
        "SELECT datname, datallowconn FROM pg_database WHERE NOT datistemplate ORDER BY 1"
    )
    for name, open_to_somebody in allowed:
        if open_to_somebody:
            places[name] = _search_database(server, name, marks)
            continue
        server.create_database(COPY, template=name)
        try:
            places[name] = _search_database(server, COPY, marks)
        finally:
            server.drop_database(COPY)
    about = server.execute(
        "SELECT coalesce(string_agg(description, E'\\n'), '') FROM pg_shdescription "
        "UNION ALL SELECT coalesce(string_agg(setconfig::text, E'\\n'), '') FROM pg_db_role_setting"
    )
    places["comments and settings of databases"] = frozenset(
        found_in("\n".join(text for (text,) in about).encode(), marks)
    )
    return Found(where=where, places=places)


def search_bucket(where: str, s3: S3Server, bucket: str, tools: Path, marks: Mapping[bytes, Kind]) -> Found:
    """Searches every object of a bucket: archives of pg_dump, what is gzipped, and all else as it is.

    `tools` is the folder of pg_restore. SandboxError where a dump cannot be read.
    """
    client = s3.client()
    places: dict[str, frozenset[bytes]] = {}
    for key in s3.keys(bucket):
        with tempfile.NamedTemporaryFile(prefix="env-sync-demo-") as file:
            client.download_fileobj(bucket, key, file)
            file.seek(0)
            begins = file.read(len(PG_DUMP))
            file.seek(0)
            if begins == PG_DUMP:
                with _output([tools / "pg_restore", "-f", "-", file.name]) as text:
                    places[key] = search_stream(text, marks)
            elif begins.startswith(GZIP):
                with gzip.open(file) as unpacked:
                    places[key] = search_stream(unpacked, marks)
            else:
                places[key] = search_stream(file, marks)
    return Found(where=where, places=places)


def search_mariadb(where: str, server: MariaDBServer, marks: Mapping[bytes, Kind]) -> Found:
    """Searches all databases of a server, live, previous and whatever else is there."""
    address = [f"--host={server.host}", f"--port={server.port}", f"--user={ADMINISTRATOR}"]
    everything = ["--routines", "--triggers", "--events", "--single-transaction"]
    dump: list[str | Path] = [find_program("mariadb-dump"), "--no-defaults", *address, *everything]
    places = {}
    for name in sorted(server.databases()):
        with _output([*dump, name], {"MYSQL_PWD": server.password}) as text:
            places[name] = search_stream(text, marks)
    return Found(where=where, places=places)


def search_mongodb(where: str, server: MongoDBServer, marks: Mapping[bytes, Kind]) -> Found:
    """Searches every collection of every database of a server."""
    places = {}
    with server.connected() as client:
        for database in sorted(server.databases()):
            for collection in sorted(client[database].list_collection_names()):
                batches: Iterable[Any] = client[database][collection].find_raw_batches({})
                found = [found_in(batch, marks) for batch in batches]
                places[f"{database}.{collection}"] = frozenset().union(*found)
    return Found(where=where, places=places)


def search_elasticsearch(where: str, server: ElasticsearchServer, marks: Mapping[bytes, Kind]) -> Found:
    """Searches every document of every index of a cluster, whatever is hidden or has no alias."""
    places = {}
    with server.client() as client:
        for index in sorted(client.indices.get(index="*", expand_wildcards="all")):
            documents = helpers.scan(client, index=index, query={"query": {"match_all": {}}})
            found = (found_in(json.dumps(document["_source"]).encode(), marks) for document in documents)
            places[f"{server.name} {index}"] = frozenset().union(*found)
    return Found(where=where, places=places)


def together(where: str, several: Iterable[Found]) -> Found:
    """What was found in several kinds of server, as one."""
    return Found(where=where, places={name: marks for each in several for name, marks in each.places.items()})


def search_files(where: str, folders: Iterable[Path], marks: Mapping[bytes, Kind]) -> Found:
    """Searches all files of some folders, or files, as they are."""
    places: dict[str, frozenset[bytes]] = {}
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
            if path.is_file() and path.name not in UNREADABLE:
                with path.open("rb") as file:
                    places[str(path)] = search_stream(file, marks)
    return Found(where=where, places=places)


def _search_database(server: PostgreSQLServer, name: str, marks: Mapping[bytes, Kind]) -> frozenset[bytes]:
    address = ["-h", server.host, "-p", str(server.port), "-U", "postgres", "-d", name]
    secret = {"PGPASSWORD": server.password}
    with _output([server.installation.bin / "pg_dump", *address], secret) as text:
        rows = search_stream(text, marks)
    statement = sql.SQL("COPY (SELECT s::text FROM pg_statistic s) TO STDOUT")
    with contextlib.closing(server.connect(name)) as connection, connection.cursor().copy(statement) as copy:
        statistics = found_in(b"".join(bytes(part) for part in copy), marks)
    return rows | statistics


@contextlib.contextmanager
def _output(command: Iterable[str | Path], env: Mapping[str, str] | None = None) -> Iterator[IO[bytes]]:
    """A program's output while it runs; SandboxError where it did not end well."""
    words = [str(word) for word in command]
    with subprocess.Popen(
        words, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        if running.stdout is None or running.stderr is None:
            raise SandboxError(f"{words[0]} has no output")
        try:
            yield running.stdout
            errors = running.stderr.read().decode(errors="replace")
        except BaseException:
            running.kill()
            raise
    if running.returncode != 0:
        raise SandboxError(f"{words[0]} ended with {running.returncode}: {errors}")
