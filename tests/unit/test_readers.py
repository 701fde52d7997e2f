"""Who could read a copy before it is sanitised, as all engines tell it, and whom a connection accepts."""

from __future__ import annotations

import pytest

from env_sync.core.errors import AccessRefused
from env_sync.core.secret import Secret
from env_sync.engines.base.accepted_readers import UNSEEN, accepts
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.base.readers import (
    ANYBODY,
    WRITERS,
    Reader,
    Readers,
    accepted_by,
    advice,
    listed,
    refuse_writers,
    writers_advice,
)

NOSY = Reader(name="nosy", by="role readAny")
ETL = Reader(name="etl", by="role etl")
ROOT = Reader(name="root", by="role root", administrator=True)


def connection(**extra: object) -> ServerConnection:
    """One to a server below, with this in its extra."""
    return ServerConnection(
        connection_id="below",
        environment="integration",
        host="db",
        port=None,
        login="env_sync",
        password=Secret("x"),
        extra=extra,
    )


def test_who_is_not_accepted_by_name_is_refused_and_administrators_are_told() -> None:
    readers = Readers(found=(NOSY, ETL, ROOT), accepted=frozenset({"etl"}))
    assert readers.refused == (NOSY,)
    assert readers.known == (ETL, ROOT)
    assert readers.said == "administrators can read incoming: root (by role root)"
    [finding] = readers.findings(connection())
    assert finding.what.startswith("etl (by role etl) can read incoming before it is sanitised, and may:")
    assert "connection below" in finding.what


def test_nothing_is_said_where_nobody_was_found_or_named() -> None:
    assert Readers(found=(NOSY,)).said == ""
    # That a server is open is told in words of its own.
    anybody = Reader(name=ANYBODY, by="an open server")
    for readers in (
        Readers(found=(ROOT, NOSY)),
        Readers(found=(anybody,), accepted=frozenset({ANYBODY})),
    ):
        assert list(readers.findings(connection())) == []


def test_the_names_that_a_connection_accepts() -> None:
    assert accepted_by(connection()) == frozenset()
    assert accepted_by(connection(accepted_readers=["etl", "nosy"])) == {"etl", "nosy"}
    assert accepted_by(connection(accepted_lease_writers=["other"]), WRITERS) == {"other"}


@pytest.mark.parametrize("said", ["etl", {"etl": True}, ["etl", 7], 7])
def test_what_is_no_list_of_names_is_refused(said: object) -> None:
    with pytest.raises(AccessRefused, match=r"`accepted_readers` in .* connection below is no list of names"):
        accepted_by(connection(accepted_readers=said))


def test_who_could_change_the_leases_is_refused_by_name() -> None:
    refuse_writers([], "live", "Take it away.")
    take = writers_advice(connection(), "privileges")
    with pytest.raises(AccessRefused, match=r"^nosy \(by role readAny\) could change who may touch live: .*"):
        refuse_writers([NOSY], "live", take)
    assert "Take their privileges away" in take
    assert "`accepted_lease_writers` in the extra of connection below" in take
    assert "`accepted_readers` in the extra of connection below" in advice(connection())


def test_a_list_names_the_first_and_counts_the_others() -> None:
    readers = [Reader(name=str(number), by="x") for number in range(7)]
    assert listed(readers, 2) == "0 (by x), 1 (by x), and 5 more"
    assert listed(readers[:2], 2) == "0 (by x), 1 (by x)"


@pytest.mark.parametrize("said", [True, "true", " TRUE "])
def test_the_extra_accepts_by_true_alone(said: object) -> None:
    assert accepts(connection(accept_unseen_readers=said), UNSEEN)
    for other in (False, "false", "", "yes", 1, None, "no"):
        assert not accepts(connection(accept_unseen_readers=other), UNSEEN)
    assert not accepts(connection(), UNSEEN)
