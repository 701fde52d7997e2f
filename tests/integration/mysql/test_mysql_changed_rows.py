"""What is told of the statements of transformations, and of what none of them reaches."""

from __future__ import annotations

import pytest

from env_sync.domain.changed_rows import Changes
from tests.integration.mysql.stage import Stage, working

pytestmark = pytest.mark.probe("what a transformation does not reach", engines=["mysql"])

DUMP = b"""
CREATE TABLE `users` (`id` int NOT NULL, `email` varchar(100), `phone` varchar(9), PRIMARY KEY (`id`));
INSERT INTO `users` VALUES (1,'alice@home.example',''),(2,'bob@home.example','');
CREATE TABLE `log` (`id` int NOT NULL, `said` varchar(100), PRIMARY KEY (`id`));
CREATE TABLE `letters` (`body` text);
"""


def sanitised(stage: Stage, text: str) -> Changes:
    """What is told of a transformation of what the dump holds."""
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(DUMP))
        engine.sanitise((stage.transformation(text),))
    return engine.work.changed_rows.take()


def test_each_statement_tells_the_rows_that_it_found(stage: Stage) -> None:
    text = (
        "# UPDATE nothing\nUPDATE LOW_PRIORITY `users` SET email = 'x';\n"
        # They have these values already.
        "UPDATE users SET email = 'x', phone = '';\n"
        "DELETE FROM users WHERE id = 2; DELETE FROM letters;\n"
        "SELECT * FROM users;\n"
    )
    changes = sanitised(stage, text)
    assert [str(each) for each in changes.statements] == [
        "redact.sql:2 UPDATE users: 2 rows",
        "redact.sql:3 UPDATE users: 2 rows",
        "redact.sql:4 DELETE users: 1 row",
        "redact.sql:4 DELETE letters: 0 rows",
    ]
    [warning] = changes.warnings
    assert warning.startswith("redact.sql:4 DELETE letters changed no row")


def test_new_tables_and_columns_that_no_transformation_names(stage: Stage) -> None:
    changes = sanitised(stage, "UPDATE users SET email = 'x';")
    assert [warning.partition(" is new")[0] for warning in changes.warnings] == [
        "table letters",
        "column users.phone",
    ]


def test_a_temporary_table_may_be_empty(stage: Stage) -> None:
    text = "CREATE TEMPORARY TABLE gone (id int); DELETE FROM gone; UPDATE users SET phone = 'x';"
    changes = sanitised(stage, text)
    assert str(changes.statements[0]) == "redact.sql:1 DELETE gone: 0 rows"
    assert not [warning for warning in changes.warnings if "changed no row" in warning]


def test_a_table_that_a_comment_calls_temporary_is_none(stage: Stage) -> None:
    text = "-- CREATE TEMPORARY TABLE letters\nSELECT 'CREATE TEMPORARY TABLE letters '; DELETE FROM letters;"
    changes = sanitised(stage, text)
    assert [why for why in changes.warnings if why.startswith("redact.sql:2 DELETE letters changed no row")]
