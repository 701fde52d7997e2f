"""What a failed test of the acceptance suite tells of tasks."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.task_logs import LINES, failed_tasks


def written(folder: Path, task: str, *levels: str) -> None:
    log = folder / "dag_id=one" / f"task_id={task}" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "".join(json.dumps({"event": f"{task} {n}", "level": each}) + "\n" for n, each in enumerate(levels))
    )


def test_only_tasks_with_an_error_are_told_and_of_each_the_end(tmp_path: Path) -> None:
    written(tmp_path, "well", "info", "warning")
    written(tmp_path, "wrong", *["info"] * LINES, "error")
    told = failed_tasks(tmp_path)
    assert "well" not in told
    assert "wrong 0" not in told
    assert f"error wrong {LINES}" in told


def test_nothing_is_told_where_all_is_well(tmp_path: Path) -> None:
    written(tmp_path, "well", "info")
    assert failed_tasks(tmp_path) == ""
