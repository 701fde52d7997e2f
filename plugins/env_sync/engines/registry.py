"""The engines that there are: one line for each, and what is known of them by `dbms`.

Their descriptors import no driver and no Airflow, so hieradata is read with them. The class of an engine is
imported when it is first used: see `engine_class`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import EngineDescriptor

ENGINES = (
    "env_sync.engines.postgresql.descriptor:POSTGRESQL",
    "env_sync.engines.mysql.descriptor:MYSQL",
    "env_sync.engines.mongo.descriptor:MONGO",
    "env_sync.engines.mongo.descriptor:DOCUMENTDB",
    "env_sync.engines.files.descriptor:FILES",
    "env_sync.engines.elasticsearch.descriptor:ELASTICSEARCH",
)
"""In the order in which messages and docs list them."""


def _described(engines: Iterable[str]) -> dict[str, EngineDescriptor]:
    found: Iterable[EngineDescriptor] = [pkgutil.resolve_name(engine) for engine in engines]
    return {descriptor.name: descriptor for descriptor in found}


DESCRIPTORS = _described(ENGINES)
"""Each engine by its `dbms`."""


def offered() -> Mapping[str, Capabilities]:
    """What each engine can do, by `dbms`."""
    return {name: descriptor.capabilities for name, descriptor in DESCRIPTORS.items()}
