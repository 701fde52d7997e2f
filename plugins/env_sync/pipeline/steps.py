"""The table of steps: what each does, what it reads of those before it, what Airflow calls it.

`planning/plan.py` says which of them a group has, and in which order. The report, with which every group
ends, is none of them: it reads what became of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from env_sync.core.errors import EnvSyncError
from env_sync.domain.sync import Action, AnySync
from env_sync.pipeline.download import download
from env_sync.pipeline.dump import dump
from env_sync.pipeline.indices import fill_incoming, sanitise_indices, take_snapshot
from env_sync.pipeline.polling import wait_here
from env_sync.pipeline.promote import make_live
from env_sync.pipeline.restore import restore
from env_sync.pipeline.results import BucketSynced, Downloaded, Dumped, Restored, Sanitised
from env_sync.pipeline.sanitise import sanitise
from env_sync.pipeline.session import Session
from env_sync.pipeline.upload import upload


@frozen(kw_only=True)
class Reads:
    """A result of an earlier step that a step is given, of this kind."""

    step: str
    kind: type[Any]
    needed: bool = True
    """Whether nothing is done without it; else the step is given None."""


@frozen(kw_only=True)
class Step:
    """One step of a group. `work` is given the session, then what it `reads`, in that order."""

    name: str
    work: Callable[..., object]
    operator: str
    """The name of the class of its operator, by which Airflow's pages and metrics go."""
    reads: tuple[Reads, ...] = ()
    waits: bool = False
    """Whether a cluster does it: `work` begins it, or looks how far it is, and gives Waiting meanwhile."""

    def do(self, session: Session, left: Callable[[Reads], object | None]) -> object:
        """Do it, or look how far it is; `left` gives what an earlier step left, None where that is nothing.

        Raises EnvSyncError, with nothing done, where a result that is needed is not there.
        """
        return self.work(session, *(_needed(reads, left(reads)) for reads in self.reads))


def _needed(reads: Reads, result: object | None) -> object | None:
    if result is None and reads.needed:
        raise EnvSyncError(
            f"{reads.step} left no result (it was marked by hand?), so nothing is done. Clear {reads.step} "
            "to run it."
        )
    return result


def _take_lease(session: Session) -> None:
    """At once: whoever has to wait for it, as a task does, asks again."""
    if session.group.sync.action is Action.BUCKET_SYNC:
        return
    settings = session.settings
    session.engine.check_startable(undo=session.request.restore_previous is not None)
    session.engine.take_lease(at_most=settings.pool_sizes.get(session.sync.server, settings.pool_size))


def _mirror(session: Session) -> BucketSynced:
    # boto3 is imported by this step, not by every task that reads the DAG file.
    from env_sync.pipeline.bucket_sync import bucket_sync

    return bucket_sync(session)


STEPS: tuple[Step, ...] = (
    Step(name="start_gate", work=_take_lease, operator="StartGateOperator"),
    Step(name="dump", work=dump, operator="DumpOperator"),
    Step(
        name="upload",
        work=upload,
        operator="UploadOperator",
        reads=(Reads(step="dump", kind=Dumped),),
    ),
    Step(name="download", work=download, operator="DownloadOperator"),
    Step(
        name="restore",
        work=restore,
        operator="RestoreOperator",
        reads=(Reads(step="download", kind=Downloaded),),
    ),
    Step(
        name="sanitise",
        work=sanitise,
        operator="SanitiseOperator",
        reads=(
            Reads(step="download", kind=Downloaded),
            Reads(step="restore", kind=Restored, needed=False),
        ),
    ),
    Step(
        name="promote",
        work=make_live,
        operator="PromoteOperator",
        reads=(Reads(step="sanitise", kind=Sanitised, needed=False),),
    ),
    Step(name="bucket_sync", work=_mirror, operator="BucketSyncOperator"),
    Step(name="snapshot", work=take_snapshot, operator="SnapshotOperator", waits=True),
    Step(name="restore", work=fill_incoming, operator="FillOperator", waits=True),
    Step(name="copy", work=fill_incoming, operator="FillOperator", waits=True),
    Step(name="sanitise", work=sanitise_indices, operator="SanitiseIndicesOperator", waits=True),
)
"""Where two have a name, a cluster has the one that waits for it."""


def step_of(sync: AnySync, name: str) -> Step:
    """The step of this name of a sync's groups. Raises KeyError for one that is not in the table."""
    found = {step.waits: step for step in STEPS if step.name == name}
    return found.get(sync.is_cluster) or found[False]


def do_here(step: Step, session: Session, results: Mapping[str, Any]) -> object:
    """Do a step in this process, to its end; `results` are those of the steps before it, by their names.

    Raises what the step does, and Cancelled.
    """

    def once() -> object:
        return step.do(session, lambda reads: results.get(reads.step))

    return wait_here(session, step.name, once) if step.waits else once()
