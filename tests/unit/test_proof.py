from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import ProofMissing
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.domain.manifest import Parent, Transformation
from env_sync.engines.base.contract import CopyState, Dump, Holder, ServerConnection, Stamp, Work
from env_sync.engines.base.proof import check_raw, check_stamp, first_stamp, nothing_to_promote, unreadable
from tests.unit.values import a_sync, moment

LOG = logging.getLogger("env_sync.tests")
HOLDER = Holder(run="env_sync_integration/tonight", group="pull_signon", attempt="2")
SQL = Transformation(name="sanitise.sql", sha256="a" * 64)
DOMAINS = Transformation(name="replace_text", sha256="b" * 64)
WHERE = "signon__incoming on db"
DUMP = Dump(
    key="signon-postgres/2026-11-23T220000Z-signon.gz",
    file=Path("signon.dump"),
    size=3,
    sha256="c" * 64,
    environment="staging",
    data_time=moment("2026-11-23 21:00"),
    born_in="production",
    parents=(
        Parent(environment="production", key="k", sha256="d" * 64, transformations=(), pulled_into="staging"),
    ),
)
WORK = Work(
    sync=a_sync(),
    holder=HOLDER,
    connection=ServerConnection(
        connection_id="db",
        environment="integration",
        host="db",
        port=None,
        login="env_sync",
        password=Secret("secret"),
        extra={},
    ),
    folder=Path("work"),
    cancellation=Cancellation(),
    progress=LogProgress(LOG),
    log=LOG,
)
NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)


def stamp(**different: Any) -> Stamp:
    """What this attempt leaves once it has sanitised, but for what is different."""
    sanitised = evolve(
        first_stamp(WORK, DUMP, NOW), state=CopyState.SANITISED, transformations=(SQL, DOMAINS)
    )
    return evolve(sanitised, **different)


def proven(found: Stamp | None, *transformations: Transformation) -> Stamp:
    return check_stamp(
        found,
        WHERE,
        holder=HOLDER,
        environment="integration",
        transformations=transformations or (SQL, DOMAINS),
    )


def test_incoming_says_from_the_start_whose_it_is_and_of_which_dump() -> None:
    assert first_stamp(WORK, DUMP, NOW) == Stamp(
        state=CopyState.RESTORING,
        holder=HOLDER,
        sync="pull_signon",
        environment="integration",
        source_environment="staging",
        dump_key=DUMP.key,
        dump_sha256=DUMP.sha256,
        data_time=DUMP.data_time,
        born_in="production",
        parents=DUMP.parents,
        transformations=(),
        changed=NOW,
    )


def test_incoming_says_what_ran_above_and_why_nothing_runs_here() -> None:
    def begun(**fields: Any) -> Stamp:
        work = evolve(WORK, sync=a_sync(**fields))
        return first_stamp(work, evolve(DUMP, transformations=(SQL,)), NOW)

    assert begun().above == (SQL,)
    assert begun(says_none=True, reason="public").reason == "public"
    # That there is no rule any more has a reason as well, which is none for raw data.
    assert (begun(reason="no domains in it").reason, begun(says_none=True).reason) == ("", "")


def test_a_stamp_that_cannot_be_read_says_how_to_go_on() -> None:
    said = str(unreadable("signon on db", "remove its comment"))
    assert said.startswith("signon on db carries a stamp that cannot be read: ")
    assert "or somebody changed it. So nobody knows where this data is from" in said
    assert "Nothing was restored or dumped. Let a pull fill it anew that" in said
    assert "`transformation_sql_filename: none` with `reason: <why>`" in said
    assert said.endswith(" and then remove its comment.")


def test_what_this_attempt_restored_may_be_sanitised() -> None:
    raw = stamp(state=CopyState.RAW, transformations=())
    assert check_raw(raw, WHERE, WORK) is raw


@pytest.mark.parametrize("state", [state for state in CopyState if state is not CopyState.RAW])
def test_what_was_worked_on_before_is_not_sanitised(state: CopyState) -> None:
    with pytest.raises(ProofMissing) as error:
        check_raw(stamp(state=state), WHERE, WORK)
    assert str(error.value).startswith(f"{WHERE} is {state}: it was worked on before. ")
    assert str(error.value).endswith("run the group again from restore.")


@pytest.mark.parametrize(
    ("another", "whose"),
    [
        (None, "without a stamp"),
        (stamp(holder=evolve(HOLDER, attempt="1")), "of env_sync_integration/tonight pull_signon, attempt 1"),
        (stamp(holder=evolve(HOLDER, run="other")), "of other pull_signon, attempt 2"),
        (stamp(holder=evolve(HOLDER, group="pull_b")), "of env_sync_integration/tonight pull_b, attempt 2"),
        (stamp(environment="staging"), "of env_sync_integration/tonight pull_signon, attempt 2"),
    ],
)
def test_what_another_restored_is_not_sanitised(another: Stamp | None, whose: str) -> None:
    raw = another and evolve(another, state=CopyState.RAW)
    with pytest.raises(ProofMissing) as error:
        check_raw(raw, WHERE, WORK)
    assert str(error.value).startswith(f"{WHERE} is a copy {whose}, not of this attempt. ")
    assert str(error.value).endswith("run the group again from restore.")


def test_just_these_transformations_in_this_attempt_are_the_proof() -> None:
    found = stamp()
    assert proven(found) is found
    bare = stamp(transformations=())
    assert check_stamp(bare, WHERE, holder=HOLDER, environment="integration", transformations=[]) is bare


def test_without_a_stamp_there_is_no_proof() -> None:
    with pytest.raises(ProofMissing, match=rf"^{WHERE} carries no stamp .* from restore\.$"):
        proven(None)


@pytest.mark.parametrize("state", [state for state in CopyState if state is not CopyState.SANITISED])
def test_no_other_state_is_a_proof(state: CopyState) -> None:
    with pytest.raises(ProofMissing, match=rf"^{WHERE} is {state}, not sanitised\. .* from restore\.$"):
        proven(stamp(state=state))


@pytest.mark.parametrize(
    ("different", "said"),
    [
        (
            {"holder": evolve(HOLDER, run="last night")},
            "its run is last night, this step's is env_sync_integration",
        ),
        ({"holder": evolve(HOLDER, group="pull_b")}, "its group is pull_b, this step's is pull_signon"),
        ({"holder": evolve(HOLDER, attempt="1")}, "its attempt is 1, this step's is 2"),
        ({"environment": "staging"}, "its environment is staging, this step's is integration"),
        (
            {"transformations": ()},
            "its transformations are none, this step's are sanitise.sql (aaaaaaaaaaaa), ",
        ),
        (
            {"transformations": (SQL,)},
            "its transformations are sanitise.sql (aaaaaaaaaaaa), this step's are ",
        ),
        (
            {"transformations": (DOMAINS, SQL)},
            "its transformations are replace_text (bbbbbbbbbbbb), sanitise.sql ",
        ),
        (
            {"transformations": (evolve(SQL, sha256="e" * 64), DOMAINS)},
            "its transformations are sanitise.sql (eeeeeeeeeeee), replace_text (bbbbbbbbbbbb), this step's",
        ),
    ],
)
def test_whatever_differs_is_no_proof_and_is_named(different: dict[str, Any], said: str) -> None:
    with pytest.raises(ProofMissing) as error:
        proven(stamp(**different))
    assert str(error.value).startswith(f"{WHERE} was sanitised, but {said}")
    assert str(error.value).endswith(". Nothing was touched; run the group again from restore.")


def test_all_that_differs_is_named() -> None:
    with pytest.raises(
        ProofMissing, match=r"its attempt is 1, .*; its environment is staging, .*; its transf"
    ):
        proven(stamp(holder=evolve(HOLDER, attempt="1"), environment="staging", transformations=()))


def test_where_there_is_no_incoming_the_error_says_what_is_missing() -> None:
    assert str(nothing_to_promote(f"database {WHERE}")) == (
        f"There is no database {WHERE}, so nothing to promote. "
        "Nothing was touched; run the group again from restore."
    )
