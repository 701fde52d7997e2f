from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import InvalidRequest
from env_sync.domain.environment import Environment
from env_sync.domain.settings import Settings
from env_sync.domain.sync import Ensure
from env_sync.planning.plan import Plan, make_plan
from env_sync.planning.request import NIGHTLY, Request, read_request
from tests.unit.values import CAPABILITIES, a_plan, a_push, a_recovery, a_sync


def the_plan() -> Plan:
    return a_plan(
        a_sync("pull_signon", "03:00"),
        a_push("push_signon", "01:00", "05:00"),
        a_sync("by_hand", "06:00", database="other", ensure=Ensure.DISABLED),
    )


def runs(request: Request, plan: Plan) -> list[str]:
    return [group.id for group in plan.groups if request.why_not(group, plan) is None]


def test_the_night_runs_all_that_is_present() -> None:
    plan = the_plan()
    assert runs(NIGHTLY, plan) == ["push_signon__0100", "pull_signon", "push_signon__0500"]
    by_hand = plan.groups[-1]
    assert NIGHTLY.why_not(by_hand, plan) == "by_hand is disabled: run it by hand"


@pytest.mark.parametrize("conf", [{}, {"only": []}, {"only": None}])
def test_nothing_selected_runs_nothing_and_says_so(conf: dict[str, Any]) -> None:
    plan = the_plan()
    request = read_request(conf, plan)
    assert not request.nightly
    assert runs(request, plan) == []
    assert "nothing was selected" in str(request.why_not(plan.groups[0], plan))


def test_all_is_everything_that_is_present() -> None:
    # Every time of a sync, since each may prepare for the next: push, pull, push.
    plan = the_plan()
    request = read_request({"only": ["all"]}, plan)
    assert runs(request, plan) == ["push_signon__0100", "pull_signon", "push_signon__0500"]
    assert "name it in `only`" in str(request.why_not(plan.groups[-1], plan))


def test_a_disabled_sync_runs_where_it_is_named() -> None:
    plan = the_plan()
    assert runs(read_request({"only": ["by_hand"]}, plan), plan) == ["by_hand"]
    assert runs(read_request({"only": ["all", "by_hand"]}, plan), plan)[-1] == "by_hand"


def test_a_sync_with_several_times_runs_once_by_hand() -> None:
    plan = the_plan()
    request = read_request({"only": ["push_signon"]}, plan)
    assert runs(request, plan) == ["push_signon__0100"]
    assert request.why_not(plan.groups[2], plan) == "push_signon runs by hand as push_signon__0100"
    assert request.why_not(plan.groups[1], plan) == "not selected in this run"


def test_what_a_run_may_be_asked_for() -> None:
    request = read_request(
        {"only": ["pull_signon", "pull_signon"], "timestamp": " 2026-11-23T010000Z ", "ignore_pauses": True},
        the_plan(),
    )
    assert request == Request(
        nightly=False, only=("pull_signon",), timestamp="2026-11-23T010000Z", ignore_pauses=True
    )


@pytest.mark.parametrize("timestamp", [None, "", "  "])
def test_no_timestamp_is_the_newest(timestamp: str | None) -> None:
    assert read_request({"only": ["all"], "timestamp": timestamp}, the_plan()).timestamp is None


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"onyl": ["pull_signon"]}, "unknown field 'onyl' (did you mean 'only'?)"),
        ({"only": ["pull_sigon"]}, "no sync 'pull_sigon' in integration (did you mean 'pull_signon'?)"),
        ({"only": ["push_signon__0100"]}, "no sync 'push_signon__0100'"),
        ({"only": "pull_signon"}, "must be a list"),
        ({"only": "all"}, "must be a list"),
        ({"only": {"pull_signon": True}}, "must be a list"),
        ({"only": True}, "must be a list"),
        ({"only": 5}, "must be a list"),
        ({"only": [5]}, "must be a list"),
        ({"only": [["pull_signon"]]}, "must be a list"),
        ({"timestamp": "2026-11-23T010000Z"}, "needs exactly one sync"),
        ({"only": ["all"], "timestamp": "2026-11-23T010000Z"}, "needs exactly one sync"),
        ({"only": ["pull_signon", "by_hand"], "timestamp": "2026-11-23T010000Z"}, "needs exactly one sync"),
        ({"only": ["push_signon"], "timestamp": "2026-11-23T010000Z"}, "push_signon is a push"),
        ({"only": ["pull_signon"], "ignore_pauses": "yes"}, "must be true or false"),
        ({"only": ["pull_signon"], "ignore_pauses": 1}, "must be true or false"),
    ],
)
def test_what_it_may_not(conf: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_request(conf, the_plan())
    assert said in str(refusal.value)
    assert "Nothing was started" in str(refusal.value)


@pytest.mark.parametrize("field", ["timestamp", "confirm", "restore_previous"])
@pytest.mark.parametrize(
    "value", [5, True, ["x"], {"x": 1}, "x" * 201, "\x00", "a\x00b", "a\nb", "\x1b[31m", "\x85x"]
)
def test_a_text_is_a_short_one_in_a_line(field: str, value: object) -> None:
    says = (
        "^`restore_previous` cannot be combined with"
        if not isinstance(value, str)
        else "^`restore_previous` "
    )
    says = says if field == "restore_previous" else f"^`{field}` "
    with pytest.raises(InvalidRequest, match=says) as refused:
        read_request({"only": ["pull_signon"], field: value}, the_plan())
    assert str(refused.value).endswith("Nothing was started.")
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "timestamp",
    ["../../x", "2026-11-23", "2026-13-01T010000Z", "2026-02-30T010000Z", "2026-11-23T240000Z", "x" * 199],
)
def test_a_timestamp_that_is_none_is_refused_before_anything_starts(timestamp: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^`timestamp`: .* is not the timestamp of a dump") as refused:
        read_request({"only": ["pull_signon"], "timestamp": timestamp}, the_plan())
    assert str(refused.value).endswith("Nothing was started.")
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "timestamp", ["2026-11-23T010203Z", "2026-11-23T01:02:03", "2026-11-23T02:02:03+01:00"]
)
def test_each_form_of_a_timestamp_is_taken(timestamp: str) -> None:
    request = read_request({"only": ["pull_signon"], "timestamp": f" {timestamp} "}, the_plan())
    assert request.timestamp == timestamp


@pytest.mark.parametrize(
    "conf", [{"only": ["x" * 9000]}, {"only": "x" * 9000}, {"x" * 9000: 1}, {"only": [[]]}]
)
def test_what_was_asked_for_is_repeated_in_part(conf: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_request(conf, the_plan())
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["../../x", "\x00", "pull_signon\x00"])
def test_only_takes_no_name_that_is_no_syncs(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^`only`: there is no sync") as refused:
        read_request({"only": [name]}, the_plan())
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("confirm", [None, "", "Signon", "all"])
def test_a_recovery_sync_is_confirmed_by_the_name_of_its_database(confirm: str | None) -> None:
    plan = a_plan(a_recovery(), environment="production", protected=True)
    with pytest.raises(InvalidRequest, match="Type the database's name, signon,"):
        read_request({"only": ["recover_signon"], "confirm": confirm}, plan)


def test_a_confirmed_recovery_sync_runs() -> None:
    plan = a_plan(a_recovery(), environment="production", protected=True)
    request = read_request({"only": ["recover_signon"], "confirm": " signon "}, plan)
    assert runs(request, plan) == ["recover_signon"]
    assert request.confirm == "signon"


def test_all_never_means_a_recovery_sync() -> None:
    plan = a_plan(a_recovery(), environment="production", protected=True)
    request = read_request({"only": ["all"], "confirm": "signon"}, plan)
    assert runs(request, plan) == []
    assert runs(NIGHTLY, plan) == []


# Undo


def test_an_undo_runs_the_first_pull_of_the_database_for_its_last_step() -> None:
    plan = a_plan(
        a_push("push_signon", "01:00"),
        a_sync("pull_signon", "03:00", "05:00"),
        a_sync("pull_again", "06:00", url="govuk-production-database-backups"),
        a_sync("pull_other", database="other"),
    )
    request = read_request({"restore_previous": " signon "}, plan)
    assert request == Request(nightly=False, restore_previous="signon", ignore_pauses=True)
    assert runs(request, plan) == ["pull_signon__0300"]
    assert request.steps(plan.groups[1]) == ("start_gate", "promote", "report")
    assert request.why_not(plan.groups[0], plan) == "not selected in this run"
    assert NIGHTLY.steps(plan.groups[0]) == plan.groups[0].steps


@pytest.mark.parametrize("conf", [{"restore_previous": None}, {"restore_previous": ""}, {"only": []}])
def test_no_database_is_no_undo(conf: dict[str, Any]) -> None:
    request = read_request(conf, the_plan())
    assert (request.restore_previous, request.ignore_pauses) == (None, False)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        (
            {"restore_previous": "signon", "only": ["pull_signon"]},
            "cannot be combined with `only` or `timestamp`",
        ),
        ({"restore_previous": "signon", "only": ["all"]}, "cannot be combined with `only` or `timestamp`"),
        (
            {"restore_previous": "signon", "timestamp": "2026-11-23T010000Z"},
            "cannot be combined with `only` or `timestamp`",
        ),
        ({"restore_previous": "sigon"}, "'sigon' (did you mean 'signon'?); there are: other, signon"),
        ({"restore_previous": "pull_signon"}, "there are: other, signon"),
        ({"restore_previous": ["signon"]}, "No pull of integration"),
        ({"restore_previous": True}, "No pull of integration"),
    ],
)
def test_an_undo_that_cannot_be_is_refused(conf: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_request(conf, the_plan())
    assert said in str(refusal.value)
    assert "Nothing was started" in str(refusal.value)


def test_databases_of_one_name_are_told_apart_by_their_server() -> None:
    plan = a_plan(
        a_sync("one", database_hostname="a"),
        a_sync("two", database_hostname="b"),
        a_sync("three", database="other"),
    )
    assert plan.undo == {
        "other": "three",
        "signon on a (postgresql)": "one",
        "signon on b (postgresql)": "two",
    }
    with pytest.raises(InvalidRequest, match="signon on a"):
        read_request({"restore_previous": "signon"}, plan)
    assert runs(read_request({"restore_previous": "signon on b (postgresql)"}, plan), plan) == ["two"]


def test_an_engine_that_keeps_no_previous_offers_no_undo() -> None:
    environment = Environment(
        name="integration", settings=Settings(), syncs=(a_sync(),), bucket_syncs=(), problems=()
    )
    without = {"postgresql": evolve(CAPABILITIES["postgresql"], previous=False)}
    plan = make_plan(environment, without)
    assert plan.undo == {}
    with pytest.raises(InvalidRequest, match="there are: none"):
        read_request({"restore_previous": "signon"}, plan)


@pytest.mark.parametrize("confirm", [None, "", "Signon", "all"])
def test_an_undo_in_a_protected_environment_is_confirmed_by_the_databases_name(confirm: str | None) -> None:
    plan = a_plan(a_recovery(), environment="production", protected=True)
    with pytest.raises(InvalidRequest, match="Type the database's name, signon,"):
        read_request({"restore_previous": "signon", "confirm": confirm}, plan)
    for confirm in ("signon", "signon NOT SANITISED"):
        request = read_request({"restore_previous": "signon", "confirm": confirm}, plan)
        assert runs(request, plan) == ["recover_signon"]
