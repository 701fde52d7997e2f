"""What is known of an engine before it is used, as one value: read with hieradata, without its driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.database_name import Refusal, Use


@frozen(kw_only=True)
class DumpFormat:
    """How files of one kind begin, so that a message can name what is there in the place of a dump."""

    begins: bytes
    name: str
    """With its article, such as `an archive of pg_dump`."""
    at: int = 0
    """Where in the file `begins` stands, in bytes."""


@frozen(kw_only=True)
class EngineDescriptor:
    """One engine, which is one `dbms` of hieradata."""

    name: str
    """What hieradata calls it."""
    label: str
    """What people call its servers."""
    engine: str
    """Where its class is, as `<module>:<class>`; imported when it is first used."""
    capabilities: Capabilities
    refusals: Callable[[str, Use], Iterator[Refusal]]
    """Why a database of this name cannot be used so. `check` and the engine itself ask this."""
    dump_formats: tuple[DumpFormat, ...] = ()
    """What it dumps, and what its servers' own programs do."""
    extra: frozenset[str] = frozenset()
    """What it reads from the extra of a connection, beside `environment`."""
