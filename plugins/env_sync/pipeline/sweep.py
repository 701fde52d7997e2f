"""Removing from a worker's disk what ended attempts left: a killed step, or one whose next ran elsewhere."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from env_sync.core.failure import described
from env_sync.domain.leftovers import Leftover, Swept
from env_sync.pipeline.folder_lock import LOCK, alone
from env_sync.pipeline.folder_notes import WHOSE, Whose, read_whose
from env_sync.pipeline.session import COMMAND_LINE, remove_folder

OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States of a task that is over."""
NOTES = (LOCK, WHOSE, Path(WHOSE).with_suffix(".new").name)
UNFINISHED = ("queued", "running")
"""States of a run that is not over."""
UNSAID = dt.timedelta(days=1)
"""For how long a folder that does not say whose it is, is left alone: no step may take longer."""


class Airflow(Protocol):
    """What Airflow can be asked: `airflow.sdk.types.RuntimeTaskInstanceProtocol` is one."""

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str], run_ids: list[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """The states of tasks, by run and task; without those that are not there."""

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        """How many of these runs are there, in one of these states."""


@frozen(kw_only=True)
class _Found:
    folder: Path
    environment: str
    group: str
    whose: Whose | None


def sweep(
    roots: Iterable[Path],
    *,
    own: Path | None,
    airflow: Airflow,
    log: logging.Logger,
    now: dt.datetime,
    others: Iterable[Path] = (),
) -> Swept:
    """Remove what ended attempts of this user left below these roots; gives what was found.

    `own` is the folder of whoever asks, which is left alone. So is one in which a process works; one of a
    group whose report is not over in a run that is not; and one that does not say whose it is, for a day.
    Nothing is asked of Airflow where nothing is there; without an answer nothing of its runs is removed.
    `others` are roots that are not in use here, or not any more. Another Airflow of this user may use them,
    whose runs this one does not know: what lies there for a day is told and not removed. Raises OSError where
    the roots cannot be read.
    """
    roots = set(roots)
    idle = [found for root in roots for found in _found(root) if found.folder != own and _is_idle(found)]
    asked = {
        found.whose for found in idle if found.whose and not found.whose.run.startswith(f"{COMMAND_LINE}/")
    }
    try:
        ended = _ended(asked, airflow)
    except Exception as problem:  # noqa: BLE001 - what needs no answer is removed all the same
        log.warning(
            "Leftovers of %s attempts on this worker could not be checked: Airflow did not answer (%s)",
            len(asked),
            described(problem),
        )
        ended = set()
    removed: list[Leftover] = []
    left: list[str] = []
    for found in idle:
        if found.whose in asked and found.whose not in ended:
            continue
        if found.whose is None and not _is_long_over(found.folder, now):
            continue
        try:
            leftover = _remove(found)
        except OSError as problem:
            left.append(
                f"{found.folder} of an ended attempt may hold a raw dump and could not be removed "
                f"({problem.strerror or type(problem).__name__}): remove it by hand"
            )
            log.warning(left[-1])
            continue
        if leftover is not None:
            log.info("Removed %s, %s bytes, which %s had left", found.folder, leftover.size, leftover)
            removed.append(leftover)
    for found in (found for root in sorted(set(others) - roots) for found in _found(root)):
        if _is_idle(found) and _is_long_over(found.folder, now) and _held(found.folder)[1]:
            left.append(
                f"{found.folder} may hold a raw dump, nothing in it has changed for a day, and no sync works "
                "below that work folder here: remove it by hand, unless another Airflow of this user works "
                "there"
            )
            log.warning(left[-1])
    return Swept(removed=tuple(removed), left=tuple(left))


def _ended(asked: Collection[Whose], airflow: Airflow) -> set[Whose]:
    """Those whose group was reported, or whose run is over or unknown; one request for most DAGs."""
    dags: dict[str, list[Whose]] = {}
    for whose in asked:
        dags.setdefault(_dag_and_run(whose)[0], []).append(whose)
    ended = set()
    for dag, those in dags.items():
        states = airflow.get_task_states(
            dag_id=dag,
            task_ids=sorted({_report(whose) for whose in those}),
            run_ids=sorted({_dag_and_run(whose)[1] for whose in those}),
        )
        over: dict[str, bool] = {}
        for whose in those:
            run = _dag_and_run(whose)[1]
            if states.get(run, {}).get(_report(whose)) in OVER:
                ended.add(whose)
                continue
            if run not in over:
                count = airflow.get_dr_count(dag_id=dag, run_ids=[run], states=[*UNFINISHED])
                over[run] = count == 0
            if over[run]:
                ended.add(whose)
    return ended


def _dag_and_run(whose: Whose) -> tuple[str, str]:
    dag, _, run = whose.run.partition("/")
    return dag, run


def _report(whose: Whose) -> str:
    return f"{whose.group}.report"


def _found(root: Path) -> Iterator[_Found]:
    """The private folders of this user below a root, never through a link or another user's folder."""
    for environment in _ours(root / f"env_sync_{os.getuid()}"):
        for group in _ours(environment):
            for folder in _ours(group):
                yield _Found(
                    folder=folder,
                    environment=environment.name,
                    group=group.name,
                    whose=read_whose(folder),
                )


def _ours(folder: Path) -> Sequence[Path]:
    """The folders in a folder that are this user's alone, if it is so itself."""
    if not _is_ours(folder):
        return ()
    try:
        return [each for each in sorted(folder.iterdir()) if _is_ours(each)]
    except FileNotFoundError:
        return ()


def _is_ours(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _is_idle(found: _Found) -> bool:
    try:
        with alone(found.folder) as idle:
            return idle
    except OSError:
        # To remove it will fail as well, and that is told.
        return True


def _remove(found: _Found) -> Leftover | None:
    """Remove a folder, unless somebody began to work in it since it was found. Raises OSError.

    Gives None as well where nothing but its note was in it.
    """
    with alone(found.folder) as idle:
        if not idle or read_whose(found.folder) != found.whose:
            return None
        size, files = _held(found.folder)
        remove_folder(found.folder)
    if not files:
        return None
    return Leftover(
        environment=found.environment,
        group=found.group,
        run=found.whose.run if found.whose else None,
        size=size,
    )


def _is_long_over(folder: Path, now: dt.datetime) -> bool:
    """Whether no process can be at work in a folder that does not say whose it is.

    That is the version before, which took no lock; this one was killed before it had put a dump there.
    """
    if (folder / LOCK).exists() and _held(folder) == (0, 0):
        return True
    return now.timestamp() - _youngest(folder) >= UNSAID.total_seconds()


def _held(folder: Path) -> tuple[int, int]:
    """The bytes, and the number, of the files in a folder beside its note and its lock."""
    files = [path for path in _everything(folder) if path.name not in NOTES]
    return sum(path.lstat().st_size for path in files), len(files)


def _everything(folder: Path) -> Iterator[Path]:
    for above, _, names in os.walk(folder):
        yield from (Path(above) / name for name in names)


def _youngest(folder: Path) -> float:
    """When it, or anything in it, was last changed."""
    youngest = 0.0
    for path in (folder, *_everything(folder)):
        with contextlib.suppress(FileNotFoundError):
            youngest = max(youngest, path.lstat().st_mtime)
    return youngest
