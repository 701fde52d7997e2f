"""The report of a sync: how it went, for people and for the monitoring; and the table of a night."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from env_sync.core.plural import plural
from env_sync.core.serialization import from_plain
from env_sync.core.stopwatch import Spent
from env_sync.domain.changed_rows import Changed
from env_sync.domain.leftovers import Swept
from env_sync.domain.sanitising import Badge, told

MEGABYTE = 1_000_000
SHOWN = 3
"""How many statements a line tells the rows of; the report's own text tells all."""
SUCCESS = "success"
BY_HAND = (
    "it was marked by hand, or only steps before it were run again: clear the group to run it as a whole"
)


class Result(StrEnum):
    """How a sync went, in the words of the monitoring."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


_WRITING = {"pull": "pulled", "copy": "copied"}
"""The actions that replace live, and what is said when they have."""
GRAVITY = {Result.OK: 0, Result.WARNING: 1, Result.CRITICAL: 2}


@frozen(kw_only=True)
class Skip:
    """Why a start gate let nothing through. `quiet`: it was not asked for in this run."""

    reason: str
    result: Result = Result.OK
    quiet: bool = False


@frozen(kw_only=True)
class Report:
    """One group of one run, reported once. Times are UTC; sizes are bytes; lengths of time are seconds."""

    environment: str
    sync: str
    group: str
    run: str
    action: str
    database: str
    result: Result
    what: str
    """What happened, in one line."""
    why: tuple[str, ...]
    """The reasons, the most important first: a failed step's error, warnings, what was put right."""
    skipped: bool
    quiet: bool
    seconds: float | None
    bytes: int | None
    dump_key: str | None
    source_environment: str | None
    data_time: dt.datetime | None
    unavailable: float | None
    awaited: str | None
    """The dump for which a pull waited, in words."""
    waited: float | None
    reported: dt.datetime
    spent: Mapping[str, Spent] = field(factory=dict)
    """Where the time went, by step."""
    transformations: tuple[str, ...] = ()
    """The names of what ran: on incoming, or before the dump."""
    statements: tuple[str, ...] = ()
    """What each statement of these changed, e.g. `sanitise.sql:12 UPDATE users: 4,000 rows`."""
    undo: bool = False
    """Whether the run was to make previous live again."""
    replaced: bool | None = None
    """Whether live is another database than before; None where nobody could look, or looked then."""
    badge: str = ""
    """Whether the data is sanitised, here or above; "" where that is not known."""
    reason: str = ""
    """Why it had not to be, where that was said."""
    unsent: tuple[str, ...] = ()
    """Which monitors did not accept this report, each with why. It changes nothing about the result."""
    swept: Swept | None = None
    """What the group's steps found that ended attempts had left on their workers; None where nothing was."""

    def line(self) -> str:
        """The report as one line of a log."""
        parts = [f"{self.result}: {self.environment} {self.group}: {self.what}"]
        if self.why:
            parts.append("; ".join(self.why))
        parts += self.figures()
        return " | ".join(parts)

    def figures(self) -> list[str]:
        """The numbers that there are, in words."""
        figures = []
        if self.seconds is not None:
            figures.append(f"{self.seconds:.0f} s")
        if self.waited is not None:
            figures.append(f"before that {self.waited:.0f} s of waiting for {self.awaited}")
        if self.bytes is not None:
            figures.append(f"{self.bytes / MEGABYTE:.1f} MB")
        if self.dump_key is not None:
            figures.append(f"dump {self.dump_key}")
        if self.data_time is not None:
            figures.append(
                f"data of {self.data_time:%Y-%m-%d %H:%M} UTC ({_age(self.reported - self.data_time)} old)"
            )
        if self.badge not in ("", Badge.SANITISED):
            figures.append(told(self.badge, self.reason))
        if self.transformations:
            figures.append(f"transformed by {', '.join(self.transformations)}")
        if self.statements:
            more = len(self.statements) - SHOWN
            shown = [*self.statements[:SHOWN], *([plural(more, "more statement")] if more > 0 else [])]
            figures.append(f"rows: {', '.join(shown)}")
        if self.unavailable is not None:
            figures.append(f"live unavailable for {self.unavailable:.2f} s")
        if self.spent:
            went = ", ".join(f"{step} {spent}" for step, spent in self.spent.items())
            figures.append(f"where the time went: {went}")
        if self.swept and self.swept.removed:
            figures.append(str(self.swept))
        figures += self.unsent
        return figures


@frozen(kw_only=True)
class Outcome:
    """What is known at the end of a group: the states of its steps and what they left.

    `states`: step -> Airflow's state of its task. `results`: step -> the small result that it gave.
    `errors`: step -> the message it failed with. `spent`: step -> how long it took. `promoted`: whether
    live itself says that this attempt replaced it; None where nobody could look. `notes`: what the last
    step itself put right; `failures`: what it could not. `undo`: the run was to make previous live again.
    `swept`: what its steps found that others had left on their workers.
    """

    states: Mapping[str, str | None]
    results: Mapping[str, Mapping[str, Any]]
    errors: Mapping[str, str]
    skip: Skip | None
    started: dt.datetime | None
    spent: Mapping[str, Spent] = field(factory=dict)
    promoted: bool | None = None
    notes: Sequence[str] = ()
    failures: Sequence[str] = ()
    undo: bool = False
    swept: Swept = field(factory=Swept)


def make_report(
    *,
    environment: str,
    sync: str,
    group: str,
    run: str,
    action: str,
    database: str,
    max_dump_age: dt.timedelta,
    outcome: Outcome,
    now: dt.datetime,
) -> Report:
    """Judge a group by what is known at its end. Pure."""
    facts: dict[str, Any] = {}
    for left in outcome.results.values():
        facts.update({name: value for name, value in left.items() if value is not None})
    data_time = _moment(facts.get("data_time"))
    # What several steps saw is told once.
    warnings = list(
        dict.fromkeys(str(each) for left in outcome.results.values() for each in left.get("warnings", ()))
    )
    result, what, why = _judge(action, outcome)
    if not outcome.skip and result is not Result.CRITICAL:
        # Whoever makes previous live again wants the older data.
        if data_time is not None and now - data_time > max_dump_age and not outcome.undo:
            warnings.insert(
                0,
                f"the data is {_age(now - data_time)} old (limit {_age(max_dump_age)}); it was read in "
                f"{facts.get('born_in', 'an unknown environment')} at {data_time:%Y-%m-%d %H:%M} UTC and "
                f"{'came in' if action in _WRITING else 'went into'} {facts.get('dump_key', 'this dump')}: "
                f"look at the {'push' if action in _WRITING else 'pull'} that should have refreshed it",
            )
        if warnings or outcome.notes:
            result = Result.WARNING
    why = [*why, *warnings, *outcome.notes, *outcome.swept.left]
    if outcome.swept.left and result is Result.OK:
        result = Result.WARNING
    if outcome.failures:
        result, why = Result.CRITICAL, [*outcome.failures, *why]
    return Report(
        environment=environment,
        sync=sync,
        group=group,
        run=run,
        action=action,
        database=database,
        result=result,
        what=what,
        why=tuple(why),
        skipped=outcome.skip is not None,
        quiet=bool(outcome.skip and outcome.skip.quiet),
        seconds=(now - outcome.started).total_seconds() if outcome.started else None,
        bytes=facts.get("size"),
        dump_key=facts.get("dump_key"),
        source_environment=facts.get("source_environment"),
        data_time=data_time,
        unavailable=facts.get("unavailable"),
        awaited=facts.get("awaited"),
        waited=facts.get("waited"),
        reported=now,
        spent=outcome.spent,
        transformations=tuple(one["name"] for one in facts.get("transformations", ())),
        badge=str(facts.get("badge", "")),
        reason=str(facts.get("reason", "")),
        statements=tuple(str(from_plain(Changed, one)) for one in facts.get("statements", ())),
        undo=outcome.undo,
        replaced=_replaced(action, outcome, result),
        swept=outcome.swept or None,
    )


def _replaced(action: str, outcome: Outcome, result: Result) -> bool | None:
    """Whether a group made live another database: what live says of itself outweighs all else."""
    if action not in _WRITING or outcome.skip:
        return False
    if outcome.promoted is not None:
        return outcome.promoted
    promote = outcome.states.get("promote")
    if promote == SUCCESS and result is not Result.CRITICAL:
        return True
    return None if promote in (SUCCESS, "failed") else False


def _judge(action: str, outcome: Outcome) -> tuple[Result, str, list[str]]:
    if outcome.skip:
        return outcome.skip.result, "skipped", [outcome.skip.reason]
    unfinished = [step for step, state in outcome.states.items() if state != SUCCESS]
    if not unfinished:
        # The step that the group has done its work with.
        last = list(outcome.states)[-1]
        if last not in outcome.results:
            return (
                Result.CRITICAL,
                f"{last} is marked successful but left no result of this attempt",
                [BY_HAND],
            )
        if action in _WRITING and outcome.promoted is False:
            return Result.CRITICAL, "promote is marked successful but live is not this attempt's", [BY_HAND]
        if outcome.undo:
            return Result.OK, "previous is live again", [str(outcome.results[last]["advice"])]
        if action == "bucket_sync":
            return Result.OK, f"mirrored: {outcome.results[last]['said']}", []
        return Result.OK, f"{_WRITING[action]} and promoted" if action in _WRITING else "pushed", []
    step = next((step for step in unfinished if outcome.states[step] == "failed"), unfinished[0])
    error = outcome.errors.get(step)
    if error is None:
        error = (
            f"{step} is {outcome.states[step] or 'not run'} and left no message: it was killed, timed out "
            "or marked by hand; its log says more. Clear the group to run it again"
        )
    return Result.CRITICAL, f"{step} failed, {_left_behind(action, step, outcome)}", [error]


def _left_behind(action: str, step: str, outcome: Outcome) -> str:
    """What a group that failed at a step left."""
    if action == "bucket_sync":
        return "the destination may be partly mirrored; a rerun continues from there"
    if action == "push" and "snapshot" in outcome.states:
        return "there may be an incomplete snapshot, which pulls ignore"
    if action == "push":
        # Killed at its end, upload may have moved the pointer.
        return "the dump may be in the bucket" if step == "upload" else "no dump was uploaded"
    if outcome.promoted:
        # Killed after the swap: what live says of itself outweighs the state of a task.
        return "live is what previous was" if outcome.undo else "live holds the new, sanitised data"
    if step == "promote" and outcome.promoted is None:
        return "whether live was replaced is unknown"
    return "live was not replaced"


def night_table(reports: Iterable[Report], *, not_asked_for: int = 0) -> str:
    """The table of a night: the worst first, then by sync; those not asked for are only counted.

    `not_asked_for` counts those that left no report since the run was not about them.
    """
    everything = list(reports)
    shown = sorted(
        (report for report in everything if not report.quiet or report.result is not Result.OK),
        key=lambda report: (-GRAVITY[report.result], report.group),
    )
    quiet = len(everything) - len(shown) + not_asked_for
    counts = ", ".join(
        f"{sum(report.result is result for report in shown)} {result}" for result in reversed(list(Result))
    )
    lines = [f"{counts}{f'; {quiet} not asked for' if quiet else ''}"]
    rows = [("RESULT", "GROUP", "WHAT", "WAITED", "SECONDS", "MB", "DATA OF (UTC)", "UNAVAILABLE", "WHY")]
    rows += [
        (
            str(report.result),
            report.group,
            report.what,
            "" if report.waited is None else f"{report.waited:.0f} s",
            "" if report.seconds is None else f"{report.seconds:.0f}",
            "" if report.bytes is None else f"{report.bytes / MEGABYTE:.1f}",
            "" if report.data_time is None else f"{report.data_time:%Y-%m-%d %H:%M}",
            "" if report.unavailable is None else f"{report.unavailable:.2f} s",
            "; ".join((*report.why, *report.unsent)),
        )
        for report in shown
    ]
    if not shown:
        return lines[0] + "\nNothing ran."
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines += [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _moment(value: object) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value).astimezone(dt.UTC) if isinstance(value, str) else None


def _age(length: dt.timedelta) -> str:
    hours = length.total_seconds() / 3600
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"
