"""Promote: incoming becomes live by one request, whoever writes meanwhile; and its end after a kill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from env_sync.engines.contract import Holder, Promotion
from env_sync.engines.elasticsearch.catalogue import Index, count_documents, read_indices, write_templates
from env_sync.engines.elasticsearch.cluster import Cluster, quoted
from env_sync.engines.elasticsearch.records import (
    Incoming,
    Live,
    read_record,
    remove_record,
    write_record,
)
from env_sync.engines.elasticsearch.swap import Swap, is_live, plan_swap, wanted_aliases
from env_sync.engines.proof import AGAIN, check_stamp
from env_sync.errors import PromoteFailed, ProofMissing, RequestRefused, ServerUnreachable
from env_sync.manifest import Transformation

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
PAUSE = 0.05
GRACE = 1.0
"""Seconds that searches have to end on what was live before it is removed."""


@frozen(kw_only=True)
class Promoting:
    """What a promotion works with. `patience` is seconds."""

    cluster: Cluster
    sync: str
    holder: Holder
    environment: str
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
    incoming = evolve(incoming, promoting=True)
    write_record(cluster, sync, incoming)
    _show(cluster, incoming)
    first, swap = _swap(promoting, incoming)
    _finish(promoting, incoming, swap.retired)
    return Promotion(
        unavailable=0.0,
        first=first,
        previous_kept=promoting.keep_previous and bool(swap.retired),
        warnings=swap.warnings,
    )


def finish_promotion(promoting: Promoting) -> bool:
    """Bring a swap to its end that was made by a process that is gone; whether there was one."""
    cluster = promoting.cluster
    incoming = read_record(cluster, Incoming, promoting.sync)
    if incoming is None or not incoming.promoting:
        return False
    wanted = wanted_aliases(incoming.indices, incoming.contents)
    standing = read_indices(cluster)
    if not is_live(wanted, standing):
        return False
    live = read_record(cluster, Live, promoting.sync)
    before = {each.index for each in live.indices} if live else set()
    retired = [each.index for each in standing if each.index in before and not each.aliases]
    _finish(promoting, incoming, retired)
    return True


def _check_indices(cluster: Cluster, incoming: Incoming, where: str) -> None:
    """The proof is of just these indices, with just so many documents."""
    there = {each.index: each for each in read_indices(cluster)}
    for each in incoming.indices:
        index = there.get(each.index)
        if index is None or index.uuid != each.uuid:
            raise ProofMissing(f"{where}: {each.name} is not the index that was sanitised. {AGAIN}")
        if count_documents(cluster, each.index) != each.documents:
            raise ProofMissing(
                f"{where}: {each.name} has another number of documents than when it was sanitised. {AGAIN}"
            )


def _show(cluster: Cluster, incoming: Incoming) -> None:
    """Let wildcards find what is sanitised, as they find it on the source.

    Before the swap: whoever reads `*` finds both for a moment, and never neither.
    """
    hidden = {each.name for each in incoming.contents.indices if each.hidden}
    for each in incoming.indices:
        if each.name not in hidden:
            _hide(cluster, each.index, hidden=False)


def _hide(cluster: Cluster, index: str, *, hidden: bool) -> None:
    cluster.ask("PUT", f"/{quoted(index)}/_settings", {"index.hidden": hidden}, expand_wildcards="all")


def _swap(promoting: Promoting, incoming: Incoming) -> tuple[bool, Swap]:
    """Look, plan, and ask for all of it in one request; look again where something changed meanwhile."""
    cluster = promoting.cluster
    wanted = wanted_aliases(incoming.indices, incoming.contents)
    end = time.monotonic() + promoting.patience
    live = read_record(cluster, Live, promoting.sync)
    planned: Swap | None = None
    first = True
    while True:
        standing = read_indices(cluster)
        if is_live(wanted, standing) and planned is not None:
            # The answer to a request was lost, but it was done.
            return first, planned
        planned = plan_swap(wanted, standing, _live_before(live, standing))
        first = not (planned.retired or planned.removed)
        try:
            with cluster.uninterrupted():
                cluster.ask("POST", "/_aliases", {"actions": planned.actions})
            return first, planned
        except (RequestRefused, ServerUnreachable) as problem:
            passing = isinstance(problem, ServerUnreachable) or problem.kind in CHANGED_MEANWHILE
            if not passing or time.monotonic() > end:
                _hide_again(cluster, incoming)
                raise PromoteFailed(
                    f"The aliases could not be moved: {problem} Live is as it was. Look whether a snapshot "
                    "of these indices is being taken, or a data stream has the name of one of them."
                ) from None
            promoting.log.info("The aliases changed meanwhile; looking again: %s", problem)
            time.sleep(PAUSE)


def _hide_again(cluster: Cluster, incoming: Incoming) -> None:
    for each in incoming.indices:
        _hide(cluster, each.index, hidden=True)


def _live_before(live: Live | None, standing: Sequence[Index]) -> set[str]:
    """What this sync made live before, as far as it is still there."""
    uuids = {each.uuid for each in live.indices} if live else set()
    return {each.index for each in standing if each.uuid in uuids}


def _finish(promoting: Promoting, incoming: Incoming, retired: Sequence[str]) -> None:
    """Write down what is live, bring the templates, hide previous, and remove what is not kept."""
    cluster, sync = promoting.cluster, promoting.sync
    before = read_record(cluster, Live, sync)
    with cluster.uninterrupted():
        if before is not None and before.stamp == incoming.stamp:
            live = before
        else:
            _show(cluster, incoming)
            write_templates(cluster, incoming.contents.templates)
            for index in retired:
                _hide(cluster, index, hidden=True)
            old = {*before.previous, *before.leaving} if before else set()
            kept = tuple(retired) if promoting.keep_previous else ()
            live = Live(
                stamp=incoming.stamp,
                indices=incoming.indices,
                previous=kept,
                leaving=tuple({*old, *retired} - set(kept)),
            )
            # From here on whoever comes next knows what is left to be removed.
            write_record(cluster, sync, live)
        if live.leaving:
            time.sleep(GRACE)
        for index in live.leaving:
            cluster.find_and_delete(f"/{quoted(index)}")
        write_record(cluster, sync, evolve(live, leaving=()))
        remove_record(cluster, Incoming, sync)
