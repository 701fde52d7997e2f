"""Names and values that an attacker would choose, and where an engine keeps them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from functools import singledispatch

import pytest
from psycopg import sql

from tests.integration.conformance.elasticsearch.rich import ONE_SHARD, write
from tests.integration.conformance.elasticsearch.subject import ElasticsearchSubject
from tests.integration.conformance.files.subject import FilesSubject
from tests.integration.conformance.mongo.subject import MongoDBSubject
from tests.integration.conformance.mysql.subject import MySQLSubject
from tests.integration.conformance.postgresql.subject import OWNER, PostgreSQLSubject
from tests.integration.conformance.subject import Subject

NAMES = (
    "'; DROP TABLE people; --",
    'say "hi"',
    "tick`ed",
    "100%s %(password)s {0}",
    "back\\slash",
    "-rf *",
    "--host=elsewhere",
    "host=elsewhere dbname=x",
    "postgresql:elsewhere",
    "$(id) `id` ;id",
    "new\nline",
    "../up",
    "Ünï日本",
    "x" * 60,
)

EVERY = frozenset({"postgresql", "mysql", "mongo", "elasticsearch", "files"})
"""The engines of which it is known which names they take."""
DATABASES: Mapping[str, frozenset[str]] = {
    'conf_"a"`b`\'; DROP DATABASE c; -- 100%s {0}': EVERY - {"mongo", "elasticsearch"},
    "conf_a'b;c--d": EVERY,
    "conf_%": EVERY,
    "conf_new\nline": frozenset(),
    "../conf_up": frozenset(),
    "conf_" + "x" * 48: EVERY,
    "conf_" + "x" * 300: frozenset(),
}
"""Names of databases, each with the engines on which it works; on all others it is refused."""


def values(witness: str, *, with_zero: bool) -> list[str]:
    """Texts of rows; those that are commands would make the file `witness`."""
    return [
        "'; DROP TABLE people; --",
        '"; DROP DATABASE live; --',
        "\\'; DELETE FROM people; #",
        "`; DELETE FROM people; `",
        "$$; DROP TABLE people; $$",
        "*/ DROP TABLE people; /*",
        "/*!99999 DROP TABLE people */;",
        f"\\! touch {witness}",
        f"\n\\! touch {witness}\n",
        f"SYSTEM touch {witness}",
        f"COPY people TO PROGRAM 'touch {witness}';",
        f"$(touch {witness}) `touch {witness}`; touch {witness}",
        "\\connect postgres\n\\q\n",
        "\\.\n",
        "\\N",
        "\n\\.\n\nDELETE FROM people;\n",
        "DELIMITER ;;\nDELETE FROM people;;\nDELIMITER ;",
        "-- Dump completed on 2026-11-23  1:02:03",
        "USE mysql;\nCREATE DATABASE elsewhere;",
        "PGDMP",
        "%s %(password)s {0} ${jndi:x}",
        "\r\n\t\v\f\x1a\x1b[2J\x7f",
        "0x41 NULL null true NaN",
        "日本 🗄 \u202e \ufeff",
        "x" * 100_000,
        "",
        *(["\0", "a\0'; DROP TABLE people; --"] if with_zero else []),
    ]


@singledispatch
def put(subject: Subject, environment: str, database: str, name: str, texts: Sequence[str]) -> bool:
    """Make a table, or what there is in its place, of this name, with these texts in rows.

    False, with nothing done, where the server takes no such name.
    """
    pytest.skip(f"nobody has written yet how {subject.name} keeps them")


@singledispatch
def taken(subject: Subject, environment: str, database: str, name: str) -> list[str]:
    """The texts in a table, in their order."""
    raise NotImplementedError


@put.register
def _(subject: PostgreSQLSubject, environment: str, database: str, name: str, texts: Sequence[str]) -> bool:
    table = sql.Identifier(name)
    with contextlib.closing(subject.servers[environment].connect(database)) as connection:
        connection.execute(f"SET ROLE {OWNER}")
        # Without parameters, so that no percent sign means anything.
        connection.execute(sql.SQL("CREATE TABLE {} (id int, {} text)").format(table, table))
        for number, text in enumerate(texts):
            insert = sql.SQL("INSERT INTO {} VALUES ({}, {})")
            connection.execute(insert.format(table, sql.Literal(number), sql.Literal(text)))
    return True


@taken.register
def _(subject: PostgreSQLSubject, environment: str, database: str, name: str) -> list[str]:
    table = sql.Identifier(name)
    select = sql.SQL("SELECT {} FROM {} ORDER BY id").format(table, table)
    return [text for (text,) in subject.servers[environment].execute(select, None, database)]


def _in_backticks(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@put.register
def _(subject: MySQLSubject, environment: str, database: str, name: str, texts: Sequence[str]) -> bool:
    table = _in_backticks(name)
    server = subject.servers[environment]
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id int, {table} longtext) CHARACTER SET utf8mb4")
        for number, text in enumerate(texts):
            cursor.execute(f"INSERT INTO {table} VALUES ({number}, {connection.literal(text)})")
    return True


@taken.register
def _(subject: MySQLSubject, environment: str, database: str, name: str) -> list[str]:
    table = _in_backticks(name)
    select = f"SELECT {table} FROM {table} ORDER BY id"
    return [text for (text,) in subject.servers[environment].execute(select, None, database)]


@put.register
def _(subject: MongoDBSubject, environment: str, database: str, name: str, texts: Sequence[str]) -> bool:
    if "$" in name or ".." in name:
        return False
    with subject.servers[environment].connected() as client:
        client[database][name].insert_many({"_id": number, "text": text} for number, text in enumerate(texts))
    return True


@taken.register
def _(subject: MongoDBSubject, environment: str, database: str, name: str) -> list[str]:
    with subject.servers[environment].connected() as client:
        return [str(each["text"]) for each in client[database][name].find().sort("_id")]


@put.register
def _(subject: FilesSubject, environment: str, database: str, name: str, texts: Sequence[str]) -> bool:
    if "/" in name:
        return False
    folder = subject.roots[environment] / database / name
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number}").write_bytes(text.encode())
    return True


@taken.register
def _(subject: FilesSubject, environment: str, database: str, name: str) -> list[str]:
    folder = subject.roots[environment] / database / name
    return [(folder / f"{number}").read_bytes().decode() for number in range(len(list(folder.iterdir())))]


def _index(database: str, name: str) -> str:
    """An index may be called like few names; its fields, documents and routing may be called like most."""
    if set(name) & {*' "*\\<|,>/?#:\n'} or name != name.lower():
        name = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{database}-{name}"


@put.register
def _(
    subject: ElasticsearchSubject, environment: str, database: str, name: str, texts: Sequence[str]
) -> bool:
    if ".." in name:
        return False
    mappings = {"properties": {name: {"type": "keyword", "index": False, "doc_values": False}}}
    index = _index(database, name)
    with subject.servers[environment].client() as client:
        client.indices.create(index=index, settings=ONE_SHARD, mappings=mappings)
        write(
            client,
            index,
            {f"{name} {number}": {name: text} for number, text in enumerate(texts)},
            routing=name,
        )
    return True


@taken.register
def _(subject: ElasticsearchSubject, environment: str, database: str, name: str) -> list[str]:
    with subject.servers[environment].client() as client:
        found = client.search(index=_index(database, name), size=10_000, routing=name)["hits"]["hits"]
    by_number = {int(hit["_id"].removeprefix(f"{name} ")): hit["_source"][name] for hit in found}
    return [by_number[number] for number in range(len(by_number))]
