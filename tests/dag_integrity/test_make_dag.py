"""The DAG of a plan, as the scheduler sees it: after it was serialised and read again."""

from __future__ import annotations

import datetime as dt
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk.exceptions import DuplicateTaskIdFound, ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from attrs import evolve

from env_sync.airflow.dag_factory import make_dag
from env_sync.config.rules import RESERVED_NAMES
from env_sync.domain.problem import Problem
from env_sync.domain.settings import Options, Sanitise, Window
from env_sync.domain.sync import Action, Ensure, Place
from env_sync.planning.plan import Plan
from env_sync.planning.request import FIELDS
from tests.unit.values import SQL, a_bucket_sync, a_plan, a_push, a_recovery, a_sync

ROOT = Path(__file__).resolve().parents[2]


def as_scheduled(plan: Plan) -> Any:
    return DagSerialization.from_dict(DagSerialization.to_dict(make_dag(plan)))


def the_plan() -> Plan:
    return a_plan(
        a_push("push_early", "00:00"),
        a_sync("pull_signon", "03:00", "05:00"),
        a_sync("gone", ensure=Ensure.ABSENT, database="gone"),
        a_sync("by_hand", "04:00", ensure=Ensure.DISABLED, database="by_hand", node_class="mongo"),
        a_sync("apart", "04:00", database="apart", after=("pull_signon",)),
    )


@pytest.fixture(scope="module")
def dag() -> Any:
    return as_scheduled(the_plan())


def test_no_sync_may_have_the_name_of_a_task_beside_the_groups() -> None:
    problem = Problem(place=Place("integration.yaml", 3), sync="x", read="hour 25", right="0 to 23")
    plan = a_plan(a_sync(), before_replacing=("pause",), after_replacing=("resume",))
    everything = evolve(plan, problems=(problem,))
    beside = {task.task_id for task in make_dag(everything).tasks if "." not in task.task_id}
    assert beside == set(RESERVED_NAMES)


def test_a_dag_that_cannot_be_made_takes_no_other_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow would take an error of the file for one of all its DAGs."""
    plans = {
        "integration": a_plan(a_sync("night"), undoable := a_sync("pull_signon", "05:00")),
        "staging": a_plan(undoable, environment="staging"),
    }
    with pytest.raises(DuplicateTaskIdFound):
        make_dag(plans["integration"])
    monkeypatch.setattr("env_sync.planning.installation.chosen_environments", lambda: tuple(plans))
    monkeypatch.setattr("env_sync.planning.installation.read_plan", plans.__getitem__)
    made = runpy.run_path(str(ROOT / "dags" / "env_sync.py"))
    assert "pull_signon.promote" in made["env_sync_staging"].task_dict
    broken = made["env_sync_integration"]
    assert set(broken.task_dict) == {"request", "selection", "night", "config_problems"}
    assert "the DAG of integration cannot be made: DuplicateTaskIdFound" in broken.doc_md
    DagSerialization.from_dict(DagSerialization.to_dict(broken))


def test_what_decides_the_state_of_a_run(dag: Any) -> None:
    """Asked of Airflow itself, which looks at these tasks alone when all are done."""
    of_a_run: Any = DagRun._tis_for_dagrun_state
    every = [of_a_run(None, dag=dag, tis={_Task(task.task_id)}) for task in dag.tasks]
    deciding = {task.task_id for found in every for task in found}
    assert deciding == {
        "request",
        "night",
        "push_early.upload",
        "pull_signon__0300.promote",
        "pull_signon__0500.promote",
        "by_hand.promote",
        "apart.promote",
    }


class _Task:
    state = "success"

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id


def test_the_edges(dag: Any) -> None:
    upstream = {task.task_id: task.upstream_task_ids for task in dag.tasks}
    assert upstream["pull_signon__0300.start_gate"] == {"push_early.report"}
    assert upstream["pull_signon__0500.start_gate"] == {"pull_signon__0300.report"}
    assert upstream["apart.start_gate"] == {"pull_signon__0300.report", "pull_signon__0500.report"}
    assert upstream["by_hand.start_gate"] == upstream["push_early.start_gate"] == {"selection"}
    assert upstream["pull_signon__0300.report"] == {
        "pull_signon__0300.promote",
        "pull_signon__0300.start_gate",
    }
    assert upstream["night"] == {name for name in upstream if name.endswith(".report")}
    assert upstream["request"] == upstream["selection"] == set()


def test_clearing_one_step_takes_its_gate_and_report_along_and_no_other_group(dag: Any) -> None:
    cleared = dag.partial_subset(
        task_ids=["pull_signon__0300.restore"], include_upstream=False, include_downstream=False
    )
    assert set(cleared.task_dict) == {
        "pull_signon__0300.start_gate",
        "pull_signon__0300.restore",
        "pull_signon__0300.report",
    }


def test_absent_is_not_there_and_disabled_is(dag: Any) -> None:
    groups = {name for name in dag.task_group.get_task_group_dict() if name}
    assert groups == {"push_early", "pull_signon__0300", "pull_signon__0500", "by_hand", "apart"}


def test_the_night_begins_when_the_window_opens() -> None:
    dag = as_scheduled(
        a_plan(a_sync(), window=Window(opens=dt.time(21, 30), closes=dt.time(6)), timezone="Europe/London")
    )
    assert dag.timetable.summary == "30 21 * * *"
    assert str(dag.timetable._timezone.name) == "Europe/London"
    assert not dag.catchup
    assert dag.max_active_runs == 16


@pytest.mark.parametrize(
    ("only", "right"),
    [
        ([], True),
        (None, True),
        (["pull_signon"], True),
        (["all"], True),
        (["pull_signon", "push_early"], True),
        (["pull_sigon"], False),
        (["gone"], False),
        (["pull_signon__0300"], False),
        (["pull_signon", "pull_signon"], False),
        ("pull_signon", False),
        ([5], False),
    ],
)
def test_the_trigger_form_refuses_what_is_no_sync(dag: Any, only: object, right: bool) -> None:
    params = dag.params.deep_merge({"only": only})
    if right:
        params.validate()
    else:
        with pytest.raises(ParamValidationError):
            params.validate()


@pytest.mark.parametrize(
    ("name", "value"), [("timestamp", 5), ("ignore_pauses", "yes"), ("ignore_pauses", None)]
)
def test_so_it_does_for_the_other_fields(dag: Any, name: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.deep_merge({name: value}).validate()


PRODUCTION = a_plan(a_recovery(database="sign-on (1)"), environment="production", protected=True)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("timestamp", None, True),
        ("timestamp", "", True),
        ("timestamp", "2026-11-23T010000Z", True),
        ("timestamp", " 2026-11-23T010000Z ", True),
        ("timestamp", "2026-11-23T01:00:00", True),
        ("timestamp", "2026-11-23T01:00:00+01:00", True),
        ("timestamp", "../../x", False),
        ("timestamp", "\x00", False),
        ("timestamp", "2026-11-23T010000Z\x00", False),
        ("timestamp", "2026-13-23T010000Z", False),
        ("timestamp", "2026-11-23T010000Z/../x", False),
        ("timestamp", " " * 100, False),
        ("confirm", None, True),
        ("confirm", "", True),
        ("confirm", "sign-on (1)", True),
        ("confirm", " sign-on (1) ", True),
        ("confirm", "sign-on 1", False),
        ("confirm", "../../x", False),
        ("confirm", "\x00", False),
        ("confirm", "sign-on (1)\x00", False),
        ("confirm", " " * 300, False),
        *(
            (field, f"{before}{value}{after}", False)
            for field, value in (("timestamp", "2026-11-23T010000Z"), ("confirm", "sign-on (1)"))
            for control in "\t\n\r\x0b\x0c\x1c\x1f\x85"
            for before, after in ((control, ""), ("", control))
        ),
        ("timestamp", "\n", False),
        ("confirm", "\n", False),
        ("timestamp", "2026-02-28T010000Z", True),
        ("timestamp", "2026-02-30T010000Z", False),
        ("timestamp", "2026-06-31T01:00:00", False),
        ("timestamp", "2026-11-23T01:00:00+99:99", False),
        ("timestamp", " " * 1_000_000 + "x", False),
        ("confirm", " " * 1_000_000 + "x", False),
        ("restore_previous", None, True),
        ("restore_previous", "other", False),
        ("only", ["../../x"], False),
        ("only", ["\x00"], False),
        ("only", ["x" * 9000], False),
    ],
)
def test_airflow_refuses_it_before_there_is_a_run(name: str, value: object, right: bool) -> None:
    """With the field in what it says: the REST API answers 400."""
    params = as_scheduled(PRODUCTION).params.deep_merge({name: value})
    if right:
        params.validate()
        return
    with pytest.raises(ParamValidationError, match=name):
        params.validate()


@pytest.mark.parametrize("name", ["confirm", "restore_previous"])
@pytest.mark.parametrize("value", ["", "signon", "x" * 10_000_000, ["signon"], 5])
def test_a_field_that_an_environment_has_no_use_for_takes_nothing(name: str, value: object) -> None:
    params = as_scheduled(a_plan(a_push())).params
    params.validate()
    with pytest.raises(ParamValidationError, match=name):
        params.deep_merge({name: value}).validate()


def test_nothing_in_a_pattern_repeats_without_a_bound() -> None:
    """It is tried on texts of any length: a blank one would hold the api-server for hours."""
    for name in FIELDS:
        pattern = as_scheduled(PRODUCTION).params.get_param(name).schema.get("pattern", "")
        assert not re.search(r"[*+]|,\}", re.sub(r"\\.|\[[^]]*\]", "", pattern)), name


def test_what_is_no_list_of_names_is_not_compared_with_itself(dag: Any) -> None:
    compared = []

    class Item(dict[str, int]):
        def __lt__(self, other: object) -> bool:
            compared.append(other)
            return NotImplemented

    for items in ([Item(one=1), Item(two=2)], [Item(one=1)] * 100, ["pull_signon"] * 100 + [Item()]):
        with pytest.raises(ParamValidationError, match="only"):
            dag.params.deep_merge({"only": items}).validate()
    assert compared == []


def test_a_form_checks_what_airflow_does() -> None:
    """Patterns that a browser takes as well: no group of Python's alone, nothing escaped that need not be."""
    for name in ("timestamp", "confirm"):
        pattern = as_scheduled(PRODUCTION).params.get_param(name).schema["pattern"]
        assert "(?" not in pattern
        assert not set(re.findall(r"\\(.)", pattern)) - set("s^$.*+?()[]{}|/\\")


@pytest.mark.parametrize(
    ("database", "right"),
    [
        (None, True),
        ("signon", True),
        ("apart", True),
        ("sigon", False),
        ("pull_signon", False),
        (["signon"], False),
    ],
)
def test_it_knows_the_databases_that_have_a_previous(dag: Any, database: object, right: bool) -> None:
    params = dag.params.deep_merge({"restore_previous": database})
    if right:
        params.validate()
    else:
        with pytest.raises(ParamValidationError):
            params.validate()


def shown(dag: Any) -> set[str]:
    """The fields that a form shows: not those that have one value alone."""
    assert set(dag.params) == set(FIELDS)
    return {name for name in dag.params if "const" not in dag.params.get_param(name).schema}


def test_where_nothing_is_pulled_there_is_nothing_to_undo() -> None:
    assert "restore_previous" not in shown(as_scheduled(a_plan(a_push())))


def test_only_an_environment_with_a_recovery_sync_asks_to_confirm(dag: Any) -> None:
    assert shown(dag) == {"only", "timestamp", "ignore_pauses", "restore_previous"}
    recovery = as_scheduled(a_plan(a_recovery(), environment="production", protected=True))
    assert shown(recovery) == {"only", "timestamp", "ignore_pauses", "restore_previous", "confirm"}
    assert recovery.tags == {"env_sync", "production", "protected"}


def test_where_sanitising_is_required_it_takes_what_confirms_an_undo_to_raw_data() -> None:
    dag = as_scheduled(a_plan(a_sync(), sanitise=Sanitise.REQUIRED))
    assert "signon NOT SANITISED" not in str(as_scheduled(a_plan(a_sync())).params)
    dag.params.deep_merge({"confirm": "signon NOT SANITISED"}).validate()
    with pytest.raises(ParamValidationError, match="confirm"):
        dag.params.deep_merge({"confirm": "other NOT SANITISED"}).validate()


def test_queues_by_node_class_before_that_of_the_environment() -> None:
    dag = as_scheduled(
        a_plan(
            a_sync("one", node_class="db_admin"),
            a_sync("two", database="two", node_class="mongo"),
            queue="of-integration",
            queues={"mongo": "of-mongo"},
        )
    )
    queues = {task.task_id: task.queue for task in dag.tasks}
    # An instance whose workers serve that queue alone must run these as well.
    assert queues["request"] == queues["night"] == "of-integration"
    assert {queue for name, queue in queues.items() if name.startswith("one.")} == {"of-integration"}
    assert {queue for name, queue in queues.items() if name.startswith("two.")} == {"of-mongo"}


def test_retries_and_time_limits_are_those_of_the_sync() -> None:
    options = Options(
        retries=3, retry_delay=dt.timedelta(minutes=1), timeouts={"restore": dt.timedelta(hours=2)}
    )
    dag = as_scheduled(a_plan(a_sync(options=options)))
    restore, gate = dag.get_task("pull_signon.restore"), dag.get_task("pull_signon.start_gate")
    assert (restore.retries, restore.retry_delay) == (3, dt.timedelta(minutes=1))
    assert restore.execution_timeout == dt.timedelta(hours=2)
    # A gate may wait all night; what ends its waiting is start_deadline and lease_wait.
    assert (gate.retries, gate.execution_timeout) == (2, None)


def test_a_group_shows_its_configuration_in_full_whatever_it_holds() -> None:
    plan = a_plan(
        a_sync(excluded_tables=("audit|log", "x"), temppath=Path("/mnt/dumps"), after=(), path="a|b")
    )
    doc = make_dag(plan).task_group.get_task_group_dict()["pull_signon"].doc_md
    assert doc is not None
    assert "Configured at `integration/db_admin.yaml:7`" in doc
    assert "| excluded_tables | audit\\|log, x |" in doc
    assert "| path | a\\|b |" in doc
    assert "| temppath | /mnt/dumps |" in doc
    assert "| keep_previous | True |" in doc
    assert "| start_deadline | 4:00:00 |" in doc


def test_an_environment_without_groups_is_a_dag_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.values.CAPABILITIES", {})
    dag = as_scheduled(a_plan(a_sync(dbms="elasticsearch")))
    assert {task.task_id for task in dag.tasks} == {"request", "selection", "night"}
    assert "no engine for elasticsearch" in dag.doc_md


def test_the_groups_of_clusters() -> None:
    cluster = {"dbms": "elasticsearch", "storagebackend": "elasticsearch", "database": "search"}
    dag = as_scheduled(
        a_plan(
            a_push("push_search", "00:00", **cluster),
            a_sync("pull_search", "03:00", **cluster),
            a_sync("copy_search", "05:00", action=Action.COPY, source_hostname="above", **cluster),
        )
    )
    steps = {
        group: sorted(
            (task for task in dag.tasks if task.task_id.startswith(f"{group}.")),
            key=lambda task: len(task.get_flat_relative_ids(upstream=True)),
        )
        for group in ("push_search", "pull_search", "copy_search")
    }
    assert {
        group: [(task.task_id.partition(".")[2], task.task_type) for task in tasks]
        for group, tasks in steps.items()
    } == {
        "push_search": [
            ("start_gate", "StartGateOperator"),
            ("snapshot", "SnapshotOperator"),
            ("report", "ReportOperator"),
        ],
        "pull_search": [
            ("start_gate", "StartGateOperator"),
            ("restore", "FillOperator"),
            ("sanitise", "SanitiseIndicesOperator"),
            ("promote", "PromoteOperator"),
            ("report", "ReportOperator"),
        ],
        "copy_search": [
            ("start_gate", "StartGateOperator"),
            ("copy", "FillOperator"),
            ("sanitise", "SanitiseIndicesOperator"),
            ("promote", "PromoteOperator"),
            ("report", "ReportOperator"),
        ],
    }
    assert dag.get_task("pull_search.start_gate").upstream_task_ids == {"push_search.report"}
    assert "from above, repository" in dag.doc_md


def test_pages_and_metrics_know_the_operators_of_a_dump_by_their_names() -> None:
    dag = make_dag(a_plan(a_sync(), a_push(database="other"), a_bucket_sync()))
    # Of metrics the class's name is a label, of pages the type.
    assert all(type(task).__name__ == task.task_type for task in dag.tasks)
    assert {task.task_id.rpartition(".")[2]: task.task_type for task in dag.tasks if "." in task.task_id} == {
        "start_gate": "StartGateOperator",
        "dump": "DumpOperator",
        "upload": "UploadOperator",
        "download": "DownloadOperator",
        "restore": "RestoreOperator",
        "sanitise": "SanitiseOperator",
        "promote": "PromoteOperator",
        "bucket_sync": "BucketSyncOperator",
        "report": "ReportOperator",
    }


def test_nothing_of_a_plan_is_kept_in_what_is_serialised(dag: Any) -> None:
    """The scheduler needs ids and edges alone; the form's names once, not in every task."""
    text = str(DagSerialization.to_dict(make_dag(the_plan())))
    assert "_plan" not in text
    assert text.count("Choose from this environment's syncs") == 1


def test_others_are_told_before_the_first_sync_and_after_the_last_report_and_decide_nothing() -> None:
    told = as_scheduled(
        a_plan(a_sync(), before_replacing=("hold-replay",), after_replacing=("resume-replay",))
    )
    begins, ends = told.get_task("replacing_begins"), told.get_task("replacing_ends")
    assert begins.downstream_task_ids == {"selection"}
    assert (begins.retries, told.get_task("selection").trigger_rule) == (2, "all_done")
    assert ends.upstream_task_ids == {"pull_signon.report"}
    assert (ends.retries, ends.trigger_rule, ends.is_teardown) == (2, "all_done", True)
    assert not ends.on_failure_fail_dagrun
    of_a_run: Any = DagRun._tis_for_dagrun_state
    every = [of_a_run(None, dag=told, tis={_Task(task.task_id)}) for task in told.tasks]
    assert {task.task_id for found in every for task in found} == {
        "request",
        "pull_signon.promote",
        # It fails where a report is red and no step is.
        "night",
    }


def test_where_nobody_is_to_be_told_there_is_no_task_for_it(dag: Any) -> None:
    assert not {"replacing_begins", "replacing_ends"} & set(dag.task_ids)
    assert dag.get_task("selection").trigger_rule == "all_success"


def test_what_comes_down_as_it_is_says_so_on_its_page() -> None:
    plan = a_plan(
        a_sync("raw", says_none=True, reason="public"),
        a_sync("clean", "04:00", transformation=SQL),
        a_bucket_sync("mirror", "05:00"),
    )
    groups = make_dag(plan).task_group.get_task_group_dict()
    assert groups["raw"].tooltip.endswith("; NOT SANITISED: public")
    assert str(groups["raw"].doc_md).startswith("**NOT SANITISED: public**\n")
    assert str(groups["mirror"].doc_md).startswith("**NOT SANITISED: no transformation**\n")
    assert "SANITISED" not in f"{groups['clean'].tooltip}{groups['clean'].doc_md}"
