"""Finds pg_dump and pg_restore of the version that a server or an archive needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from env_sync.cancellation import Cancellation


@frozen(kw_only=True)
class ClientTools:
    """One folder with pg_dump and pg_restore, both of one version, e.g. "16.14"."""

    folder: Path
    version: str


def find_client_tools(*, cancellation: Cancellation, log: logging.Logger) -> tuple[ClientTools, ...]:
    """All client tools on this machine, from the oldest version to the newest."""
    raise NotImplementedError


def tools_to_dump(found: Sequence[ClientTools], server_major: int) -> ClientTools:
    """The tools that dump a server: of its own major version, else of the lowest newer one."""
    raise NotImplementedError


def tools_to_read(
    found: Sequence[ClientTools], archive: Path, *, target_major: int | None = None
) -> ClientTools:
    """The tools that read an archive: of the target's version where they can, else the lowest that can."""
    raise NotImplementedError
