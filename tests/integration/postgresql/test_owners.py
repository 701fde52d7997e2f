"""Nothing in live belongs to the sync's own role: a function of a dump would run with its rights."""

from __future__ import annotations

import contextlib

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, PromoteFailed
from env_sync.domain.finding import Level
from env_sync.engines.postgresql.access import objects as privileges
from tests.integration.postgresql.stage import (
    OWNER,
    SECRET,
    SOURCE,
    STRANGER,
    VERSIONS,
    Stage,
    pull,
    said,
    working,
)

PROBE = pytest.mark.probe("a dump that names whose rights its code has")
OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage", [(name, False) for name in VERSIONS], indirect=True, ids=VERSIONS
)
DEFINER = """
CREATE FUNCTION public.who() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
CREATE SCHEMA inner_part;
CREATE TYPE inner_part.pair AS (a int, b int);
CREATE VIEW inner_part.everything AS SELECT 1 AS one;
CREATE COLLATION inner_part.c FROM "C";
SELECT lo_create(n) FROM generate_series(20001, 20050) n;
"""
OURS = """
SELECT pg_describe_object(classid, objid, 0) FROM pg_shdepend
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
AND refobjid = 'env_sync'::regrole AND deptype = 'o'
"""


def nothing_is_ours(stage: Stage) -> None:
    assert stage.query(OURS) == []
    assert stage.query("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'app'") == [(OWNER,)]
    stage.server.execute(f"GRANT CONNECT ON DATABASE app TO {STRANGER}")
    with contextlib.closing(stage.server.connect("app", STRANGER, SECRET)) as theirs:
        assert theirs.execute("SELECT public.who()").fetchall() == [(OWNER,)]


def is_refused(stage: Stage, says: str) -> None:
    """Before the lease, before the restore, and by `check --connect`; nothing is made."""
    before = stage.server.databases()
    with pytest.raises(AccessRefused, match=says):
        stage.engine().check_startable(undo=False)
    assert stage.dump
    with working(stage.engine()) as engine, pytest.raises(AccessRefused, match=says):
        engine.restore(stage.dump)
    assert any(
        one.level is Level.PROBLEM and "functions run with their owner's rights" in one.what
        for one in stage.engine().preflight([], None).findings
    )
    assert stage.server.databases() == before | {"env_sync"}


@PROBE
@pytest.mark.parametrize("owner", [None, "", "env_sync", STRANGER, "nobody"])
def test_a_first_pull_without_an_owner_is_refused(stage: Stage, owner: str | None) -> None:
    stage = evolve(stage.with_dump(SOURCE + DEFINER), extra={"owner": owner} if owner is not None else {})
    what = f"new databases belong to {owner}, but .* no such other role" if owner else "name it as `owner` in"
    is_refused(stage, f"There is no database app yet on .* must not be.*{what}")


@PROBE
@OF_EACH_VERSION
def test_a_first_pull_leaves_nothing_to_the_sync(any_stage: Stage) -> None:
    stage = any_stage.with_dump(SOURCE + DEFINER)
    pull(stage, stage.engine(), stage.transformation())
    nothing_is_ours(stage)
    pull(stage, stage.engine(attempt="2"), stage.transformation())
    nothing_is_ours(stage)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that fifty large objects are more than are looked at one by one."""
    monkeypatch.setattr(privileges, "MOST_LARGE_OBJECTS", 20)
    monkeypatch.setattr(privileges, "BATCH", 7)


@PROBE
def test_nor_do_many_large_objects_belong_to_it(stage: Stage, few: None) -> None:
    stage = stage.with_dump(SOURCE + DEFINER)
    promotion = pull(stage, stage.engine(), stage.transformation())
    assert any("all of them now belong to app_owner" in warning for warning in promotion.warnings)
    assert stage.query("SELECT count(*) FROM pg_largeobject_metadata") == [(50,)]
    nothing_is_ours(stage)


@PROBE
def test_what_an_earlier_version_left_with_it_is_given_away(stage: Stage) -> None:
    stage = stage.with_dump(SOURCE + DEFINER)
    stage.server.create_database("app", "env_sync")
    with contextlib.closing(stage.server.connect("app", "env_sync", SECRET)) as ours:
        ours.execute((SOURCE + DEFINER).encode())
    is_refused(evolve(stage, extra={}), "Database app is env_sync's own on .* must not be")
    pull(stage, stage.engine(attempt="2"), stage.transformation())
    nothing_is_ours(stage)


@PROBE
def test_what_would_still_be_ours_stops_the_swap(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage.with_dump(SOURCE + DEFINER)
    monkeypatch.setattr(privileges._Plan, "batches", lambda _: iter(()))
    assert stage.dump
    file = stage.transformation()
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        engine.sanitise([file])
        with pytest.raises(PromoteFailed, match=r"In live these would belong to env_sync: .* and \d+ more"):
            engine.promote(said(file), lambda: None)
    assert "app" not in stage.server.databases()
