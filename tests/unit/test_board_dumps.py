"""Whose dumps can be listed on the board."""

from __future__ import annotations

import pytest

from env_sync.board.dumps import list_dumps
from env_sync.core.errors import UnknownSync
from tests.unit.values import a_plan, a_push, a_sync

PLAN = a_plan(
    a_push("push_signon", "04:00"),
    a_sync("pull_search", dbms="elasticsearch", storagebackend="elasticsearch", database="search"),
)


@pytest.mark.parametrize(
    ("sync", "told"),
    [
        ("push_signon", "has no pull 'push_signon'"),
        ("nothing", "has no pull 'nothing'"),
        ("pull_search", "reads no bucket"),
    ],
)
def test_what_reads_no_bucket_has_no_dumps_to_list(sync: str, told: str) -> None:
    with pytest.raises(UnknownSync, match=told):
        list_dumps(PLAN, sync)
