"""Triggers of a dump that keep what a transformation was to change are told by name."""

from __future__ import annotations

import pytest

from tests.integration.mysql.stage import Stage, working

DUMP = b"""
CREATE TABLE `users` (`id` int NOT NULL, `email` varchar(100), `phone` varchar(9), PRIMARY KEY (`id`));
INSERT INTO `users` VALUES (1,'alice@home.example',''),(2,'bob@home.example','');
CREATE TABLE `log` (`id` int NOT NULL, `email` varchar(100), PRIMARY KEY (`id`));
INSERT INTO `log` VALUES (1,'carol@home.example');
CREATE VIEW `people` AS SELECT `id`, `email` FROM `users`;
CREATE VIEW `folk` AS SELECT `id`, `email` FROM `people`;
DELIMITER ;;
CREATE PROCEDURE `clean`() BEGIN UPDATE `users` SET `email` = 'x'; END ;;
CREATE TRIGGER `keep` BEFORE UPDATE ON `users` FOR EACH ROW BEGIN SET NEW.`email` = OLD.`email`; END ;;
CREATE TRIGGER `later` AFTER UPDATE ON `log` FOR EACH ROW SET @seen = NEW.`email` ;;
CREATE TRIGGER `first` BEFORE INSERT ON `log` FOR EACH ROW SET NEW.`email` = 'new' ;;
DELIMITER ;
"""
KEEP = "trigger keep of users"


def warnings_of(stage: Stage, *texts: str) -> list[str]:
    """What is told of transformations of what the dump holds, but for what is new."""
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(DUMP))
        files = [stage.transformation(text, f"{number}.sql") for number, text in enumerate(texts)]
        engine.sanitise(tuple(files))
        engine.clean_up()
    return [one for one in engine.work.changed_rows.take().warnings if " went through " in one]


@pytest.mark.probe("a trigger that undoes a transformation", engines=["mysql"])
def test_what_a_statement_went_through_is_told_by_name(stage: Stage) -> None:
    own = "CREATE TRIGGER own BEFORE UPDATE ON log FOR EACH ROW SET NEW.email = OLD.email;"
    update = "UPDATE folk SET email = 'x'; UPDATE log SET email = 'x';"
    # What a transformation made is its own affair, and each is told once.
    [warning] = warnings_of(stage, f"SET sql_select_limit = 0; {own} {update}", update)
    assert warning.startswith(f"0.sql:1 UPDATE folk went through {KEEP}, which came with the data")
    [warning] = warnings_of(stage, "CALL clean();")
    assert warning.startswith(f"0.sql:1 a statement went through {KEEP}")
    assert warnings_of(stage, f"DROP TRIGGER keep; {update}") == []
