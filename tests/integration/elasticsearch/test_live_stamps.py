"""What those say who filled a cluster's indices: it is asked of every sync, whatever it is called."""

from __future__ import annotations

from typing import Any

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
