"""What the sync's own account may do: no more than it needs, unless its connection accepts that."""

from __future__ import annotations

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused
from env_sync.domain.finding import Finding, Level
from env_sync.engines.mysql.engine import MySQLEngine
from tests.integration.mysql.stage import SECRET, Stage, working

USERS = b"CREATE TABLE `users` (`id` int PRIMARY KEY) ENGINE=InnoDB;\nINSERT INTO `users` VALUES (1);\n"


def as_account(stage: Stage, name: str, **extra: object) -> MySQLEngine:
    work = stage.engine().work
    connection = evolve(work.connection, login=name, extra=extra)
    return MySQLEngine(evolve(work, connection=connection))


def found(engine: MySQLEngine, level: Level) -> list[Finding]:
    return [one for one in engine.preflight_server() if one.level is level and "administrator" in one.what]


@pytest.fixture(params=["ALL ON *.*", "SUPER", "CREATE USER", "GRANT OPTION"])
def mighty(stage: Stage, request: pytest.FixtureRequest) -> Stage:
    """The account `mighty` has what the sync's has, and one thing more."""
    more = request.param
    with_option = " WITH GRANT OPTION" if more == "GRANT OPTION" else ""
    grants = [*stage.server.sync_grants, "SELECT ON mysql.*"]
    grants.append({"ALL ON *.*": more, "GRANT OPTION": "SELECT ON *.*"}.get(more, f"{more} ON *.*"))
    stage.server.create_account("mighty", SECRET, *grants[:-1])
    stage.server.execute(f"GRANT {grants[-1]} TO mighty{with_option}")
    stage.server.execute("DROP USER env_sync")
    return stage


@pytest.mark.probe("a sync that is a superuser")
def test_an_administrator_pulls_only_where_that_is_accepted(mighty: Stage) -> None:
    engine = as_account(mighty, "mighty")
    [problem] = found(engine, Level.PROBLEM)
    assert "accept_superuser" in problem.what
    with working(engine), pytest.raises(AccessRefused, match="mighty is an administrator"):
        engine.restore(mighty.dump(USERS))
    engine.release_lease()
    assert mighty.incoming not in mighty.server.databases()
    assert "GRANT" not in problem.what.replace("GRANT OPTION", "")

    for no in (False, "", "no", None):
        assert found(as_account(mighty, "mighty", accept_superuser=no), Level.PROBLEM)
    engine = as_account(mighty, "mighty", accept_superuser=True)
    assert found(engine, Level.PROBLEM) == []
    [told] = found(engine, Level.NOTE)
    with working(engine):
        [warning] = [one for one in engine.restore(mighty.dump(USERS)) if "administrator" in one]
    assert warning == told.what
    assert "accept_superuser of connection" in warning


def test_the_account_that_the_page_lists_is_none(stage: Stage) -> None:
    engine = stage.engine()
    assert found(engine, Level.PROBLEM) + found(engine, Level.NOTE) == []
    with working(engine):
        assert engine.restore(stage.dump(USERS)) == ()
