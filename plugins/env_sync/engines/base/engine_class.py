"""The class of an engine, imported when it is first asked for.

Every task of Airflow reads the DAG file anew, and the drivers of all kinds of server, of which a task
needs one, take longer to import than most tasks take to run.
"""

from __future__ import annotations

import pkgutil

from env_sync.engines.base.contract import Engine
from env_sync.engines.registry import DESCRIPTORS


def engine_class(dbms: str) -> type[Engine]:
    """The engine of a `dbms`, one of `DESCRIPTORS`."""
    found: type[Engine] = pkgutil.resolve_name(DESCRIPTORS[dbms].engine)
    return found
