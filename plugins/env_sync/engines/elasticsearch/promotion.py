"""Promote: incoming becomes live by one request, whoever writes meanwhile; and its end after a kill."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from env_sync.core.errors import (
    AccessRefused,
    ContentRefused,
    EnvSyncError,
    NoRoom,
    PromoteFailed,
    ProofMissing,
    RequestRefused,
    ServerUnreachable,
    WriteBlocked,
)
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import Holder, Promotion
from env_sync.engines.base.proof import AGAIN, check_stamp
from env_sync.engines.elasticsearch.catalogue import Index, count_documents, read_indices, write_templates
from env_sync.engines.elasticsearch.incoming import check_closed
from env_sync.engines.elasticsearch.metadata import (
    Incoming,
    Live,
    Replaced,
    read_record,
    remove_record,
    write_record,
)
from env_sync.engines.elasticsearch.pipelines import given_back
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.swap import (
    Scope,
    Swap,
    Wanted,
    is_live,
    plan_swap,
    wanted_aliases,
)

CHANGED_MEANWHILE = frozenset(
    [
        "aliases_not_found_exception",
        "illegal_argument_exception",
        "index_not_found_exception",
        "invalid_alias_name_exception",
        "resource_not_found_exception",
        "snapshot_in_progress_exception",
    ]
)
"""Kinds of refusals of a swap that mean that what it was planned from is no longer so."""
REFUSALS = (AccessRefused, ContentRefused, NoRoom, RequestRefused, WriteBlocked)
"""How a cluster says that it does not do what was asked."""
FAILURES = (*REFUSALS, ServerUnreachable)
"""The same, and that it did not answer."""
PAUSE = 0.05
IN_TURN = "10s"
"""How long a master may let the swap wait for its turn: not longer than this process waits for its answer."""
GRACE = 1.0
"""Seconds that searches have to end on what was live before it is removed."""


@frozen(kw_only=True)
class Promoting:
    """What a promotion works with. `include` and `exclude` say what it is about; `patience` is seconds."""

    cluster: Cluster
    sync: str
    holder: Holder
    environment: str
    include: Sequence[str]
    exclude: Sequence[str]
    keep_previous: bool
    patience: float
    log: logging.Logger


def promote(
    promoting: Promoting, transformations: Sequence[Transformation], last_look: Callable[[], None]
) -> Promotion:
    """Make incoming live, if it proves that it was sanitised. Raises ProofMissing, PromoteFailed."""
    cluster, sync = promoting.cluster, promoting.sync
    incoming = read_record(cluster, Incoming, sync)
    where = f"Incoming of {sync} on {cluster}"
    if incoming is None:
        live = read_record(cluster, Live, sync)
        if live is not None and live.stamp.holder == promoting.holder:
            check_stamp(
                live.stamp,
                f"Live of {sync} on {cluster}",
                holder=promoting.holder,
                environment=promoting.environment,
                transformations=transformations,
            )
            return Promotion(unavailable=0.0, first=False, previous_kept=bool(live.previous), warnings=())
    check_stamp(
        incoming.stamp if incoming else None,
        where,
        holder=promoting.holder,
        environment=promoting.environment,
        transformations=transformations,
    )
    if incoming is None:
        raise ProofMissing(f"{where} is not there. {AGAIN}")
    _check_indices(cluster, incoming, where)
    last_look()
    # Before the swap, so that one that is refused leaves live as it is.
    write_templates(cluster, incoming.contents.templates)
    incoming = evolve(incoming, promoting=True)
    write_record(cluster, sync, incoming)
    incoming, swap = _swap(promoting, incoming)
    warnings = _finish(promoting, incoming, swap.retired)
    return Promotion(
        unavailable=0.0,
        first=not (swap.retired or swap.removed),
        previous_kept=promoting.keep_previous and bool(swap.retired),
        warnings=(*swap.warnings, *warnings),
    )


def finish_promotion(promoting: Promoting) -> tuple[str, ...] | None:
    """Bring a swap to its end that was made by a process that is gone.

    Gives the warnings; None where there was no such swap. Nothing that the cluster refuses keeps it from its
    end, for until then no step of the sync can be done.
    """
    cluster = promoting.cluster
    incoming = read_record(cluster, Incoming, promoting.sync)
    if incoming is None or not incoming.promoting:
        return None
    standing = read_indices(cluster)
    if not is_live(incoming.indices, standing, wanted_aliases(incoming.indices, incoming.contents)):
        return None
    live = read_record(cluster, Live, promoting.sync)
    before = {each.index for each in live.indices} if live else set()
    bare = {each.index: each.uuid for each in standing if not each.aliases}
    if incoming.replaced is None:
        # As it was written before the record told of them.
        replaced = [Replaced(index=name, uuid=bare[name], aliases={}) for name in sorted(before & set(bare))]
    else:
        replaced = [each for each in incoming.replaced if bare.get(each.index) == each.uuid]
    warnings: list[str] = []
    with _warning(warnings, "a template"):
        write_templates(cluster, incoming.contents.templates)
    return (*warnings, *_finish(promoting, incoming, replaced))


def _check_indices(cluster: Cluster, incoming: Incoming, where: str) -> None:
    """The proof is of just these indices, with just so many documents, which are still closed."""
    there = {each.index: each for each in read_indices(cluster)}
    for each in incoming.indices:
        index = there.get(each.index)
        if index is None or index.uuid != each.uuid:
            raise ProofMissing(f"{where}: {each.name} is not the index that was sanitised. {AGAIN}")
        check_closed(cluster, each, index, "Live is untouched.", shown=incoming.promoting)
        if count_documents(cluster, each.index) != each.documents:
            raise ProofMissing(
                f"{where}: {each.name} has another number of documents than when it was sanitised. {AGAIN}"
            )


def _show(cluster: Cluster, incoming: Incoming) -> None:
    """Let wildcards find what is sanitised, and documents pass pipelines, as on the source.

    Before the swap: whoever reads `*` finds both for a moment, and never neither.
    """
    hidden = {each.name for each in incoming.contents.indices if each.hidden}
    for each in incoming.indices:
        settings: dict[str, Any] = {} if each.name in hidden else {"index.hidden": False}
        settings |= given_back(each.pipelines)
        if settings:
            _set(cluster, each.index, settings)


def _set(cluster: Cluster, index: str, settings: Mapping[str, Any]) -> None:
    """Have an index set so, for example hidden from wildcards; one that is gone needs nothing."""
    try:
        cluster.ask("PUT", f"/{quoted(index)}/_settings", settings, expand_wildcards="all")
    except RequestRefused as refused:
        if refused.status != 404:
            raise


def _swap(promoting: Promoting, incoming: Incoming) -> tuple[Incoming, Swap]:
    """Show incoming, and move the aliases; where that fails, incoming is hidden again. Raises PromoteFailed.

    Looks, plans, and asks for all of it in one request; looks again where something changed meanwhile. The
    record tells, before each request, what that is to take the aliases from.
    """
    cluster = promoting.cluster
    wanted = wanted_aliases(incoming.indices, incoming.contents)
    end = time.monotonic() + promoting.patience
    live = read_record(cluster, Live, promoting.sync)
    asked: Swap | None = None
    try:
        _show(cluster, incoming)
    except FAILURES as problem:
        raise _given_up(cluster, incoming, problem) from None
    while True:
        try:
            standing = read_indices(cluster)
            if asked is not None and is_live(incoming.indices, standing, wanted):
                # The answer to a request was lost, but it was done.
                return incoming, asked
            planned = plan_swap(wanted, standing, _scope(promoting, incoming, live, standing))
            if incoming.replaced != planned.retired:
                incoming = evolve(incoming, replaced=planned.retired)
                write_record(cluster, promoting.sync, incoming)
            asked = planned
            with cluster.uninterrupted():
                cluster.ask("POST", "/_aliases", {"actions": planned.actions}, master_timeout=IN_TURN)
            return incoming, planned
        except FAILURES as problem:
            passing = isinstance(problem, ServerUnreachable) or (
                isinstance(problem, RequestRefused) and problem.kind in CHANGED_MEANWHILE
            )
            if passing and time.monotonic() <= end:
                promoting.log.info("The aliases changed meanwhile; looking again: %s", problem)
                time.sleep(PAUSE)
                continue
            if asked is not None and _was_done(cluster, incoming, wanted, problem):
                return incoming, asked
            raise _given_up(cluster, incoming, problem) from None


def _was_done(cluster: Cluster, incoming: Incoming, wanted: Wanted, problem: EnvSyncError) -> bool:
    """The last look at a swap that was asked for. Raises PromoteFailed where nobody can tell."""
    try:
        with cluster.uninterrupted():
            return is_live(incoming.indices, read_indices(cluster), wanted)
    except FAILURES as unseen:
        raise PromoteFailed(
            f"The aliases were to be moved, and it is not known whether they were: {problem} Nor can it be "
            f"looked at: {unseen} Live is whole, either as it was or as it was to be: whoever works on the "
            "sync next, the report included, looks, and brings the swap to its end if it was made."
        ) from None


def _given_up(cluster: Cluster, incoming: Incoming, problem: EnvSyncError) -> PromoteFailed:
    """The error for a swap that was not made, after incoming was hidden again."""
    warnings: list[str] = []
    with cluster.uninterrupted():
        for each in incoming.indices:
            with _warning(warnings, f"{each.name} of incoming, which was to be hidden again,", FAILURES):
                _set(cluster, each.index, {"index.hidden": True})
    for warning in warnings:
        cluster.log.warning(warning)
    return PromoteFailed(
        f"The aliases could not be moved: {problem} Live is as it was. Look whether a snapshot of these "
        "indices is being taken, or a data stream has the name of one of them."
    )


@contextlib.contextmanager
def _warning(
    warnings: list[str], what: str, kinds: tuple[type[EnvSyncError], ...] = REFUSALS
) -> Iterator[None]:
    """What goes wrong within the block, in one of these ways, becomes a warning."""
    try:
        yield
    except kinds as problem:
        warnings.append(f"{what} was left as it is: {problem}")


def _scope(promoting: Promoting, incoming: Incoming, live: Live | None, standing: Sequence[Index]) -> Scope:
    return Scope(
        include=promoting.include,
        exclude=promoting.exclude,
        names={each.name for each in incoming.indices},
        before=_live_before(live, standing),
        given=live.given if live else None,
    )


def _live_before(live: Live | None, standing: Sequence[Index]) -> set[str]:
    """What this sync made live before, as far as it is still there."""
    uuids = {each.uuid for each in live.indices} if live else set()
    return {each.index for each in standing if each.uuid in uuids}


def _finish(promoting: Promoting, incoming: Incoming, retired: Sequence[Replaced]) -> tuple[str, ...]:
    """Write down what is live, hide previous, and remove what is not kept; gives the warnings."""
    cluster, sync = promoting.cluster, promoting.sync
    before = read_record(cluster, Live, sync)
    warnings: list[str] = []
    with cluster.uninterrupted():
        if before is not None and before.stamp == incoming.stamp:
            live = before
        else:
            with _warning(warnings, "what is live now, which was to be shown to wildcards,"):
                _show(cluster, incoming)
            for each in retired:
                with _warning(warnings, f"{each.index}, which was live and was to be hidden,"):
                    _set(cluster, each.index, {"index.hidden": True})
            old = {*before.previous, *before.leaving} if before else set()
            kept = {each.index: each.aliases for each in retired} if promoting.keep_previous else {}
            live = Live(
                stamp=incoming.stamp,
                indices=incoming.indices,
                given=tuple(sorted(wanted_aliases(incoming.indices, incoming.contents))),
                previous=tuple(kept),
                previous_aliases=kept,
                leaving=tuple(sorted({*old, *(each.index for each in retired)} - set(kept))),
            )
            # From here on whoever comes next knows what is left to be removed.
            write_record(cluster, sync, live)
        left, said = _remove(cluster, live.leaving)
        write_record(cluster, sync, evolve(live, leaving=left))
        remove_record(cluster, Incoming, sync)
    return (*warnings, *said)


def _remove(cluster: Cluster, leaving: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove what was live before; gives what must be removed later, and warnings."""
    if not leaving:
        return (), ()
    time.sleep(GRACE)
    in_use = {each.index for each in read_indices(cluster) if each.aliases}
    left: list[str] = []
    warnings: list[str] = []
    for index in leaving:
        if index in in_use:
            warnings.append(f"{index} was live before, and stays, for aliases were given to it again")
            continue
        before = len(warnings)
        with _warning(warnings, f"{index}, which was live before and was to be removed,", FAILURES):
            cluster.find_and_delete(f"/{quoted(index)}")
        if len(warnings) > before:
            left.append(index)
    return tuple(left), tuple(warnings)
