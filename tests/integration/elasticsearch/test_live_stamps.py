"""What those say who filled a cluster's indices: it is asked of every sync, whatever it is called."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.elasticsearch.stage import Stage, index_documents, request

CLEAN = """\
- delete_by_query: pages
  query: {term: {number: 1}}
"""


def stamps(stage: Stage, name: str, **fields: Any) -> list[tuple[str, int]]:
    """Who filled what a sync of this name is about, and with how many transformations."""
    engine = stage.engine(name=name, **fields)
    try:
        with engine.at_work():
            return [(stamp.sync, len(stamp.transformations)) for stamp in engine.live_stamps()]
    finally:
        engine.release_lease()


def test_a_sync_of_another_name_is_asked_for_what_is_live(stage7: Stage) -> None:
    index_documents(stage7.source, "pages", 3)
    index_documents(stage7.source, "views", 3)
    assert stamps(stage7, "renamed") == []
    stage7.bring(name="search", transformation=CLEAN, indices=("pages",))
    assert stamps(stage7, "renamed") == [("search", 1)]
    assert stamps(stage7, "renamed", indices=("pa*",)) == [("search", 1)]
    assert stamps(stage7, "renamed", indices=("views",)) == []
    assert stamps(stage7, "renamed", excluded_indices=("pages",)) == []
    # One that is closed is live all the same.
    [index] = request(stage7.target, "GET", "/pages/_settings")
    request(stage7.target, "POST", f"/{index}/_close")
    assert stamps(stage7, "renamed") == [("search", 1)]
    request(stage7.target, "POST", f"/{index}/_open")
    # What was replaced is kept as previous, and is nobody's any more.
    stage7.bring(name="renamed", indices=("pages",))
    assert stamps(stage7, "search") == [("renamed", 0)]
    stage7.bring(name="another", indices=("views",))
    assert sorted(stamps(stage7, "search")) == [("another", 0), ("renamed", 0)]


@pytest.mark.probe("raw rows because a line is missing")
def test_indices_that_no_sync_filled_are_known_by_name(stage7: Stage) -> None:
    """What goes out beside what was sanitised: left by a script, or brought back by hand."""

    def unstamped(**fields: Any) -> tuple[str, ...]:
        engine = stage7.engine(name="push", **fields)
        try:
            with engine.at_work():
                found = engine.unstamped()
            assert engine.preflight_unstamped() == found
            return found
        finally:
            engine.release_lease()

    index_documents(stage7.source, "pages", 3)
    index_documents(stage7.target, "people-2025", 3)
    stage7.bring(transformation=CLEAN, indices=("pages",))
    assert unstamped() == ("people-2025",)
    assert unstamped(excluded_indices=("people-*",)) == ()
    # Whatever is called like what a sync brought, and is another.
    [index] = request(stage7.target, "GET", "/pages/_settings")
    request(stage7.target, "DELETE", f"/{index}")
    index_documents(stage7.target, "pages", 3)
    assert unstamped() == ("pages", "people-2025")
