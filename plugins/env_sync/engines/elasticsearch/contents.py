"""What a cluster holds of a sync's indices at one moment: it goes along with a snapshot, and is compared."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from env_sync.core.errors import RestoreFailed
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.elasticsearch.catalogue import (
    Index,
    Templates,
    count_changes,
    count_documents,
    read_templates,
)
from env_sync.engines.elasticsearch.names import CONTENTS
from env_sync.engines.elasticsearch.record_index import make_record_index
from env_sync.engines.elasticsearch.session import Cluster, quoted

DOCUMENT = "contents"


@frozen(kw_only=True)
class Held:
    """One index. `documents` and `changes` are None where nobody counted them.

    `replicas` is None where the cluster itself chooses how many.
    """

    index: str
    name: str
    hidden: bool
    replicas: int | None
    aliases: Mapping[str, Any]
    documents: int | None
    changes: int | None


@frozen(kw_only=True)
class Contents:
    """Indices and templates, and since when the data is what it is (UTC)."""

    environment: str
    born_in: str
    data_time: dt.datetime
    indices: tuple[Held, ...]
    templates: Templates


def read_contents(
    cluster: Cluster, indices: Sequence[Index], *, environment: str, born_in: str, data_time: dt.datetime
) -> Contents:
    """What the indices hold now.

    The changes are counted before the documents are made visible: what a snapshot has beside these documents
    is then of changes that were not counted.
    """
    held = []
    for each in indices:
        changes = documents = None
        if not each.closed:
            changes = count_changes(cluster, each.index)
            cluster.ask("POST", f"/{quoted(each.index)}/_refresh", expand_wildcards="all")
            documents = count_documents(cluster, each.index)
        held.append(
            Held(
                index=each.index,
                name=each.name,
                hidden=each.hidden,
                replicas=None if each.expands else each.replicas,
                aliases=each.aliases,
                documents=documents,
                changes=changes,
            )
        )
    return Contents(
        environment=environment,
        born_in=born_in,
        data_time=data_time,
        indices=tuple(held),
        templates=read_templates(cluster, [each.name for each in indices]),
    )


def store_contents(cluster: Cluster, contents: Contents, token: str) -> None:
    """Write it into the index that goes along with a snapshot; `token` is that of the snapshot's owner."""
    make_record_index(cluster, CONTENTS)
    document = {"contents": json.dumps(to_plain(contents)), "token": token}
    cluster.ask("PUT", f"/{CONTENTS}/_doc/{DOCUMENT}", document, refresh=True)


def load_contents(cluster: Cluster, index: str, token: str) -> Contents | None:
    """What an index that came with a snapshot says; None where it cannot be understood.

    `token` is that of the snapshot's owner; earlier versions wrote none. Raises RestoreFailed where it
    speaks of another snapshot.
    """
    found = cluster.find(f"/{quoted(index)}/_doc/{DOCUMENT}")
    if found is None:
        return None
    try:
        contents = from_plain(Contents, json.loads(found["_source"]["contents"]))
    except (KeyError, TypeError, ValueError):
        return None
    said = found["_source"].get("token")
    if token and said and said != token:
        raise RestoreFailed(
            "What the snapshot says of its indices was written for another snapshot: two pushes of one "
            "cluster ran at once, under two names of it. Write one name into `database` of both, and push "
            "again. Live is untouched."
        )
    return contents
