from __future__ import annotations

import pytest

from env_sync.core.errors import TransformationFailed
from tests.integration.postgresql.stage import SOURCE, Stage, pull, working

OPTIONS = (
    "SELECT relname::text, reloptions FROM pg_class WHERE relkind IN ('r', 'm') "
    "AND relnamespace = 'app'::regnamespace ORDER BY 1"
)
STATISTICS = "SELECT count(*) FROM pg_stats WHERE schemaname = 'app' AND tablename IN ('people', 'emails')"
DUMPED = (
    SOURCE
    + """
ALTER TABLE app.added_later SET (autovacuum_enabled = false);
CREATE MATERIALIZED VIEW app.emails AS SELECT email FROM app.people;
CREATE INDEX ON app.people (lower(email));
CREATE TABLE app.often (id int) WITH (autovacuum_enabled = true, fillfactor = 70);
"""
)
EMPTY = "TRUNCATE app.people; REFRESH MATERIALIZED VIEW app.emails;"


def test_autovacuum_leaves_a_raw_copy_alone_and_comes_back_with_live(any_stage: Stage) -> None:
    stage = any_stage.with_dump(DUMPED)
    assert stage.dump
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        held = ["autovacuum_enabled=n"]
        assert stage.query(OPTIONS, stage.incoming) == [
            ("added_later", ["autovacuum_enabled=false"]),
            ("emails", held),
            ("often", ["fillfactor=70", *held]),
            ("people", held),
        ]
        assert stage.query(STATISTICS, stage.incoming) == [(0,)]
    pull(stage, stage.engine(attempt="2"), stage.transformation(EMPTY))
    assert stage.query(OPTIONS) == [
        ("added_later", ["autovacuum_enabled=false"]),
        ("emails", None),
        ("often", ["fillfactor=70"]),
        ("people", None),
    ]
    assert stage.query(STATISTICS) == [(0,)]


def test_statistics_of_raw_rows_do_not_outlive_them(stage: Stage) -> None:
    stage = stage.with_dump(DUMPED)
    changed = stage.transformation(
        "UPDATE app.people SET email = 'user-' || id || '@example.com'; REFRESH MATERIALIZED VIEW app.emails;"
    )
    assert stage.dump
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        stage.query("ANALYZE", stage.incoming)
        engine.sanitise((changed,))
        kept = "SELECT count(*) FROM pg_statistic s WHERE s::text LIKE '%home.example%'"
        assert stage.query(kept, stage.incoming) == [(0,)]


def test_an_emptied_table_whose_statistics_tell_of_its_rows_fails(stage: Stage) -> None:
    stage = stage.with_dump(DUMPED)
    assert stage.dump
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        told = pytest.raises(TransformationFailed, match=r"Table app\.(people|emails) is empty")
        with told as failed:
            engine.sanitise((stage.transformation("ANALYZE app.people;" + EMPTY),))
        assert "home.example" not in str(failed.value)
        assert stage.incoming not in stage.server.databases()
