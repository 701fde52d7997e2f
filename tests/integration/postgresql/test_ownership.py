"""Databases under the names of copies that we did not make: nothing of them is dropped, run or believed."""

from __future__ import annotations

import contextlib

import pytest
from attrs import evolve
from psycopg import sql

from env_sync.core.errors import NameRefused, ProofMissing, RestoreFailed
from env_sync.domain.finding import Level
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import CopyState, Stamp
from env_sync.engines.postgresql.engine import PostgreSQLEngine
from env_sync.engines.postgresql.metadata import Comment, WasLive
from tests.integration.postgresql.stage import DATA_TIME, OWNER, SECRET, Stage, pull, say_it_was_live, working

COPY = pytest.mark.probe("a copy that somebody else made")
PREVIOUS = pytest.mark.probe("a previous that somebody else made")
DEV = "dev"
RAN = """
CREATE TABLE public.ran (who text);
CREATE TABLE public.people (id int);
INSERT INTO public.people VALUES (1);
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
CREATE FUNCTION public.run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.ran VALUES (current_user); RETURN NEW; END $$;
CREATE TRIGGER t BEFORE UPDATE ON public.people FOR EACH ROW EXECUTE FUNCTION public.run();
"""


@pytest.fixture
def developed(stage: Stage) -> Stage:
    """A live database, and a developer who may make databases, as whom our role may act."""
    stage = stage.with_dump()
    stage.server.create_database("app", OWNER)
    stage.server.create_role(DEV, SECRET, create_database=True)
    stage.server.grant(DEV, "env_sync")
    return stage


def make_as(stage: Stage, role: str, name: str, text: str = "") -> None:
    with contextlib.closing(stage.server.connect("postgres", role, SECRET)) as theirs:
        theirs.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    if text:
        with contextlib.closing(stage.server.connect(name, role, SECRET)) as inside:
            inside.execute(text.encode())


def stamp_of(stage: Stage, state: CopyState) -> Stamp:
    """The stamp of this very run and attempt: whoever can look into Airflow knows all of it."""
    return Stamp(
        state=state,
        holder=stage.engine().work.holder,
        sync="pull_app",
        environment="integration",
        source_environment="staging",
        dump_key="key",
        dump_sha256="0" * 64,
        data_time=DATA_TIME,
        born_in="production",
        parents=(),
        transformations=(),
        changed=DATA_TIME,
    )


def engine_for(stage: Stage, copy: str) -> PostgreSQLEngine:
    """The engine of a sync that would drop this copy."""
    if copy != stage.outgoing:
        return stage.engine()
    engine = stage.engine(action=Action.PUSH)
    file = stage.transformation("UPDATE people SET id = 2")
    work = evolve(engine.work, sync=evolve(engine.work.sync, pre_dump_transformation=file))
    return PostgreSQLEngine(work)


def begin(engine: PostgreSQLEngine, stage: Stage, copy: str) -> None:
    assert stage.dump
    if copy == stage.outgoing:
        file = stage.transformation("UPDATE people SET id = 2")
        engine.dump_transformed(stage.folder / "out.dump", [file], in_place=False)
    else:
        engine.restore(stage.dump)


def is_left_alone(stage: Stage, copy: str, says: str) -> None:
    """No sync starts, none goes on where it was to be made, and clean-up lets it be."""
    [(oid,)] = stage.query(f"SELECT oid FROM pg_database WHERE datname = '{copy}'", "postgres")
    with pytest.raises(NameRefused, match=f"database {copy} on .* {says}.* Rename it, or drop it"):
        engine_for(stage, copy).check_startable(undo=False)
    with working(engine_for(stage, copy)) as engine:
        with pytest.raises(NameRefused, match=says):
            begin(engine, stage, copy)
        assert engine.clean_up().notes == ()
    engine.release_lease()
    findings = engine_for(stage, copy).preflight([stage.transformation("SELECT 1")], None).findings
    assert any(f"database {copy} on " in one.what for one in findings if one.level is Level.PROBLEM)
    assert stage.query(f"SELECT oid FROM pg_database WHERE datname = '{copy}'", "postgres") == [(oid,)]


@COPY
@pytest.mark.parametrize("copy", ["app__incoming", "app__outgoing"])
@pytest.mark.parametrize("state", [None, CopyState.RESTORING, CopyState.SANITISED])
@pytest.mark.parametrize("is_open", [True, False])
def test_one_of_another_role_is_left_alone_whatever_it_says(
    developed: Stage, copy: str, state: CopyState | None, is_open: bool
) -> None:
    make_as(developed, DEV, copy)
    if state is not None:
        developed.put_comment(copy, Comment(person="", stamp=stamp_of(developed, state)))
    if not is_open:
        developed.server.execute(f"ALTER DATABASE {copy} ALLOW_CONNECTIONS false")
    is_left_alone(developed, copy, "Env Sync did not make. It belongs to dev")


@COPY
@pytest.mark.parametrize("copy", ["app__incoming", "app__outgoing"])
def test_one_of_our_role_without_a_stamp_is_left_alone(developed: Stage, copy: str) -> None:
    """Somebody made it by hand, with our role."""
    make_as(developed, "env_sync", copy, "CREATE TABLE theirs ()")
    is_left_alone(developed, copy, "Env Sync did not make. It belongs to env_sync")


@COPY
def test_what_is_left_of_a_making_is_dropped(developed: Stage) -> None:
    make_as(developed, "env_sync", "app__incoming")
    developed.server.execute("ALTER DATABASE app__incoming ALLOW_CONNECTIONS false")
    developed.engine().check_startable(undo=False)
    pull(developed, developed.engine(), developed.transformation())
    assert "app__incoming" not in developed.server.databases()


@COPY
def test_one_of_another_role_is_neither_transformed_nor_promoted(developed: Stage) -> None:
    """Restore was marked successful by hand, and what it should have made was made by somebody else."""
    make_as(developed, DEV, "app__incoming", RAN)
    developed.server.execute("REVOKE ALL ON DATABASE app__incoming FROM PUBLIC")
    with working(developed.engine()) as engine:
        developed.put_comment("app__incoming", Comment(person="", stamp=stamp_of(developed, CopyState.RAW)))
        with pytest.raises(ProofMissing, match=r"app__incoming on .* belongs to dev"):
            engine.sanitise([developed.transformation("UPDATE people SET id = 2")])
        developed.put_comment(
            "app__incoming", Comment(person="", stamp=stamp_of(developed, CopyState.SANITISED))
        )
        with pytest.raises(ProofMissing, match=r"app__incoming on .* belongs to dev"):
            engine.promote((), lambda: None)
    assert developed.query("SELECT who FROM ran", "app__incoming") == []
    assert developed.query("SELECT id FROM people", "app__incoming") == [(1,)]


@COPY
def test_one_that_comes_while_ours_is_made_is_not_dropped(
    developed: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = PostgreSQLEngine._make_incoming

    def made_before(engine: PostgreSQLEngine, *arguments: object) -> object:
        make_as(developed, DEV, "app__incoming", RAN)
        return make(engine, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PostgreSQLEngine, "_make_incoming", made_before)
    assert developed.dump
    with working(developed.engine()) as engine:
        with pytest.raises(RestoreFailed, match="duplicate_database"):
            engine.restore(developed.dump)
        assert engine.clean_up().notes == ()
    assert developed.query("SELECT id FROM people", "app__incoming") == [(1,)]


@PREVIOUS
@pytest.mark.parametrize("name", ["app__previous", "app__replaced"])
@pytest.mark.parametrize("what", ["live of another", "of another database", "of another OID", "stranger's"])
def test_a_previous_that_was_never_ours_is_left_alone(developed: Stage, name: str, what: str) -> None:
    make_as(developed, DEV, name)
    [(oid,)] = developed.query(f"SELECT oid::bigint FROM pg_database WHERE datname = '{name}'", "postgres")
    was = WasLive(database="app", oid=oid, environment="integration", until=DATA_TIME)
    stamp = stamp_of(developed, CopyState.SANITISED)
    comments = {
        "live of another": Comment(person="", stamp=stamp),
        "of another database": Comment(person="", stamp=stamp, was_live=evolve(was, database="other")),
        "of another OID": Comment(person="", stamp=stamp, was_live=evolve(was, oid=oid + 1)),
        "stranger's": Comment(person="", stamp=stamp, was_live=was),
    }
    developed.put_comment(name, comments[what])
    if what == "stranger's":
        developed.server.execute("REVOKE dev FROM env_sync")
    is_left_alone(developed, name, "does not say that it was ever live here. It belongs to dev")
    # An undo does not drop it, and says by itself what it thinks of it.
    developed.engine().check_startable(undo=True)


def test_a_previous_of_ours_is_replaced(developed: Stage) -> None:
    make_as(developed, DEV, "app__previous")
    say_it_was_live(developed, "app__previous")
    developed.engine().check_startable(undo=False)
    pull(developed, developed.engine(), developed.transformation())
    assert developed.server.databases() == {"app", "app__previous", "env_sync"}
