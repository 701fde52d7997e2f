"""The lease on a cluster: a document in the hidden index of records."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen

from env_sync.core.errors import RequestRefused
from env_sync.engines.base.document_lease import Found
from env_sync.engines.elasticsearch.names import STATE
from env_sync.engines.elasticsearch.record_index import check_plain, make_record_index
from env_sync.engines.elasticsearch.session import Cluster

DOCUMENT = f"/{STATE}/_doc/leases"
CONFLICT = 409


@frozen
class ClusterLeases:
    """See LeaseServer. `open_cluster` gives a cluster of the caller's own."""

    name: str
    open_cluster: Callable[[], Cluster]

    def __str__(self) -> str:
        return self.name

    @contextlib.contextmanager
    def session(self) -> Iterator[Cluster]:
        """A session for the length of a block. Raises NameRefused where what is trusted there is not ours."""
        cluster = self.open_cluster()
        try:
            # Also what gives a lease back looks, whether it was cancelled or not.
            with cluster.uninterrupted():
                check_plain(cluster, STATE)
            yield cluster
        finally:
            cluster.close()

    def session_at_work(self, database: str, token: str) -> contextlib.AbstractContextManager[Cluster]:
        """One as any other."""
        return self.session()

    def end_earlier(self, session: Cluster, database: str, token: str, log: logging.Logger) -> None:
        """Nothing here: what earlier steps left running is ended where their incoming is dropped."""

    def errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Requests raise our errors by themselves."""
        return contextlib.nullcontext()

    def read(self, session: Cluster) -> Found | None:
        """The document."""
        found = session.find(DOCUMENT)
        if found is None:
            return None
        place = {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}
        return Found(rows=found["_source"]["rows"], version=place)

    def replace(self, session: Cluster, rows: Sequence[Any], found: Found | None) -> bool:
        """Write it where it is still at the place in the history of the index where it was found."""
        if found is None:
            make_record_index(session, STATE)
        place: dict[str, Any] = {"op_type": "create"} if found is None else found.version
        try:
            session.ask("PUT", DOCUMENT, {"rows": list(rows)}, **place)
        except RequestRefused as refused:
            if refused.status == CONFLICT:
                return False
            raise
        return True

    def now(self, session: Cluster) -> dt.datetime:
        """The clock of the cluster's master."""
        return session.now()
