"""Indices that are new and that no transformation names are told."""

from __future__ import annotations

import pytest

from env_sync.engines.elasticsearch.engine import ElasticsearchEngine
from tests.integration.elasticsearch.stage import Stage, index_documents

CLEAN = """\
- delete_by_query: people*
  query: {term: {number: 1}}
"""


def warnings(stage: Stage) -> tuple[str, ...]:
    """What a copy with the transformation says, that is brought to its end."""
    engine: ElasticsearchEngine = stage.engine(transformation=CLEAN)
    stage.fill(engine)
    stage.sanitise(engine)
    stage.promote(engine)
    engine.release_lease()
    return engine.work.changed_rows.take().warnings


@pytest.mark.probe("what a transformation does not reach")
def test_new_indices_that_no_transformation_names(stage7: Stage) -> None:
    for index in ("people", "pages"):
        index_documents(stage7.source, index, 3)
    # Of a live that no sync filled, as an application made it, nobody can tell what is new.
    index_documents(stage7.target, "people_of_an_application", 1)
    assert warnings(stage7) == ()
    for index in ("people_archive", "letters"):
        index_documents(stage7.source, index, 3)
    [warning] = warnings(stage7)
    assert warning.startswith("index letters is new, and no transformation names it")
    assert warnings(stage7) == ()
