"""Settings of an environment and options of a sync: names, types, defaults, and what each is for.

The configuration reference in docs/ is generated from these fields (`doc` in their metadata), so
that it cannot drift from the code.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum

from attrs import Factory, field, frozen

from env_sync.domain.monitors import Monitor

STEPS = (
    "dump",
    "upload",
    "snapshot",
    "download",
    "restore",
    "copy",
    "sanitise",
    "promote",
    "bucket_sync",
    "report",
)
"""The steps of which a time limit can be set."""

DAY = dt.timedelta(days=1)
PRODUCTION = "production"
"""The environment that is protected unless set otherwise."""
BUCKET = "govuk-{environment}-database-backups"
"""The name of a bucket of dumps, unless it is set."""

GO, FAIL = "go", "fail"
"""What a pull does whose wait for tonight's dump is over."""


def _since_midnight(time: dt.time) -> dt.timedelta:
    return dt.timedelta(hours=time.hour, minutes=time.minute)


class IndexesAfterTransformation(StrEnum):
    """Whether plain indexes are built only after the transformation has run."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Sanitise(StrEnum):
    """Whether what comes down into an environment must be sanitised."""

    OPTIONAL = "optional"
    REQUIRED = "required"


@frozen(kw_only=True)
class Window:
    """The part of the day in which syncs are meant to run; may cross midnight."""

    opens: dt.time
    closes: dt.time

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def into(self, time: dt.time) -> dt.timedelta:
        """How long after the opening, by the clock on the wall, a time of day comes next; less than a day."""
        return (_since_midnight(time) - _since_midnight(self.opens)) % DAY

    def holds(self, time: dt.time) -> bool:
        """Whether a time of day lies in it; one that opens and closes at one time is the whole day."""
        return self.into(time) < (self.into(self.closes) or DAY)


@frozen(kw_only=True)
class Options:
    """What can be set for an environment (`govuk_env_sync::<name>`) and again for one sync."""

    keep_previous: bool = field(
        default=True,
        metadata={"doc": "Keep the database that a pull replaced as `<database>__previous`, for undo."},
    )
    start_deadline: dt.timedelta = field(
        default=dt.timedelta(hours=4),
        metadata={"doc": "A scheduled start later than this after its time is skipped with a WARNING."},
    )
    max_dump_age: dt.timedelta = field(
        default=dt.timedelta(hours=24),
        metadata={"doc": "Data older than this, counted from where it was born, is a WARNING."},
    )
    fresh_within: dt.timedelta = field(
        default=dt.timedelta(hours=28),
        metadata={
            "doc": "A sync without success for longer than this is CRITICAL, whether it failed or never ran. "
            "While it is paused, a WARNING."
        },
    )
    wait_for_dump: dt.timedelta | None = field(
        default=None,
        metadata={
            "doc": "How long after its scheduled time a nightly pull waits for tonight's dump of its "
            "database: one that was begun, by its timestamp, when the window of this run had "
            "opened, or later. Whoever pushes before that needs a window here that opens earlier. "
            "Without a duration, a pull takes the newest dump at once; so does every run by hand. "
            "Shorter than `start_deadline`."
        },
    )
    wait_for_dump_then: str = field(
        default=GO,
        metadata={
            "doc": "What a pull does when that wait is over: `go` on with the newest dump there is, as it "
            "would without waiting, with a WARNING; or `fail`, CRITICAL, and leave live as it is."
        },
    )
    min_size_ratio: float = field(
        default=0.5,
        metadata={
            "doc": "A dump smaller than this share of the one before it is not restored, unless it is "
            "asked for by timestamp. For `elasticsearch` the documents behind each alias, and all of them, "
            "are compared with live's, once incoming is filled; a copy has no timestamp: set this lower for "
            "the sync."
        },
    )
    lease_wait: dt.timedelta = field(
        default=dt.timedelta(hours=2),
        metadata={"doc": "How long a sync waits while another one holds the lease on its live database."},
    )
    lease_lifetime: dt.timedelta = field(
        default=dt.timedelta(minutes=30),
        metadata={"doc": "A lease expires once its holder has shown no sign of work for this long."},
    )
    promote_wait: dt.timedelta = field(
        default=dt.timedelta(seconds=30),
        metadata={"doc": "How long promote keeps trying to close live before it gives up and reopens it."},
    )
    retries: int = field(
        default=1, metadata={"doc": "How often a failed step is tried again before the sync fails."}
    )
    retry_delay: dt.timedelta = field(
        default=dt.timedelta(minutes=5), metadata={"doc": "The pause before a failed step is tried again."}
    )
    timeouts: Mapping[str, dt.timedelta] = field(
        default=Factory(
            lambda: {
                **dict.fromkeys(STEPS, dt.timedelta(hours=6)),
                "promote": dt.timedelta(minutes=15),
                "report": dt.timedelta(minutes=15),
            }
        ),
        metadata={"doc": "Time limits by step; those not named keep their default."},
    )
    compression: str = field(
        default="gzip:1",
        metadata={"doc": "How dumps are compressed: `none`, or `gzip:` and a level from 1 to 9."},
    )
    jobs: int = field(
        default=4, metadata={"doc": "How many connections restore one database at the same time."}
    )
    indexes_after_transformation: IndexesAfterTransformation = field(
        default=IndexesAfterTransformation.AUTO,
        metadata={
            "doc": "Whether a pull builds the plain indexes of the tables that the transformation names only "
            "after it, which is faster where it rewrites many rows (`postgresql`). Unique indexes, those of "
            "constraints and those on columns of foreign keys never wait. `auto`: where the transformation "
            "is UPDATE, DELETE, INSERT and TRUNCATE without joins and subqueries, and the database has "
            "neither triggers nor materialised views; those of other tables are then built beside it. "
            "`always`: elsewhere too; what looks rows up by such an index then takes very long."
        },
    )
    copies: int = field(
        default=128, metadata={"doc": "How many objects a bucket sync copies or deletes at the same time."}
    )
    max_delete_ratio: float = field(
        default=0.25,
        metadata={
            "doc": "A bucket sync with `delete` that would delete more than this share of what is in the "
            "destination, or of which the source is empty, deletes nothing and fails. `1` lets it delete "
            "everything."
        },
    )
    snapshots_kept: int | None = field(
        default=None,
        metadata={
            "doc": "How many of its own whole snapshots a sync of `elasticsearch` keeps in the repository; "
            "those that it did not make are never removed. Without a number, all."
        },
    )
    snapshots_max_age: dt.timedelta | None = field(
        default=None,
        metadata={
            "doc": "How old its own snapshots may become before such a sync removes them; the newest whole "
            "one always stays."
        },
    )
    upload_acl: str | None = field(
        default=None,
        metadata={
            "doc": "The canned ACL set on uploaded objects, e.g. `bucket-owner-full-control`, which a bucket "
            "sync sets unless this says otherwise."
        },
    )


@frozen(kw_only=True)
class Settings:
    """The settings of one environment (`govuk_env_sync::<name>`); `options` may be set again per sync."""

    window: Window = field(
        default=Window(opens=dt.time(22), closes=dt.time(8)),
        metadata={
            "doc": "When syncs are meant to run, as `HH:MM-HH:MM`; the nightly run starts when it opens. "
            "Once it has closed, nothing that was due in it is replaced by itself any more."
        },
    )
    timezone: str = field(
        default="UTC", metadata={"doc": "The IANA time zone of the window and of every hour and minute."}
    )
    protected: bool = field(
        default=False,
        metadata={
            "doc": "No scheduled pull may write to a protected environment. True for `production` unless set."
        },
    )
    sanitise: Sanitise = field(
        default=Sanitise.OPTIONAL,
        metadata={
            "doc": "`required`: a pull, copy or bucket sync into this environment is a problem unless it has "
            "a transformation or a [rule that sanitises](#postprocess-govuk_env_syncpostprocess), or says "
            "`transformation_sql_filename: none` with a `reason`; and nothing is pushed of a live whose pull "
            "had none of these. Recommended wherever personal data must not come down.",
        },
    )
    queue: str | None = field(
        default=None,
        metadata={"doc": "The Celery queue of this environment's tasks; Airflow's own default if unset."},
    )
    queues: Mapping[str, str] = field(
        factory=dict, metadata={"doc": "Celery queues by node class, before `queue`."}
    )
    pool_size: int = field(
        default=4, metadata={"doc": "How many syncs may run on one database server at the same time."}
    )
    pool_sizes: Mapping[str, int] = field(
        factory=dict, metadata={"doc": "The same by database server, before `pool_size`."}
    )
    bucket: str = field(
        default=BUCKET,
        metadata={
            "doc": "The name of each environment's bucket of dumps; identifies whose bucket a `url` is."
        },
    )
    before_replacing: tuple[str, ...] = field(
        default=(),
        metadata={
            "doc": "Commands, or URLs that are sent a POST, before a run replaces data: to hold off traffic "
            "replay and load tests. See [board.md](board.md#telling-others)."
        },
    )
    after_replacing: tuple[str, ...] = field(
        default=(), metadata={"doc": "The same when the last sync of that run is over."}
    )
    monitors: tuple[Monitor, ...] = ()
    """Who is told how each sync went; read by monitors_reader.py."""
    options: Options = field(factory=Options, metadata={"doc": ""})

    @property
    def must_sanitise(self) -> bool:
        """Whether what comes down into the environment must be sanitised."""
        return self.sanitise is Sanitise.REQUIRED

    def owner_of(self, bucket: str) -> str | None:
        """The environment whose bucket of dumps this is, by its name; None where the name does not tell."""
        # An environment that has another name for its own may still meet those of the others.
        for pattern in (self.bucket, BUCKET):
            before, mark, after = pattern.partition("{environment}")
            middle = bucket[len(before) : len(bucket) - len(after)]
            if mark and middle and bucket == f"{before}{middle}{after}":
                return middle
        return None

    def bucket_environment(self, bucket: str) -> str:
        """The same; words that say that it is unknown where the name does not tell."""
        return self.owner_of(bucket) or f"unknown (bucket {bucket})"
