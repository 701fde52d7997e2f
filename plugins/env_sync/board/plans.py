"""The plans of this instance, read again only when a file of the configuration has changed."""

from __future__ import annotations

import functools
from pathlib import Path

from env_sync.planning.installation import hieradata_folder, read_plan, transformations_folder
from env_sync.planning.plan import Plan

Fingerprint = tuple[tuple[str, int, int], ...]
"""Each file's path, when it was changed (ns) and its size (bytes)."""


def current_plan(environment: str) -> Plan:
    """The plan of an environment as its files are now. Raises UnknownEnvironment, NoHieradata."""
    return _plan(environment, _fingerprint(hieradata_folder()), _fingerprint(transformations_folder()))


@functools.lru_cache(maxsize=32)
def _plan(environment: str, _hieradata: Fingerprint, _transformations: Fingerprint) -> Plan:
    return read_plan(environment)


def _fingerprint(folder: Path) -> Fingerprint:
    """Of every file below the folder; empty where it cannot be listed."""
    found = []
    for file in sorted(folder.rglob("*")):
        try:
            status = file.stat()
        except OSError:
            # Removed meanwhile, or a link to nowhere: reading the configuration says what is wrong with it.
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)
