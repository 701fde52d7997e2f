import datetime as dt

import pytest
from attrs import evolve

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.environment import Environment
from env_sync.domain.problem import Problem
from env_sync.domain.settings import FAIL, Options, Sanitise, Settings, Window
from env_sync.domain.sync import Action, Ensure, Place
from env_sync.planning.plan import Plan, make_plan
from tests.unit.values import CAPABILITIES, REPLACE, SQL, a_bucket_sync, a_plan, a_push, a_recovery, a_sync


def ids(plan: Plan) -> list[str]:
    return [group.id for group in plan.groups]


def after(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {group.id: group.after for group in plan.groups}


def test_the_steps_of_a_push_and_of_a_pull() -> None:
    pull, push = a_plan(a_sync(), a_push(database="other")).groups
    assert pull.steps == ("start_gate", "download", "restore", "sanitise", "promote", "report")
    assert push.steps == ("start_gate", "dump", "upload", "report")


def test_groups_come_in_the_order_of_the_night() -> None:
    plan = a_plan(
        a_sync("c", "07:00", database="c"),
        a_sync("b", "00:10", database="b"),
        a_sync("z", "22:00", database="z"),
        a_sync("a", "00:10", database="a"),
    )
    assert ids(plan) == ["z", "a", "b", "c"]
    assert after(plan) == {"z": (), "a": (), "b": (), "c": ()}


def test_one_group_per_time_and_one_name_for_all() -> None:
    plan = a_plan(a_sync("pull_signon", "02:00", "23:30"))
    assert ids(plan) == ["pull_signon__2330", "pull_signon__0200"]
    assert plan.names() == ("pull_signon",)


def test_syncs_of_one_live_database_follow_each_other() -> None:
    plan = a_plan(
        a_push("push", "00:00"),
        a_sync("pull", "02:00"),
        a_push("push_again", "04:00"),
        a_push("elsewhere", "01:00", database_hostname="another-host"),
        a_push("other_engine_name", "01:00", database="another"),
    )
    assert after(plan) == {
        "push": (),
        "elsewhere": (),
        "other_engine_name": (),
        "pull": ("push",),
        "push_again": ("pull",),
    }


def test_the_order_on_a_live_database_is_that_of_the_night_not_of_the_day() -> None:
    plan = a_plan(a_push("late", "23:00"), a_sync("early", "01:00"))
    assert after(plan) == {"late": (), "early": ("late",)}
    plan = a_plan(
        a_push("late", "23:00"), a_sync("early", "01:00"), window=Window(opens=dt.time(0), closes=dt.time(0))
    )
    assert after(plan) == {"early": (), "late": ("early",)}


def test_after_adds_an_edge_from_every_time_to_every_time() -> None:
    plan = a_plan(
        a_sync("first", "01:00", "02:00", database="first"),
        a_sync("second", "03:00", "04:00", database="second", after=("first", "first")),
    )
    assert after(plan)["second__0300"] == ("first__0100", "first__0200")
    assert after(plan)["second__0400"] == ("second__0300", "first__0100", "first__0200")


def test_after_may_go_against_the_clock() -> None:
    plan = a_plan(
        a_sync("early", "01:00", database="a", after=("late",)), a_sync("late", "05:00", database="b")
    )
    assert after(plan) == {"early": ("late",), "late": ()}
    assert not plan.problems


def test_after_decides_between_syncs_of_one_minute() -> None:
    plan = a_plan(a_sync("a_pull", "02:00", after=("b_push",)), a_push("b_push", "02:00"))
    assert after(plan) == {"b_push": (), "a_pull": ("b_push",)}
    assert not plan.problems


def test_an_after_that_closes_a_cycle_is_dropped_and_said() -> None:
    plan = a_plan(
        a_push("push", "01:00", after=("pull",)),
        a_sync("pull", "02:00"),
        a_sync("other", "03:00", database="other", after=("pull",)),
    )
    assert after(plan) == {"push": (), "pull": ("push",), "other": ("pull",)}
    [problem] = plan.problems
    assert "push is to run after pull" in problem.read
    assert problem.sync is None


def test_a_cycle_through_two_databases_loses_one_edge_only() -> None:
    # Night order: a1, b1, a2, b2. a1 after b2 closes a1 -> a2 -> (after) b1 -> b2 -> a1; a2 after b1 is fine.
    plan = a_plan(
        a_push("a1", "01:00", database="a", after=("b2",)),
        a_push("b1", "02:00", database="b", after=("a1",)),
        a_push("a2", "03:00", database="a", after=("b1",)),
        a_push("b2", "04:00", database="b"),
    )
    assert after(plan) == {"a1": (), "b1": ("a1",), "a2": ("a1", "b1"), "b2": ("b1",)}
    assert len(plan.problems) == 1


def test_an_after_of_a_sync_without_an_engine_is_no_edge() -> None:
    plan = a_plan(a_sync("pull", after=("search_pull",)), a_sync("search_pull", dbms="elasticsearch"))
    assert after(plan) == {"pull": ()}


def test_a_bucket_sync_is_a_group_like_any_other() -> None:
    plan = a_plan(
        a_bucket_sync("assets", "01:00", "04:00", after=("pull",), delete=True),
        a_sync("pull", "03:00"),
        a_sync("later", "05:00", database="later", after=("assets",)),
        a_bucket_sync("second", "05:30"),
        a_bucket_sync("elsewhere", "05:45", destination_bucket="another"),
    )
    assert after(plan) == {
        "assets__0100": ("pull",),
        "pull": (),
        "assets__0400": ("assets__0100", "pull"),
        "later": ("assets__0100", "assets__0400"),
        "second": ("assets__0400",),
        "elsewhere": (),
    }
    assert not plan.problems
    assert plan.groups[0].steps == ("start_gate", "bucket_sync", "report")
    assert "deletes what the source lacks" in plan.as_text()
    assert set(plan.undo.values()) == {"pull", "later"}


def test_absent_syncs_are_not_there_and_disabled_ones_are() -> None:
    plan = a_plan(
        a_sync("gone", ensure=Ensure.ABSENT),
        a_bucket_sync("gone_too", ensure=Ensure.ABSENT),
        a_sync("by_hand", "01:00", "05:00", ensure=Ensure.DISABLED),
    )
    assert ids(plan) == ["by_hand"]
    assert plan.groups[0].by_hand_only
    assert plan.left_out == ()


def test_syncs_without_an_engine_are_left_out_once_per_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.values.CAPABILITIES", {"postgresql": CAPABILITIES["postgresql"]})
    plan = a_plan(
        a_sync("m1", dbms="mysql"),
        a_sync("pg"),
        a_sync("m2", dbms="mysql"),
        a_sync("search", dbms="elasticsearch"),
        a_bucket_sync(),
    )
    assert ids(plan) == ["pg", "assets"]
    assert [str(left) for left in plan.left_out] == [
        "1 elasticsearch sync left out: no engine for elasticsearch is installed",
        "2 mysql syncs left out: no engine for mysql is installed",
    ]
    assert not plan.problems
    text = plan.as_text()
    assert "left out: no engine for mysql" in text
    assert "govuk-assets-staging to govuk-assets-integration" in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": Action.PUSH}, "cannot push"),
        ({"storagebackend": "elasticsearch"}, "cannot use the store elasticsearch"),
        ({"transformation": SQL}, "cannot run transformation_sql_filename"),
        ({"pre_dump_transformation": SQL}, "cannot run pre_dump_transformation_sql_filename"),
        ({"postprocess": (REPLACE,)}, "cannot run the postprocess replace_text"),
        ({"excluded_tables": ("audit",)}, "cannot leave out excluded_tables"),
    ],
)
def test_what_an_engine_does_not_offer_is_a_problem_of_that_sync_alone(
    fields: dict[str, object], said: str
) -> None:
    poor = Capabilities(
        previous=False,
        actions=frozenset({Action.PULL}),
        storagebackends=frozenset({"s3"}),
        transformation=False,
        postprocess=False,
        pre_dump_transformation=False,
        excluded_tables=False,
    )
    environment = Environment(
        name="integration",
        settings=Settings(),
        syncs=(a_sync("bad", database="bad", **fields), a_sync("good")),
        bucket_syncs=(),
        problems=(),
    )
    plan = make_plan(environment, {"postgresql": poor})
    assert ids(plan) == ["good"]
    [problem] = plan.problems
    assert said in problem.read
    assert problem.sync == "bad"
    assert str(problem).startswith("integration/db_admin.yaml:7: ")


def test_the_plan_tells_the_postprocess_of_a_pull() -> None:
    plan = a_plan(a_sync(transformation=SQL, postprocess=(REPLACE,)))
    assert "sanitise_signon.sql, postprocess/replace_text" in plan.as_text()


@pytest.mark.parametrize(
    ("in_place", "shown"),
    [
        (False, "sanitise_signon.sql on a copy, before the dump"),
        (True, "sanitise_signon.sql on live, before the dump"),
    ],
)
def test_the_plan_tells_what_runs_before_a_dump(in_place: bool, shown: str) -> None:
    plan = a_plan(a_push(pre_dump_transformation=SQL, pre_dump_in_place=in_place))
    assert (ids(plan), plan.problems) == (["push_signon"], ())
    assert shown in plan.as_text()


def test_a_time_that_makes_the_name_of_another_sync_takes_only_one_group_away() -> None:
    plan = a_plan(a_sync("a", "01:00", "02:00", database="a"), a_sync("a__0200", "05:00", database="b"))
    assert sorted(ids(plan)) == ["a__0100", "a__0200"]
    [problem] = plan.problems
    assert (problem.sync, problem.right) == ("a__0200", "rename one of the two")


def test_problems_of_the_environment_come_first() -> None:
    known = Problem(place=Place("integration.yaml", 3), sync="x", read="hour 25", right="0 to 23")
    environment = Environment(
        name="integration",
        settings=Settings(),
        syncs=(a_push(storagebackend="elasticsearch"),),
        bucket_syncs=(),
        problems=(known,),
    )
    plan = make_plan(environment, CAPABILITIES)
    assert plan.problems[0] is known
    assert len(plan.problems) == 2
    assert "Problem: integration.yaml:3: hour 25; 0 to 23" in plan.as_text()
    assert "**Problems**" in plan.as_markdown()


def test_the_text_of_a_plan() -> None:
    plan = a_plan(
        a_sync("pull_signon", "03:00", transformation=SQL),
        a_push("push_signon", "12:00"),
        a_sync("by_hand", "05:00", ensure=Ensure.DISABLED, database="other"),
        protected=True,
        timezone="Europe/London",
    )
    lines = plan.as_text().splitlines()
    assert lines[0] == "integration: window 22:00-08:00 Europe/London, protected; 3 groups, 0 problems"
    assert [line.split()[:2] for line in lines[2:]] == [
        ["03:00", "pull_signon"],
        ["05:00", "by_hand"],
        ["12:00", "push_signon"],
    ]
    assert "sanitise_signon.sql" in lines[2]
    assert lines[3].endswith("disabled: by hand only")
    assert lines[4].endswith("pull_signon  outside the window")


@pytest.mark.parametrize(
    ("at", "hours", "then", "note"),
    [
        ("03:00", 2, "go", "waits up to 2h for tonight's dump, then takes an older one"),
        ("03:00", 2, FAIL, "waits up to 2h for tonight's dump, then fails"),
        ("06:00", 2, FAIL, "waits up to 2h for tonight's dump, then fails"),
        (
            "06:01",
            2,
            FAIL,
            "waits up to 2h for tonight's dump, then fails; the wait may end after the window",
        ),
        (
            "22:00",
            11,
            FAIL,
            "waits up to 11h for tonight's dump, then fails; the wait may end after the window",
        ),
    ],
)
def test_a_pull_that_waits_for_its_dump_says_so(at: str, hours: int, then: str, note: str) -> None:
    options = Options(wait_for_dump=dt.timedelta(hours=hours), wait_for_dump_then=then)
    plan = a_plan(a_sync("pull_signon", at, options=options))
    assert plan.as_text().splitlines()[2].endswith(f"  {note}")
    assert f"| {note} |" in plan.as_markdown()


def test_the_page_tells_how_to_undo_where_something_is_pulled() -> None:
    assert "choose it in `restore_previous`" in a_plan(a_sync()).as_markdown()
    assert "restore_previous" not in a_plan(a_push()).as_markdown()


def test_what_never_waits_for_a_dump_does_not_say_so() -> None:
    options = Options(wait_for_dump=dt.timedelta(hours=2))
    plan = a_plan(
        a_push("push", "01:00", options=options),
        a_sync("by_hand", "02:00", database="b", ensure=Ensure.DISABLED, options=options),
    )
    assert "waits" not in plan.as_text()


def test_a_recovery_sync_says_so() -> None:
    plan = a_plan(a_recovery(), environment="production", protected=True)
    assert "recovery sync: by hand" in plan.as_text()
    assert "It is **protected**" in plan.as_markdown()


def test_the_page_says_whether_what_comes_down_must_be_sanitised() -> None:
    assert "What comes down must be sanitised." in a_plan(sanitise=Sanitise.REQUIRED).as_markdown()
    assert "What comes down need not be sanitised." in a_plan().as_markdown()
    protected = a_plan(environment="production", protected=True)
    assert "What comes down" not in protected.as_markdown()
    assert protected.as_text().startswith("production: window 22:00-08:00 UTC, protected; ")


def test_markdown_keeps_its_table_whatever_a_name_holds() -> None:
    plan = a_plan(a_sync(database="a|b<c"))
    row = next(line for line in plan.as_markdown().splitlines() if "pull_signon" in line)
    assert "postgresql a\\|b&lt;c" in row
    heading = next(line for line in plan.as_markdown().splitlines() if line.startswith("| Time"))
    assert row.replace("\\|", "").count("|") == heading.count("|")


def test_plans_do_not_depend_on_the_order_of_the_syncs() -> None:
    syncs = [a_sync(f"s{number}", f"0{number % 4}:00", database=f"d{number % 3}") for number in range(9)]
    one = a_plan(*syncs)
    other = a_plan(*reversed(syncs))
    assert one.groups == other.groups
    assert evolve(one, waiting=()) == evolve(other, waiting=())
