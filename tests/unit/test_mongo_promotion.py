from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pymongo.errors import OperationFailure

from env_sync.engines.mongo import promotion
from env_sync.engines.mongo.errors import ALREADY_THERE
from env_sync.engines.mongo.session import Session


class WrittenMeanwhile:
    """A session on a server without `dropTarget`, where a client makes what was dropped so many times."""

    def __init__(self, times: int) -> None:
        self.server = SimpleNamespace(features=SimpleNamespace(drop_target=False))
        self.times = times
        self.done: list[str] = []

    def drop(self, database: str, name: str) -> None:
        self.done.append(f"drop {database}.{name}")

    def write(self, database: str, command: dict[str, Any]) -> None:
        if self.times:
            self.times -= 1
            raise OperationFailure("target namespace exists", ALREADY_THERE)
        self.done.append(f"{command['renameCollection']} to {command['to']}")

    def names(self, database: str) -> set[str]:
        return {"people"}


@pytest.mark.parametrize("there", [None, {"type": "collection"}])
def test_a_collection_that_clients_make_between_drop_and_rename_is_replaced(
    there: dict[str, Any] | None,
) -> None:
    session = WrittenMeanwhile(3)
    promotion._replace(cast("Session", session), "app", "incoming.1", "people", there)
    drops = ["drop app.people"] * (3 + (there is not None))
    assert session.done == [*drops, "app.incoming.1 to app.people"]


def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "TRIES", 5)
    with pytest.raises(OperationFailure):
        promotion._replace(cast("Session", WrittenMeanwhile(9)), "app", "incoming.1", "people", None)
