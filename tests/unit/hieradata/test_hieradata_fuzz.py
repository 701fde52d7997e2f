"""Whatever stands in the files, reading them ends and raises nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from env_sync.domain.environment import Environment
from env_sync.domain.problem import Problem
from env_sync.domain.sync import AnySync
from tests.unit.hieradata.conftest import Hieradata

SEEDS = range(8)
ROUNDS = 60

PIECES = (
    "govuk_env_sync::tasks:",
    "govuk_env_sync::s3_sync_tasks:",
    "govuk_env_sync::protected:",
    "govuk_env_sync::window: 22:00-08:00",
    "govuk_env_sync::timeouts: {dump: 1h}",
    "<<: *a",
    "<<: [*a, *b]",
    "&a",
    "*a",
    "&b",
    "*b",
    "- ",
    "? ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "|",
    ">",
    "'",
    '"',
    "#",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    "---",
    "...",
    "!!binary x",
    "!x",
    "%YAML 1.1",
    "~",
    "null",
    "yes",
    "1:30",
    "08",
    "0x1f",
    "1e400",
    ".inf",
    "\u2028",
    "\x85",
    "\x00",
    "\ud7ff",
    "é",
    "😀",
    "ensure: absent",
    "hour: 25",
    'minute: "*"',
    "after: one",
    "one:",
    "two:",
    "action: pull",
    "excluded_tables: [a, {b: c}]",
    "retries: 99999999999999999999",
    "url:",
    "database: ''",
    "queues: {a: {b: c}}",
)

BASE = """\
govuk_env_sync::window: "22:00-08:00"
govuk_env_sync::timeouts: {restore: 2h}
govuk_env_sync::tasks:
  one: &a
    ensure: "present"
    hour: "1"
    minute: "30"
    action: "pull"
    dbms: "postgresql"
    storagebackend: "s3"
    database: "one"
    database_hostname: "one-postgres"
    url: "govuk-staging-database-backups"
    path: "one-postgres"
    transformation_sql_filename: sanitise.sql
  two: &b
    <<: *a
    database: "two"
    after: [one]
  three:
    <<: *b
    hour: [2, 3]
    after: two
govuk_env_sync::s3_sync_tasks:
  mirror:
    hour: "0"
    minute: "45"
    source_bucket: govuk-staging-assets
    destination_bucket: govuk-integration-assets
    delete: true
other::key:
  'a':
"""


def mutated(text: bytes, chance: random.Random) -> bytes:
    data = bytearray(text)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
        start = chance.randrange(len(data) + 1)
        length = chance.choice((0, 0, 1, 2, 5, 20, 100))
        match chance.randrange(6):
            case 0:
                data[start : start + length] = b""
            case 1:
                data[start:start] = chance.choice(PIECES).encode("utf-8", "surrogatepass")
            case 2:
                data[start : start + 1] = bytes((chance.randrange(256),))
            case 3:
                other = chance.randrange(len(data) + 1)
                data[start:start] = data[other : other + length]
            case 4:
                lines = bytes(data).split(b"\n")
                chance.shuffle(lines)
                data = bytearray(b"\n".join(lines)) if chance.random() < 0.1 else data
            case _:
                lines = bytes(data).split(b"\n")
                lines.insert(chance.randrange(len(lines)), chance.choice(lines))
                data = bytearray(b"\n".join(lines))
    return bytes(data)


def check(environment: Environment) -> None:
    syncs: tuple[AnySync, ...] = (*environment.syncs, *environment.bucket_syncs)
    names = [sync.name for sync in syncs]
    assert len(names) == len(set(names))
    for problem in environment.problems:
        assert isinstance(problem, Problem)
        assert problem.place.line >= 1
        assert str(problem).isprintable()
        assert problem.read
        assert problem.right
        # Only a second entry of the same name leaves a sync of the name that it takes away.
        assert problem.sync not in names or "defined twice" in problem.read


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_hieradata(hieradata: Hieradata, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        hieradata.write("integration.yaml", mutated(BASE.encode(), chance))
        if chance.random() < 0.3:
            hieradata.write("common.yaml", mutated(BASE.encode(), chance))
        check(hieradata.read())


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_of_yaml_at_random(hieradata: Hieradata, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        text = " ".join(chance.choices(PIECES, k=chance.randrange(1, 60)))
        hieradata.write("integration.yaml", text.encode("utf-8", "surrogatepass"))
        check(hieradata.read())


@pytest.mark.parametrize("seed", SEEDS)
def test_bytes_at_random(hieradata: Hieradata, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        hieradata.write("integration.yaml", chance.randbytes(chance.randrange(200)))
        check(hieradata.read())


def test_the_base_itself_is_right(hieradata: Hieradata, tmp_path: Path) -> None:
    hieradata.write("integration.yaml", BASE)
    environment = hieradata.read()
    assert environment.problems == ()
    assert len(environment.syncs) == 3
