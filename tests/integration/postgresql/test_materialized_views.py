"""Materialised views are filled with raw rows by the restore, and anew before they are live."""

from __future__ import annotations

import pytest

from env_sync.core.errors import TransformationFailed
from tests.integration.postgresql.stage import REDACT, SOURCE, Stage, pull, working

# What reads another view is made before it.
VIEWS = (
    SOURCE
    + """
CREATE SCHEMA "Re""ports";
CREATE FUNCTION app.first_email() RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN (SELECT min(email) FROM app.people); END $$;
CREATE VIEW app.all_emails AS SELECT NULL::int AS id, NULL::text AS email;
CREATE MATERIALIZED VIEW app.hidden AS SELECT app.first_email() AS email WITH NO DATA;
CREATE MATERIALIZED VIEW app.by_view AS SELECT email FROM app.all_emails WITH NO DATA;
CREATE MATERIALIZED VIEW "Re""ports"."All People" AS SELECT id, email FROM app.people;
CREATE UNIQUE INDEX "One ""each" ON "Re""ports"."All People" (email);
CREATE OR REPLACE VIEW app.all_emails AS SELECT id, email FROM "Re""ports"."All People";
CREATE MATERIALIZED VIEW app.not_filled AS SELECT email FROM app.people WITH NO DATA;
REFRESH MATERIALIZED VIEW app.hidden;
REFRESH MATERIALIZED VIEW app.by_view;
"""
)
# What a function reads is unknown to the catalogs.
HIDE = """
CREATE OR REPLACE FUNCTION app.first_email() RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN (SELECT min(email) FROM "Re""ports"."All People"); END $$;
"""
READ = """
SELECT count(*), count(*) FILTER (WHERE email LIKE '%home%') FROM (
    SELECT email FROM app.hidden UNION ALL SELECT email FROM app.by_view
    UNION ALL SELECT email FROM "Re""ports"."All People"
) rows
"""
EMPTY = "SELECT relname::text FROM pg_class WHERE relkind = 'm' AND NOT relispopulated"


def test_they_hold_what_the_transformations_left(any_stage: Stage) -> None:
    stage = any_stage.with_dump(VIEWS)
    pull(stage, stage.engine(), stage.transformation(HIDE + "SET search_path = app;" + REDACT))
    assert stage.query(READ) == [(1001, 0)]
    assert stage.query(EMPTY) == [("not_filled",)]


def test_one_that_cannot_be_filled_fails_the_pull(stage: Stage) -> None:
    stage = stage.with_dump(VIEWS)
    assert stage.dump
    dropped = "ALTER TABLE app.people DROP CONSTRAINT people_email_key; UPDATE app.people SET email = 'same';"
    for text, says in (
        (dropped, r'"Re""ports"\."All People" could not be filled .*unique_violation'),
        ('REFRESH MATERIALIZED VIEW "Re""ports"."All People" WITH NO DATA;', r"app\.\w+ could not be filled"),
    ):
        with working(stage.engine()) as engine:
            engine.restore(stage.dump)
            with pytest.raises(TransformationFailed, match=says) as failed:
                engine.sanitise([stage.transformation(text)])
        assert "same" not in str(failed.value)
        assert stage.incoming not in stage.server.databases()
