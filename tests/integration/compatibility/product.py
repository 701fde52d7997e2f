"""What a worker asks of `env_sync`, by the names that its modules have in this commit. See `worker.py`.

When modules move, this file moves with them; nothing else of the compatibility tests knows them.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import Connection
from attrs import evolve, frozen

import env_sync
from env_sync.airflow.connections import CONNECTIONS, server_connection, store_connection
from env_sync.airflow.operators import outbox
from env_sync.airflow.operators.step import SweptBy
from env_sync.core import failure, serialization
from env_sync.core.cancellation import Cancellation
from env_sync.core.progress import Progress
from env_sync.core.serialization import from_plain, to_plain
from env_sync.core.stopwatch import Spent
from env_sync.domain import manifest, pause, report
from env_sync.domain.report import Outcome, make_report
from env_sync.domain.sync import Sync
from env_sync.engines.base import contract, document_lease
from env_sync.engines.elasticsearch import contents, metadata
from env_sync.engines.elasticsearch import engine as elasticsearch_engine
from env_sync.engines.files import engine as files_engine
from env_sync.engines.files import lease as files_lease
from env_sync.engines.files.metadata import Record
from env_sync.engines.mongo import engine as mongo_engine
from env_sync.engines.mongo.metadata import LiveStamp
from env_sync.engines.mongo.promotion import Journal
from env_sync.engines.mysql import engine as mysql_engine
from env_sync.engines.mysql import metadata as mysql_stamp
from env_sync.engines.mysql.objects import Object
from env_sync.engines.mysql.swap import Plan as MySQLPlan
from env_sync.engines.postgresql import engine as postgresql_engine
from env_sync.engines.postgresql import metadata as postgresql_stamp
from env_sync.pipeline import clean_up, folder_notes, results
from env_sync.pipeline.session import Session, open_session
from env_sync.pipeline.steps import do_here, step_of
from env_sync.planning.installation import read_plan
from env_sync.planning.request import read_request
from env_sync.store import dumps
from env_sync.store.retrying import Requests, Tuning

ENGINES = (postgresql_engine, mysql_engine, mongo_engine, files_engine, elasticsearch_engine)
"""Imported once for all jobs: a step that imports its engine by itself takes a second more."""
TABLE_WAIT = 5.0
"""Seconds for which a step waits for the lock of a root's leases, which a step that waits itself may hold."""
BETWEEN_ATTEMPTS = 0.2
"""Seconds between two tries of a clean-up, which is tried again while a server still ends killed sessions."""

KEPT: dict[str, Requests] = {}
"""S3 clients by the text of their connection; making one takes longer than most steps."""


def package() -> str:
    """The folder of the package that is tested."""
    return str(Path(env_sync.__file__).parent)


def prepare(job: Mapping[str, Any]) -> None:
    """Make what a job needs and its process can inherit; sends nothing to anybody."""
    if job["do"] == "step":
        before = dict(os.environ)
        os.environ.update(job["environ"])
        try:
            if not KEPT:
                _warm_up(job)
            _keep_requests(job["environment"])
        finally:
            os.environ.clear()
            os.environ.update(before)


def _warm_up(job: Mapping[str, Any]) -> None:
    """Have imported, compiled and generated what every step would by itself: half a second each time."""
    clean_up.BETWEEN_ATTEMPTS = BETWEEN_ATTEMPTS
    files_lease.TABLE_WAIT = TABLE_WAIT
    dumps._requests = _kept_requests
    for group in read_plan(job["environment"]).groups:
        if isinstance(group.sync, Sync):
            server_connection(group.sync)
    for kind in KINDS.values():
        if kind.kind is not None:
            converter = serialization._converter()
            converter.get_structure_hook(kind.kind)
            converter.get_unstructure_hook(kind.kind)


def _keep_requests(environment: str) -> None:
    connection = store_connection(environment)
    text = os.environ[f"AIRFLOW_CONN_{connection.conn_id.upper()}"]
    if text not in KEPT:
        KEPT[text] = make_requests(connection, Tuning(), logging.getLogger("env_sync"))


make_requests = dumps._requests


def _kept_requests(connection: Connection | str, tuning: Tuning, log: logging.Logger) -> Requests:
    name = connection if isinstance(connection, str) else connection.conn_id
    kept = KEPT.get(os.environ.get(f"AIRFLOW_CONN_{name.upper()}", ""))
    if kept is None or tuning != kept.tuning:
        return make_requests(connection, tuning, log)
    return evolve(kept, log=log)


# Steps


def do(job: Mapping[str, Any], progress: Progress) -> Any:
    """Do one step, as a task of Airflow does it; gives its plain result. Raises whatever the step raises."""
    plan = read_plan(job["environment"])
    [group] = [group for group in plan.groups if group.sync.name == job["sync"]]
    if job["lease_lifetime"] is not None:
        lifetime = dt.timedelta(seconds=job["lease_lifetime"])
        group = evolve(
            group, sync=evolve(group.sync, options=evolve(group.sync.options, lease_lifetime=lifetime))
        )
    session = open_session(
        group=group,
        settings=plan.settings,
        request=read_request(job["conf"], plan),
        holder=contract.Holder(run=job["run"], group=group.id, attempt=job["attempt"]),
        connections=CONNECTIONS,
        pause=lambda: None,
        cancellation=Cancellation(),
        progress=progress,
        log=logging.getLogger("env_sync.compatibility"),
    )
    if job["step"] == "report":
        return _report(job, session)
    # What the operators of later steps read of earlier ones.
    read: Mapping[str, type[Any]] = {"download": results.Downloaded, "dump": results.Dumped}
    given = {
        step: from_plain(kind, job["results"][step]) for step, kind in read.items() if step in job["results"]
    }
    return to_plain(do_here(step_of(group.sync, job["step"]), session, given))


def described(problem: Exception) -> str:
    """How a step's error reads in Airflow."""
    return failure.described(problem)


def _report(job: Mapping[str, Any], session: Session) -> Any:
    finished = clean_up.finish(session)
    sync = session.sync
    steps = [step for step in session.request.steps(session.group) if step != "report"]
    made = make_report(
        environment=sync.environment,
        sync=sync.name,
        group=session.group.id,
        run=session.holder.run,
        action=sync.action,
        database=sync.database,
        max_dump_age=sync.options.max_dump_age,
        outcome=Outcome(
            states={step: job["states"].get(step) for step in steps},
            results=job["results"],
            errors=job["errors"],
            skip=None,
            started=dt.datetime.fromisoformat(job["began"]),
            promoted=finished.promoted,
            notes=finished.notes,
            failures=finished.failures,
            undo=session.request.restore_previous is not None,
        ),
        now=dt.datetime.now(dt.UTC),
    )
    return {"report": to_plain(made), "line": made.line()}


# Values


@frozen
class Kind:
    """A kind of value that is stored, or passed between steps, and its plain form."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = to_plain
    kind: type[Any] | None = None
    """Where `env_sync.core.serialization` alone makes it what it is."""


def _of(kind: type[Any]) -> Kind:
    return Kind(lambda plain: from_plain(kind, plain), kind=kind)


KINDS: Mapping[str, Kind] = {
    # Results of steps and what else is in XCom.
    "started": _of(results.Started),
    "awaited": _of(results.Awaited),
    "dumped": _of(results.Dumped),
    "uploaded": _of(results.Uploaded),
    "downloaded": _of(results.Downloaded),
    "restored": _of(results.Restored),
    "sanitised": _of(results.Sanitised),
    "promoted": _of(results.Promoted),
    "live again": _of(results.LiveAgain),
    "bucket synced": _of(results.BucketSynced),
    "snapshot": _of(contract.Snapshot),
    "filled": _of(contract.Filled),
    "skip": _of(report.Skip),
    "spent": _of(Spent),
    "swept": _of(SweptBy),
    "report": _of(report.Report),
    # In Airflow beside XCom.
    "outbox": _of(outbox._Kept),
    "pause": Kind(pause.read_pause, pause.write_pause),
    # In buckets and work folders.
    "manifest": Kind(lambda text: manifest.from_json(text, key="manifest"), manifest.to_json),
    "note of a dump": _of(contract.Dump),
    "note of a push": _of(manifest.Manifest),
    "note of a folder": _of(folder_notes.Whose),
    # On servers.
    "stamp": _of(contract.Stamp),
    "lease in a document": _of(document_lease.Row),
    "lease of files": _of(files_lease.Row),
    "comment of PostgreSQL": Kind(postgresql_stamp.take_apart, lambda comment: comment.text()),
    "stamp of MySQL": Kind(mysql_stamp.read_text, mysql_stamp.told_text),
    "objects of MySQL": Kind(
        lambda plain: [from_plain(Object, each) for each in plain],
        lambda objects: [to_plain(each) for each in objects],
    ),
    "journal of MySQL": _of(MySQLPlan),
    "live stamp of MongoDB": _of(LiveStamp),
    "journal of MongoDB": _of(Journal),
    "record of files": _of(Record),
    "contents of Elasticsearch": _of(contents.Contents),
    "incoming of Elasticsearch": _of(metadata.Incoming),
    "live of Elasticsearch": _of(metadata.Live),
    "taking of Elasticsearch": _of(metadata.Taking),
}


def read_all(values: Mapping[str, Any]) -> dict[str, Any]:
    """Each value as it is written anew after it was read. One of a kind that is not known is left out."""
    anew: dict[str, Any] = {}
    for name, value in values.items():
        if name in KINDS:
            try:
                anew[name] = {"plain": KINDS[name].write(KINDS[name].read(value))}
            except Exception as problem:  # noqa: BLE001 - whatever it is, it was not understood
                anew[name] = {"error": f"{type(problem).__name__}: {problem}"}
    return json.loads(json.dumps(anew))  # type: ignore[no-any-return]
