"""How one sync is: its last report, its freshness, what its database holds, when it starts next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from env_sync.domain.freshness import Freshness, judge_freshness
from env_sync.domain.report import GRAVITY, Report, Result
from env_sync.domain.sanitising import badge_of
from env_sync.domain.sync import Ensure, Sync
from env_sync.planning.plan import Group
from env_sync.planning.schedule import due, next_opening
from env_sync.status.rows import RUN_OVER, RunRow, Summary
from env_sync.status.seen import USUAL_NIGHTS, Seen
from env_sync.status.values import Attempt, Holding, PastNight, Phase, SyncStatus

LOST = "no report: its task was killed or marked by hand; see its log, and clear the group to run it again"


def sync_status(seen: Seen, groups: Sequence[Group], attempts: Sequence[Attempt]) -> SyncStatus:
    """The status of the sync of these groups; `attempts` are those of all groups."""
    sync, now = groups[0].sync, seen.now
    ids = {group.id for group in groups}
    own = [each for each in attempts if each.group in ids]
    past = sorted(
        (each for group in ids for each in seen.past.get(group, ())),
        key=lambda each: each.reported,
        reverse=True,
    )
    pause = seen.rows.pauses.get(sync.name)
    freshness = judge_freshness(
        limit=sync.options.fresh_within,
        last_success=next((each.reported for each in past if each.success), None),
        disabled=sync.ensure is not Ensure.PRESENT,
        pause=pause,
        now=now,
    )
    last = seen.reports.get((past[0].run, past[0].group)) if past else None
    result, why = _judge(last, freshness, own)
    return SyncStatus(
        environment=sync.environment,
        sync=sync.name,
        groups=tuple(group.id for group in groups),
        action=sync.action,
        dbms=sync.dbms if isinstance(sync, Sync) else "",
        server=sync.server,
        database=sync.database,
        source=f"{sync.url}/{sync.path}" if isinstance(sync, Sync) else sync.source_bucket,
        enabled=sync.ensure is Ensure.PRESENT,
        recovery=isinstance(sync, Sync) and sync.recovery,
        undo=next((name for name, group in seen.plan.undo.items() if group in ids), None),
        result=result,
        why=why,
        freshness=freshness,
        now=_at_work(own),
        last=last,
        last_run=past[0].run if past else None,
        holding=_holding(seen.reports, past),
        next_start=_next_start(seen, groups, own),
        pause=pause if pause is not None and pause.active(now) else None,
        past=_past_nights(seen, ids),
        badge=badge_of(sync) or "",
        reason=sync.reason if sync.none_said else "",
    )


def _judge(
    last: Report | None, freshness: Freshness, attempts: Sequence[Attempt]
) -> tuple[Result, tuple[str, ...]]:
    reasons: list[tuple[Result, str]] = [(freshness.result, freshness.what)]
    if last is not None:
        reasons += [(last.result, "; ".join((last.what, *last.why)))]
    reasons += [(Result.CRITICAL, LOST) for each in attempts if each.phase is Phase.LOST]
    reasons = [reason for reason in reasons if reason[0] is not Result.OK]
    reasons.sort(key=lambda reason: -GRAVITY[reason[0]])
    return (reasons[0][0] if reasons else Result.OK), tuple(text for _, text in reasons)


def _next_start(seen: Seen, groups: Sequence[Group], attempts: Sequence[Attempt]) -> dt.datetime | None:
    """When the sync is due next; None where nothing starts it."""
    if seen.rows.switched_off is not False:
        return None
    settings = seen.settings
    scheduled = [group for group in groups if not group.by_hand_only]
    over = {each.group for each in attempts if each.nightly and each.phase is Phase.OVER}
    starts = []
    if seen.night is not None and seen.night.state not in RUN_OVER:
        starts += [seen.planned(group) for group in scheduled if group.id not in over]
    opens = next_opening(seen.now, settings.window, settings.timezone)
    starts += [due(opens, group.time, settings.window, settings.timezone) for group in scheduled]
    return min((start for start in starts if start > seen.now), default=None)


def _at_work(attempts: Sequence[Attempt]) -> Attempt | None:
    for phase in (Phase.RUNNING, Phase.WAITING):
        found = [each for each in attempts if each.phase is phase]
        if found:
            return found[-1]
    return None


def _holding(reports: Mapping[tuple[str, str], Report], past: Sequence[Summary]) -> Holding | None:
    for each in past:
        if not each.replaced or (report := reports.get((each.run, each.group))) is None:
            continue
        return Holding(
            dump_key=report.dump_key,
            source_environment=report.source_environment,
            data_time=report.data_time,
            transformations=report.transformations,
            since=report.reported,
            undo=report.undo,
            badge=report.badge,
            reason=report.reason,
        )
    return None


def _past_nights(seen: Seen, groups: set[str]) -> tuple[PastNight, ...]:
    nightly = sorted((run for run in seen.rows.runs if run.nightly), key=_run_after)
    past = []
    for night in nightly[-USUAL_NIGHTS:]:
        keys = [(night.run, group) for group in groups]
        found = [seen.summaries[key] for key in keys if key in seen.summaries]
        worst = max(found, key=lambda each: GRAVITY[each.result], default=None)
        past.append(
            PastNight(
                night=night.run_after,
                result=worst.result if worst is not None else None,
                skipped=worst is not None and worst.skipped,
            )
        )
    return tuple(past)


def _run_after(run: RunRow) -> dt.datetime:
    return run.run_after
