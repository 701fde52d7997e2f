"""What kinds of server can and cannot do, as data: nothing asks for the name of one."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen(kw_only=True)
class Features:
    """What one kind of server offers to Env Sync."""

    product: str
    """As messages name it."""
    snapshot: bool
    """Reads of several collections can be of one moment."""
    views: bool
    timeseries: bool
    options: frozenset[str] | None
    """The options of `create` that it takes; None for all of them."""
    index_options: frozenset[str] | None
    """The same for an index."""
    index_kinds: frozenset[object] | None
    """What may stand as a direction in an index's key; None for anything."""
    drop_target: bool
    """renameCollection can replace a collection in one step."""
    bypass_validation: bool
    """Documents can be loaded that a collection's validator refuses."""
    kill_sessions: bool
    """What a client left running can be ended by its session."""
    retry_writes: bool
    tls_required: bool
    users_in_admin: bool
    """Has users of the whole server alone."""
    profiler: bool
    """Can keep what operations did in a collection of their database."""
    tries: int
    """How many times the reading of one collection is tried."""


MONGODB = Features(
    product="MongoDB",
    snapshot=True,
    views=True,
    timeseries=True,
    options=None,
    index_options=None,
    index_kinds=None,
    drop_target=True,
    bypass_validation=True,
    kill_sessions=True,
    retry_writes=True,
    tls_required=False,
    users_in_admin=False,
    profiler=True,
    tries=1,
)
DOCUMENTDB = Features(
    product="DocumentDB",
    snapshot=False,
    views=False,
    timeseries=False,
    options=frozenset(),
    index_options=frozenset(
        {
            *("key", "name", "unique", "sparse", "expireAfterSeconds", "partialFilterExpression"),
            *("2dsphereIndexVersion", "weights", "default_language", "textIndexVersion"),
        }
    ),
    index_kinds=frozenset({1, -1, "2dsphere", "text"}),
    drop_target=False,
    bypass_validation=False,
    kill_sessions=False,
    retry_writes=False,
    tls_required=True,
    users_in_admin=True,
    profiler=False,
    tries=5,
)
FEATURES: Mapping[str, Features] = {"mongo": MONGODB, "documentdb": DOCUMENTDB}
"""By a sync's `dbms`."""
