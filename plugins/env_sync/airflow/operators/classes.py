"""Which class of operator does a step."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping

from env_sync.airflow.operators.report import ReportOperator
from env_sync.airflow.operators.start_gate import StartGateOperator
from env_sync.airflow.operators.step import StepOperator
from env_sync.airflow.operators.waiting import WaitingOperator
from env_sync.domain.sync import AnySync
from env_sync.pipeline.steps import Step, step_of

PECULIAR: Mapping[str, type[StepOperator]] = {"start_gate": StartGateOperator, "report": ReportOperator}
"""Those that do more than the table of steps says."""


def operator_class(sync: AnySync, name: str) -> type[StepOperator]:
    """The class of operator for a step of a sync's groups. Raises KeyError for a step that none has."""
    return PECULIAR.get(name) or _named(step_of(sync, name))


@functools.cache
def _named(step: Step) -> type[StepOperator]:
    """A class that adds a name and nothing else: Airflow's pages and metrics go by the names of classes."""
    base = WaitingOperator if step.waits else StepOperator
    return types.new_class(
        step.operator,
        (base,),
        exec_body=lambda body: body.update(__module__=base.__module__, __doc__=base.__doc__),
    )
