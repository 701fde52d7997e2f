from typing import Any

import pytest

from env_sync.errors import InvalidRequest
from env_sync.hieradata.sync import Ensure
from env_sync.plan import Plan
from env_sync.request import NIGHTLY, Request, read_request
from tests.unit.values import a_plan, a_push, a_recovery, a_sync


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
        ({"onyl": ["pull_signon"]}, "'onyl', which is no field of it (did you mean 'only'?)"),
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
