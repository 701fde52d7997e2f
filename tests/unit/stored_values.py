"""One value of each kind that is stored or passed between steps, with nothing left at its default.

Their plain form as a commit writes it is kept in `stored/<commit>.json`, made by

    python -m tests.unit.stored_values > tests/unit/stored/<commit>.json

from that commit's checkout, with `plugins` on PYTHONPATH.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from env_sync.airflow.operators.outbox import _Kept
from env_sync.airflow.operators.step import SweptBy
from env_sync.core.process_identity import Process
from env_sync.core.stopwatch import Spent
from env_sync.domain.changed_rows import Changed
from env_sync.domain.leftovers import Leftover, Swept
from env_sync.domain.manifest import Manifest, Parent, Transformation
from env_sync.domain.pause import Pause
from env_sync.domain.report import Report, Result, Skip
from env_sync.engines.base import history
from env_sync.engines.base.contract import CopyState, Dump, Filled, Holder, Snapshot, Stamp
from env_sync.engines.base.document_lease import Row, Worker
from env_sync.engines.elasticsearch.catalogue import Templates
from env_sync.engines.elasticsearch.contents import Contents, Held
from env_sync.engines.elasticsearch.metadata import Copied, Incoming, Live, Replaced, Taking
from env_sync.engines.elasticsearch.snapshots import Owner
from env_sync.engines.files.lease import Row as FilesRow
from env_sync.engines.files.metadata import Record
from env_sync.engines.mongo.definitions import Definition, Kind
from env_sync.engines.mongo.metadata import LiveStamp
from env_sync.engines.mongo.metadata import Promoted as MongoPromoted
from env_sync.engines.mongo.promotion import Journal
from env_sync.engines.mysql.metadata import Told
from env_sync.engines.mysql.metadata import WasLive as MySQLWasLive
from env_sync.engines.mysql.objects import Kind as MySQLKind
from env_sync.engines.mysql.objects import Object
from env_sync.engines.mysql.renaming import Tables
from env_sync.engines.mysql.swap import Plan as MySQLPlan
from env_sync.engines.postgresql.metadata import Closed, Comment
from env_sync.engines.postgresql.metadata import WasLive as PostgreSQLWasLive
from env_sync.pipeline.folder_notes import Whose
from env_sync.pipeline.results import (
    Awaited,
    BucketSynced,
    Downloaded,
    Dumped,
    LiveAgain,
    Promoted,
    Restored,
    Sanitised,
    Started,
    Uploaded,
)
from tests.integration.compatibility.product import KINDS
from tests.unit.values import moment

STORED = Path(__file__).parent / "stored"

BORN, READ, PULLED, NOW = (moment(f"2026-11-2{day} 01:02:03.456789") for day in (1, 2, 3, 4))
HOLDER = Holder(run="env_sync_integration/scheduled__1", group="pull_signon_0330", attempt="5f0c")
SANITISE = Transformation(name="sanitise.sql", sha256="5a" * 32)
REWRITE = Transformation(name="replace domain", sha256="4e" * 32)
PARENT = Parent(
    environment="production",
    key="signon/2026-11-21T010203Z-signon.gz",
    sha256="11" * 32,
    transformations=(REWRITE,),
    pulled_into="staging",
    before=(SANITISE,),
    reason="nothing in it is personal",
)
STAMP = Stamp(
    state=CopyState.SANITISED,
    holder=HOLDER,
    sync="pull_signon",
    environment="integration",
    source_environment="staging",
    dump_key="signon/2026-11-22T010203Z-signon.gz",
    dump_sha256="22" * 32,
    data_time=BORN,
    born_in="production",
    parents=(PARENT,),
    transformations=(SANITISE, REWRITE),
    changed=PULLED,
    above=(REWRITE,),
    reason="nothing in it is personal",
)
MANIFEST = Manifest(
    environment="staging",
    sync="push_signon",
    run="env_sync_staging/scheduled__1 push_signon_0100",
    dbms="postgresql",
    database="signon",
    engine_version="18.0",
    server_version="15.4",
    key=STAMP.dump_key,
    size=123_456,
    sha256=STAMP.dump_sha256,
    started=READ,
    finished=NOW,
    data_time=BORN,
    born_in="production",
    parents=(PARENT,),
    transformations=(REWRITE,),
    consistent=False,
    read_from="mongo-2:27017",
    sanitised="SANITISED ABOVE",
    reason="nothing in it is personal",
)
CHANGED = Changed(file="sanitise.sql", line=12, what="UPDATE users", rows=4000, may_find_none=True)
SWEPT = Swept(
    removed=(Leftover(environment="integration", group="pull_signon_0330", run=HOLDER.run, size=123_456),),
    left=("/work/env_sync_0/integration/pull_signon_0330/1 could not be removed",),
)
REPORT = Report(
    environment="integration",
    sync="pull_signon",
    group="pull_signon_0330",
    run=HOLDER.run,
    action="pull",
    database="signon",
    result=Result.WARNING,
    what="live was replaced",
    why=("the dump is old", "live was reopened"),
    skipped=True,
    quiet=True,
    seconds=12.5,
    bytes=123_456,
    dump_key=STAMP.dump_key,
    source_environment="staging",
    data_time=BORN,
    unavailable=0.25,
    awaited="a dump of signon begun at 22:00 UTC or later",
    waited=60.5,
    reported=NOW,
    spent={"restore": Spent(seconds=4.5, parts={"rows": 3.25})},
    transformations=("sanitise.sql",),
    badge="SANITISED ABOVE",
    reason="nothing in it is personal",
    statements=("sanitise.sql:12 UPDATE users: 4,000 rows",),
    undo=True,
    replaced=True,
    unsent=("icinga did not answer",),
    swept=SWEPT,
)
PROMOTED = history.Promoted(at=PULLED, unavailable=0.25, first=True)
RETURNED = history.Returned(holder=HOLDER, at=NOW, unavailable=0.5)
WAS_LIVE: Mapping[str, Any] = {"database": "signon", "environment": "integration", "until": PULLED}
PROCESS = Process(host="worker-1", pid=4711, namespace="pid:[4026531836]", started="123456")
VIEW = Object(
    kind=MySQLKind.VIEW,
    name="everybody",
    definer="owner@%",
    statement="CREATE VIEW `everybody` AS SELECT 1",
    sql_mode="ANSI_QUOTES",
    character_set="utf8mb4",
    collation="utf8mb4_general_ci",
    time_zone="+01:00",
)
LIVE_STAMP = LiveStamp(
    stamp=STAMP, promoted=MongoPromoted(at=PULLED, first=True, warnings=("a series was emptied",))
)
CONTENTS = Contents(
    environment="staging",
    born_in="production",
    data_time=BORN,
    indices=(
        Held(
            index="govuk-1",
            name="govuk",
            hidden=True,
            replicas=1,
            aliases={"govuk": {"is_write_index": True}},
            documents=60,
            changes=61,
        ),
    ),
    templates=Templates(of={"index": {"govuk": {"index_patterns": ["govuk-*"]}}}),
)
COPIED = Copied(
    index="env-sync-1-govuk",
    name="govuk",
    uuid="u-1",
    documents=60,
    brought=61,
    pipelines={"index.default_pipeline": "dates"},
)
REPLACED = Replaced(index="govuk-0", uuid="u-0", aliases={"govuk": {"is_write_index": True}})

VALUES: Mapping[str, Any] = {
    "started": Started(attempt="5f0c", started=NOW, undo=True),
    "awaited": Awaited(awaited="a dump", waited=60.5, found=STAMP.dump_key, warnings=("not there",)),
    "dumped": Dumped(
        dump_key=STAMP.dump_key,
        size=123_456,
        sha256=STAMP.dump_sha256,
        data_time=BORN,
        born_in="production",
        transformations=(REWRITE,),
        statements=(CHANGED,),
        warnings=("large objects are left out",),
        badge="SANITISED ABOVE",
        reason="nothing in it is personal",
    ),
    "uploaded": Uploaded(attempt="5f0c", dump_key=STAMP.dump_key, size=123_456, pointer_moved=True),
    "downloaded": Downloaded(
        dump_key=STAMP.dump_key,
        timestamp="2026-11-22T010203Z",
        size=123_456,
        sha256=STAMP.dump_sha256,
        source_environment="staging",
        born_in="production",
        data_time=BORN,
        warnings=("an older one has no manifest",),
    ),
    "restored": Restored(
        dump_sha256=STAMP.dump_sha256, warnings=("a role is missing",), closed='{"row": "742"}'
    ),
    "sanitised": Sanitised(
        transformations=(SANITISE, REWRITE),
        badge="SANITISED",
        reason="nothing in it is personal",
        statements=(CHANGED,),
        warnings=("a column is new",),
        closed='{"row": "742"}',
    ),
    "promoted": Promoted(unavailable=0.25, first=True, previous_kept=True, warnings=("a grant is lost",)),
    "live again": LiveAgain(
        unavailable=0.25,
        dump_key=STAMP.dump_key,
        source_environment="staging",
        data_time=BORN,
        advice="doing this once more changes them back",
        warnings=("other transformations",),
        badge="SANITISED ABOVE",
        reason="nothing in it is personal",
    ),
    "bucket synced": BucketSynced(
        said="3 objects copied", size=300, copied=3, deleted=2, same=1, warnings=("the source is empty",)
    ),
    "snapshot": Snapshot(
        dump_key="env-sync-1", size=300, data_time=BORN, born_in="production", indices=2, warnings=("none",)
    ),
    "filled": Filled(
        dump_key="env-sync-1",
        way="by a snapshot",
        size=300,
        data_time=BORN,
        source_environment="staging",
        born_in="production",
        indices=2,
        documents=60,
        warnings=("one is closed",),
    ),
    "skip": Skip(reason="paused by somebody", result=Result.WARNING, quiet=True),
    "spent": Spent(seconds=4.5, parts={"rows": 3.25}),
    "swept": SweptBy(attempt="5f0c", swept=SWEPT),
    "report": REPORT,
    "outbox": _Kept(round=2, report=REPORT, taken=("Icinga(url='https://icinga')",)),
    "pause": Pause(
        by="somebody", why="release 4711", since=moment("2026-11-22 01:00"), until=moment("2026-12-01 09:00")
    ),
    "manifest": MANIFEST,
    "note of a dump": Dump(
        key=STAMP.dump_key,
        file=Path("/work/dump"),
        size=123_456,
        sha256=STAMP.dump_sha256,
        environment="staging",
        data_time=BORN,
        born_in="production",
        parents=(PARENT,),
        transformations=(REWRITE,),
    ),
    "note of a push": MANIFEST,
    "note of a folder": Whose(
        run=HOLDER.run, group=HOLDER.group, environment="integration", attempt="5f0c", made=NOW
    ),
    "stamp": STAMP,
    "lease in a document": Row(
        database="signon",
        holder=HOLDER,
        process=PROCESS,
        taken_at=PULLED,
        expires_at=NOW,
        worker=Worker(token="9d", process=PROCESS, step="restore", until=NOW),
    ),
    "lease of files": FilesRow(
        holder=HOLDER, step="restore", host="worker-1", pid=4711, taken_at=PULLED, expires_at=NOW
    ),
    "comment of PostgreSQL": Comment(
        person="A person's own\ncomment",
        stamp=STAMP,
        promoted=PROMOTED,
        returned=RETURNED,
        was_live=PostgreSQLWasLive(**WAS_LIVE, oid=16_384),
        closed=Closed(row="742", memberships=9, taken_away=4, members=1, database=16_385),
    ),
    "stamp of MySQL": Told(
        stamp=STAMP, promoted=PROMOTED, returned=RETURNED, was_live=MySQLWasLive(**WAS_LIVE, token="9d")
    ),
    "objects of MySQL": [VIEW],
    "journal of MySQL": MySQLPlan(
        holder=HOLDER,
        environment="integration",
        live="signon",
        other="signon__incoming",
        previous="signon__previous",
        token="9d",
        first=True,
        began=NOW,
        undo=True,
        old=(VIEW,),
        new=(VIEW,),
        tables=Tables(old=("people",), new=("people", "notes")),
    ),
    "live stamp of MongoDB": LIVE_STAMP,
    "journal of MongoDB": Journal(
        database="signon",
        live=LIVE_STAMP,
        entries=((1, Definition(name="people", kind=Kind.COLLECTION).to_bson()),),
        doomed=("notes",),
    ),
    "record of files": Record(
        stamp=STAMP, promoted=PROMOTED, returned=RETURNED, was_live=history.WasLive(**WAS_LIVE)
    ),
    "contents of Elasticsearch": CONTENTS,
    "incoming of Elasticsearch": Incoming(
        stamp=STAMP,
        token="9d",
        way="snapshot",
        why="both see the repository",
        snapshot="env-sync-1",
        contents=CONTENTS,
        indices=(COPIED,),
        snapshot_is_whole=True,
        restore_begun=True,
        tasks={"env-sync-1-govuk": "node:1"},
        fetched={"env-sync-1-govuk": 60},
        promoting=True,
        replaced=(REPLACED,),
        warnings=("one is closed",),
    ),
    "live of Elasticsearch": Live(
        stamp=STAMP,
        indices=(COPIED,),
        given=("govuk",),
        previous=("govuk-0",),
        previous_aliases={"govuk-0": {"govuk": {}}},
        leaving=("govuk-00",),
    ),
    "taking of Elasticsearch": Taking(
        holder=HOLDER,
        snapshot="env-sync-1",
        contents=CONTENTS,
        owner=Owner(
            token="9d", sync="pull_signon", environment="integration", run=HOLDER.run, group=HOLDER.group
        ),
    ),
}
"""By the names that the kinds have in `product.py` of the compatibility tests."""


def written() -> dict[str, Any]:
    """The plain form of each."""
    plain: dict[str, Any] = {name: KINDS[name].write(value) for name, value in VALUES.items()}
    return plain


def kept(stored: Any, anew: Any) -> bool:
    """Whether all that was stored is there in what is written anew; there may be more."""
    if isinstance(stored, dict):
        return isinstance(anew, dict) and all(
            name in anew and kept(value, anew[name]) for name, value in stored.items()
        )
    if isinstance(stored, list):
        return (
            isinstance(anew, list)
            and len(stored) == len(anew)
            and all(kept(first, second) for first, second in zip(stored, anew, strict=True))
        )
    if isinstance(stored, str) and isinstance(anew, str) and (json_of := _json_at_end(stored)):
        found = _json_at_end(anew)
        return (
            found is not None
            and found[0] == json_of[0]
            and kept(json.loads(json_of[1]), json.loads(found[1]))
        )
    return bool(stored == anew)


def _json_at_end(text: str) -> tuple[str, str] | None:
    begin = re.search(r'\{\s*"', text)
    return (text[: begin.start()], text[begin.start() :]) if begin else None


if __name__ == "__main__":
    json.dump(written(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
