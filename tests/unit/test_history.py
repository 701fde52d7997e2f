"""Whether what a copy says of its past lets an undo make it live again."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.core.errors import PreviousRefused
from env_sync.engines.base.contract import CopyState, Holder, Stamp
from env_sync.engines.base.history import WasLive, check_was_live, no_previous
from tests.unit.values import moment

HERE: dict[str, Any] = {"database": "signon", "environment": "integration"}
UNTIL = moment("2026-11-29 01:00")
WAS = WasLive(database="signon", environment="integration", until=UNTIL)


def stamp(state: CopyState = CopyState.SANITISED, environment: str = "integration") -> Stamp:
    """What a pull wrote into a copy."""
    return Stamp(
        state=state,
        holder=Holder(run="run", group="pull_signon", attempt="1"),
        sync="pull_signon",
        environment=environment,
        source_environment="staging",
        dump_key="signon.gz",
        dump_sha256="c" * 64,
        data_time=UNTIL,
        born_in="production",
        parents=(),
        transformations=(),
        changed=UNTIL,
    )


def test_what_was_live_here_may_be_live_again() -> None:
    check_was_live(WAS, stamp(), "signon__previous", **HERE)
    # Before its first pull live had no stamp.
    check_was_live(WAS, None, "signon__previous", **HERE)


@pytest.mark.parametrize(
    ("was", "found", "more", "said"),
    [
        (None, None, {}, "it does not say that it was ever live"),
        (None, None, {"unsaid": "it is empty"}, "it is empty"),
        (
            WasLive(database="router", environment="integration", until=UNTIL),
            None,
            {},
            "it was live as router in integration",
        ),
        (
            WasLive(database="signon", environment="staging", until=UNTIL),
            None,
            {},
            "it was live as signon in staging",
        ),
        (WAS, stamp(environment="staging"), {}, "it was pulled for staging and is sanitised"),
        (WAS, stamp(CopyState.RAW), {}, "it was pulled for integration and is raw"),
        (WAS, stamp(), {"is_another": True}, "it is another database than the one that was live"),
    ],
)
def test_anything_else_is_refused_with_the_reason(
    was: WasLive | None, found: Stamp | None, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(PreviousRefused, match=f"signon__previous does not prove .*: {said}.*Live is untouch"):
        check_was_live(was, found, "signon__previous", **HERE, **more)


def test_why_there_is_none() -> None:
    assert "no pull has replaced live yet" in str(no_previous("signon__previous", keep_previous=True))
    assert "keep_previous is false" in str(no_previous("signon__previous", keep_previous=False))
