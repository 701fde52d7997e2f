"""One environment's night, started by hand: trigger, watch its groups, collect the reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from env_sync.core.serialization import from_plain
from env_sync.domain.report import Report
from env_sync.planning.plan import Plan
from env_sync.planning.request import ALL, read_request
from sandbox.airflow_api import RUN_OVER, TASK_OVER, AirflowApi, ApiRefused
from sandbox.process import SandboxError

LONGEST = 900.0  # seconds
EVERY = 0.5  # seconds between two looks


@frozen(kw_only=True)
class Progress:
    """How far one group is: the steps that are over, and the one that runs, if one does."""

    group: str
    over: int
    steps: int
    step: str
    failed: bool

    @property
    def finished(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.over == self.steps


@frozen(kw_only=True)
class Night:
    """What came of a run: its state and the reports of its groups, in the order of the night."""

    environment: str
    run: str
    state: str
    seconds: float
    reports: tuple[Report, ...]
    unreported: tuple[str, ...]
    """Groups that were asked for and left no report."""


def run_night(api: AirflowApi, plan: Plan, watch: Callable[[Sequence[Progress]], None]) -> Night:
    """Runs everything that is present in an environment, now; `watch` is told how far it is.

    SandboxError where it takes too long.
    """
    dag_id = f"env_sync_{plan.environment}"
    began = time.monotonic()
    asked = {"only": [ALL]}
    run = api.trigger(dag_id, asked)
    while (state := api.run_state(dag_id, run.id)) not in RUN_OVER:
        watch(_progress(plan, api.task_states(dag_id, run.id)))
        if time.monotonic() - began > LONGEST:
            raise SandboxError(
                f"{dag_id} did not end within {LONGEST:g} s; tasks: {api.states(dag_id, run.id)}"
            )
        time.sleep(EVERY)
    watch(_progress(plan, api.task_states(dag_id, run.id)))
    request = read_request(asked, plan)
    found = {
        group.id: _report(api, dag_id, run.id, group.id)
        for group in plan.groups
        if request.asks_for(group, plan)
    }
    return Night(
        environment=plan.environment,
        run=run.id,
        state=state,
        seconds=time.monotonic() - began,
        reports=tuple(report for report in found.values() if report is not None),
        unreported=tuple(group for group, report in found.items() if report is None),
    )


def _progress(plan: Plan, states: Mapping[str, str]) -> list[Progress]:
    """How far each group is, of the states of its tasks."""
    progress = []
    for group in plan.groups:
        steps = [
            (step, states[f"{group.id}.{step}"]) for step in group.steps if f"{group.id}.{step}" in states
        ]
        running = [step for step, state in steps if state in ("running", "deferred", "up_for_retry")]
        progress.append(
            Progress(
                group=group.id,
                over=sum(state in TASK_OVER for _, state in steps),
                steps=len(group.steps),
                step=running[0] if running else "",
                failed=any(state == "failed" for _, state in steps),
            )
        )
    return progress


def _report(api: AirflowApi, dag_id: str, run_id: str, group: str) -> Report | None:
    try:
        return from_plain(Report, api.xcom(dag_id, run_id, f"{group}.report"))
    except ApiRefused:
        return None
