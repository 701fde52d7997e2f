"""Makes one DAG of one plan: a TaskGroup per group of the plan, its steps in a row, its report last."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pendulum
from airflow.sdk import DAG, BaseNotifier, BaseOperator, CronTriggerTimetable, Param, TaskGroup, TriggerRule
from airflow.sdk.definitions.param import ParamsDict
from attrs import asdict, evolve

from env_sync.airflow.operators.announce import AnnounceOperator
from env_sync.airflow.operators.classes import operator_class
from env_sync.airflow.operators.config_problems import ConfigProblemsOperator
from env_sync.airflow.operators.night import NightOperator
from env_sync.airflow.operators.request import RequestOperator
from env_sync.airflow.operators.selection import SelectionOperator
from env_sync.airflow.operators.step import StepOperator
from env_sync.domain.problem import Problem
from env_sync.domain.sanitising import badge_text
from env_sync.domain.sync import BucketSync, Place, Sync
from env_sync.pipeline.announce import Event
from env_sync.planning import timestamps
from env_sync.planning.plan import Group, Plan, in_cell
from env_sync.planning.request import ALL, CONTROL, LONGEST, RAW
from env_sync.planning.schedule import opening_cron

START_DATE = dt.date(2026, 1, 1)
"""In the past, and always the same: with catchup off it starts nothing."""

MOST_SPACES = 20
"""Before and after what is typed into a field."""
WITHOUT_CONTROL: Mapping[str, Any] = {"not": {"type": "string", "pattern": CONTROL.pattern}}
"""Control characters count as spaces in patterns, and `$` lets a line break follow; the run refuses them."""
MOST_ACTIVE_TASKS = 1024
"""Airflow's own 16 would hold up gates; what limits the work is the lease's `pool_size` per server."""


def make_dag_or_problem(plan: Plan) -> DAG:
    """The DAG of one environment or, where it cannot be made, one without syncs that fails and says so.

    Airflow makes every DAG of a file stale where one of them raises: nothing at all would run, anywhere.
    """
    try:
        return make_dag(plan)
    except Exception as error:
        logging.getLogger(__name__).exception("The DAG of %s cannot be made", plan.environment)
        problem = Problem(
            place=Place(plan.environment, 1),
            sync=None,
            read=f"the DAG of {plan.environment} cannot be made: {type(error).__name__}",
            right="the log of the dag-processor says more; until then none of its syncs runs",
        )
        return make_dag(
            evolve(plan, groups=(), left_out=(), waiting=(), undo={}, problems=(*plan.problems, problem))
        )


def make_dag(plan: Plan, *, on_failure: Sequence[BaseNotifier] = ()) -> DAG:
    """The DAG of one environment; `on_failure` are told, by Airflow, of each run that failed."""
    settings = plan.settings
    zone = pendulum.timezone(settings.timezone)
    dag = DAG(
        dag_id=f"env_sync_{plan.environment}",
        dag_display_name=f"Env Sync: {plan.environment}",
        description=f"Syncs the databases of {plan.environment} every night",
        doc_md=plan.as_markdown(),
        schedule=CronTriggerTimetable(opening_cron(settings.window), timezone=zone),
        start_date=pendulum.datetime(START_DATE.year, START_DATE.month, START_DATE.day, tz=zone),
        catchup=False,
        max_active_runs=16,
        max_active_tasks=MOST_ACTIVE_TASKS,
        on_failure_callback=[*on_failure] or None,
        tags=["env_sync", plan.environment, *(["protected"] if settings.protected else [])],
    )
    with dag:
        RequestOperator(task_id="request", plan=plan)
        selection = SelectionOperator(task_id="selection", plan=plan)
        if plan.problems:
            ConfigProblemsOperator(task_id="config_problems", plan=plan)
        night = NightOperator(task_id="night", plan=plan, retries=2, retry_delay=dt.timedelta(seconds=30))
        if settings.before_replacing:
            _follow(_announce(plan, Event.BEGINS), selection)
            # Whoever could not be told does not hold up the night.
            selection.trigger_rule = TriggerRule.ALL_DONE
        tasks = {group.id: _add_group(group, plan) for group in plan.groups}
        for group in plan.groups:
            for before in group.after:
                _follow(tasks[before]["report"], tasks[group.id]["start_gate"])
            if not group.after:
                _follow(selection, tasks[group.id]["start_gate"])
            _follow(tasks[group.id]["report"], night)
        # A group may fail without a failed step: then this task does, and the run with it.
        _make_teardown(night, fails_run=True)
        if settings.after_replacing:
            ends = _announce(plan, Event.ENDS)
            for group in plan.groups:
                _follow(tasks[group.id]["report"], ends)
            _make_teardown(ends)
    for task in dag.tasks:
        if settings.queue and "." not in task.task_id:
            task.queue = settings.queue
    # Set last: a DAG that has params copies them into each task that is made, so that time and size would
    # grow with the square of the number of syncs.
    dag.params = ParamsDict(_params(plan))
    return dag


def _announce(plan: Plan, event: Event) -> AnnounceOperator:
    return AnnounceOperator(
        task_id=event,
        plan=plan,
        event=event,
        retries=2,
        retry_delay=dt.timedelta(seconds=30),
        execution_timeout=dt.timedelta(minutes=5),
    )


def _add_group(group: Group, plan: Plan) -> dict[str, StepOperator]:
    sync, settings = group.sync, plan.settings
    with TaskGroup(group_id=group.id, tooltip=_tooltip(group), doc_md=_group_doc(group)):
        tasks = {
            step: operator_class(sync, step)(task_id=step, group=group, plan=plan, **_limits(group, step))
            for step in group.steps
        }
    if queue := settings.queues.get(sync.node_class, settings.queue):
        for task in tasks.values():
            task.queue = queue
    steps = [tasks[step] for step in group.steps]
    for step, following in itertools.pairwise(steps):
        _follow(step, following)
    # The gate is the setup of the report: clearing one step then clears those two with it.
    tasks["start_gate"].trigger_rule = TriggerRule.ALL_DONE
    tasks["start_gate"].is_setup = True
    _follow(tasks["start_gate"], tasks["report"])
    _make_teardown(tasks["report"])
    return tasks


def _follow(before: BaseOperator, after: BaseOperator) -> None:
    """What `before >> after` does to two tasks of one DAG.

    That operator computes the DAG's hash, of the ids of all its tasks, for each edge: with thousands of
    syncs it is most of the time that making the DAG takes.
    """
    before.downstream_task_ids.add(after.task_id)
    after.upstream_task_ids.add(before.task_id)


def _make_teardown(task: BaseOperator, *, fails_run: bool = False) -> None:
    """A last task that always runs; a run is no success because it is, and fails with it only if told so.

    As a plain leaf it would make a run with failed groups a success; as a teardown with Airflow's own
    rule for those it would not run where the group was skipped.
    """
    task.as_teardown(on_failure_fail_dagrun=fails_run)
    task.trigger_rule = TriggerRule.ALL_DONE


def _limits(group: Group, step: str) -> dict[str, Any]:
    options = group.sync.options
    limits: dict[str, Any] = {"retries": options.retries, "retry_delay": options.retry_delay}
    if step in ("start_gate", "report"):
        limits = {"retries": 2, "retry_delay": dt.timedelta(seconds=30)}
    if step in options.timeouts:
        limits["execution_timeout"] = options.timeouts[step]
    return limits


def _params(plan: Plan) -> dict[str, Param]:
    names = [*plan.names(), ALL]
    # Of what is neither short nor text, each would be compared with each other.
    short_of_texts: dict[str, Any] = {
        "if": {"maxItems": len(names), "items": {"type": "string"}},
        "then": {"uniqueItems": True},
    }
    params = {
        "only": Param(
            [],
            type=["array", "null"],
            title="Syncs to run now",
            description=f"Choose from this environment's syncs, or `{ALL}`. Empty runs nothing.",
            examples=names,
            items={"type": "string", "enum": names},
            maxItems=len(names),
            **short_of_texts,
        ),
        "timestamp": Param(
            None,
            type=["string", "null"],
            title="Timestamp of the dump",
            description="Restore exactly this dump, e.g. 2026-11-23T010000Z; needs exactly one pull in "
            "`only`. `env-sync list` shows what there is. Empty takes the newest.",
            maxLength=timestamps.LONGEST,
            pattern=_either(timestamps.PATTERN),
            **WITHOUT_CONTROL,
        ),
        "ignore_pauses": Param(
            False,
            type="boolean",
            title="Ignore pauses",
            description="Run the chosen syncs even if they are paused.",
        ),
    }
    params["restore_previous"] = _undo(plan)
    params["confirm"] = _confirm(plan)
    return params


def _undo(plan: Plan) -> Param:
    if not plan.undo:
        return _unused()
    return Param(
        None,
        type=["string", "null"],
        title="Make previous live again",
        description="Undo: choose a database, and nothing in `only`. What was live before the last "
        "pull is live again, and what is live now becomes previous. It takes a second.",
        enum=[None, *plan.undo],
    )


def _confirm(plan: Plan) -> Param:
    confirmed = _confirmations(plan)
    if not confirmed:
        return _unused()
    return Param(
        None,
        type=["string", "null"],
        title="Confirm a recovery sync, or an undo",
        description=" ".join(_why_confirmed(plan)),
        maxLength=LONGEST,
        pattern=_either("|".join(map(_literal, confirmed))),
        **WITHOUT_CONTROL,
    )


def _unused() -> Param:
    """A field that this environment has no use for. Forms do not show it, and it takes nothing.

    Were it not declared, Airflow would make a run with whatever stands in it, of any size.
    """
    return Param(None, const=None)


def _either(pattern: str) -> str:
    """The pattern of a field that may be empty. Forms are checked by browsers, all else by Airflow.

    Airflow tries it on texts that are too long as well, so nothing in it may repeat without a bound: spaces
    at the begin and at the end would be tried with each other.
    """
    spaces = rf"\s{{0,{MOST_SPACES}}}"
    return f"^{spaces}({pattern})?{spaces}$"


def _literal(text: str) -> str:
    """A text as the pattern that it alone fits, in Python and in a browser."""
    return re.sub(r"[\\^$.*+?()\[\]{}|/]", lambda special: f"\\{special[0]}", text)


def _confirmations(plan: Plan) -> list[str]:
    """What may have to be typed in `confirm`."""
    groups = {group.id: group.sync for group in plan.groups}
    undone = {groups[group].database for group in plan.undo.values()}
    recovered = {each.database for each in groups.values() if isinstance(each, Sync) and each.recovery}
    names = undone | recovered if recovered else set()
    raw = {RAW.format(name) for name in undone} if plan.settings.must_sanitise else set()
    return sorted(names | raw)


def _why_confirmed(plan: Plan) -> Iterator[str]:
    if plan.settings.protected:
        yield (
            f"Either replaces a database of {plan.environment}, which is protected: type the database's name."
        )
    if plan.settings.must_sanitise:
        yield (
            f"Where previous was not sanitised, and {plan.environment} must sanitise, an undo is refused "
            f"unless this is {RAW.format('<the database>')}."
        )


def _tooltip(group: Group) -> str:
    sync = group.sync
    if isinstance(sync, BucketSync):
        way = f"{sync.source_bucket} to {sync.destination_bucket}"
        what = f"mirror {way} at {group.time:%H:%M}, {sync.ensure}"
    else:
        what = f"{sync.action} {sync.dbms} {sync.database} at {group.time:%H:%M}, {sync.ensure}"
    return "; ".join(filter(None, [what, badge_text(sync)]))


def _group_doc(group: Group) -> str:
    """The configuration of a group in full."""
    sync = group.sync
    values = {
        name: value
        for name, value in asdict(sync, recurse=False).items()
        if name not in ("options", "schedule", "says_none", "says_no_rules")
    }
    values |= {"hour": sync.schedule.hour, "minute": sync.schedule.minute}
    values |= asdict(sync.options, recurse=False)
    rows = [f"| {name} | {_shown(value)} |" for name, value in values.items() if value not in (None, "", ())]
    badge = [f"**{in_cell(text)}**", ""] if (text := badge_text(sync)) else []
    return "\n".join([*badge, f"Configured at `{sync.place}`", "", "| Field | Value |", "|---|---|", *rows])


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        text = ", ".join(map(str, value))
    elif isinstance(value, Mapping):
        text = ", ".join(f"{name} {item}" for name, item in value.items())
    else:
        text = str(value)
    return in_cell(text)
