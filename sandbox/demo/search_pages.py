"""Search's cluster, on Elasticsearch: pages, who edits them, and what readers say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from elasticsearch import helpers

from sandbox.demo.invented import Invented
from sandbox.demo.seed import SUBJECTS
from sandbox.elasticsearch import OLDER, ElasticsearchServer

HOSTS = {"production": "search-production", "integration": "search-integration"}
"""The name of each cluster in hieradata, by its environment. Staging has none."""
NODE_CLASS = "search"
REPOSITORY = "govuk-search-snapshots"
VERSION = OLDER
PAGES = 2_000
FEEDBACK = 800
ALIASES: Mapping[str, str] = {"pages-1": "pages", "feedback-1": "feedback"}
"""Index -> the alias by which applications know it."""

Documents = Mapping[str, Sequence[Mapping[str, Any]]]
"""Index -> its documents."""


def documents(invented: Invented) -> Documents:
    """What production holds."""
    random = invented.random
    pages = []
    for number in range(1, PAGES + 1):
        editor, subject = invented.person(), random.choice(SUBJECTS)
        pages.append(
            {
                "title": f"{subject}, {number}",
                "link": f"/guidance/{number}",
                "editor_name": editor.name,
                "editor_email": editor.email,
            }
        )
    feedback = []
    for _ in range(FEEDBACK):
        reader = invented.person()
        feedback.append(
            {
                "link": f"/guidance/{random.randint(1, PAGES)}",
                "message": f"I found nothing. Write to {reader.email}, {reader.name}.",
                "from": invented.ip_address(),
            }
        )
    return {"pages-1": pages, "feedback-1": feedback}


def make(server: ElasticsearchServer, filling: Documents | None) -> None:
    """Make the indices anew, with these documents or, below production, still empty; and the repository."""
    server.clear()
    server.register_repository(REPOSITORY, readonly=filling is None)
    with server.client() as client:
        for index, alias in ALIASES.items():
            client.indices.create(
                index=index,
                aliases={alias: {}},
                settings={"number_of_shards": 1, "number_of_replicas": 0},
                mappings={"dynamic": "strict", "properties": _properties(index)},
            )
        helpers.bulk(client, _actions(filling or {}), refresh=True)


def _properties(index: str) -> dict[str, Any]:
    keywords = {"pages-1": ("link", "editor_name", "editor_email"), "feedback-1": ("link", "from")}
    texts = {"pages-1": ("title",), "feedback-1": ("message",)}
    return {
        **{name: {"type": "keyword"} for name in keywords[index]},
        **{name: {"type": "text"} for name in texts[index]},
    }


def _actions(filling: Documents) -> Iterator[dict[str, Any]]:
    for index, values in filling.items():
        for number, document in enumerate(values, start=1):
            yield {"_index": index, "_id": str(number), "_source": document}
