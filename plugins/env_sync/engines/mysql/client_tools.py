"""Finds the mysqldump, or mariadb-dump, that a server needs."""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import ToolMissing
from env_sync.engines.mysql.version import Family, ServerVersion, check_supported, read_version

PROGRAMS = ("mariadb-dump", "mysqldump")
INSTALL = {
    Family.MARIADB: "apt-get install mariadb-client",
    Family.MYSQL: "apt-get install mysql-client, from MySQL's own repository where Debian has only MariaDB's",
}


@frozen(kw_only=True)
class DumpTool:
    """A program that dumps, and of which family and version it is."""

    program: Path
    version: ServerVersion

    def __str__(self) -> str:
        return f"{self.program.name} {self.version}"


def find_dump_tools(*, cancellation: Cancellation, log: logging.Logger) -> tuple[DumpTool, ...]:
    """All of them on this machine: in each folder of PATH, for one may have MySQL's and another MariaDB's."""
    found: dict[Path, DumpTool] = {}
    for folder in dict.fromkeys(_folders()):
        for name in PROGRAMS:
            program = folder / name
            if not program.is_file() or program.resolve() in found:
                continue
            version = _version(program, cancellation, log)
            if version is not None:
                found[program.resolve()] = DumpTool(program=program, version=version)
    return tuple(found.values())


def known_dump_tools() -> tuple[DumpTool, ...]:
    """The same without running every program again for each use: once in a process for the same folders."""
    return _found_in(tuple(_folders()))


@functools.lru_cache(maxsize=8)
def _found_in(_: tuple[Path, ...]) -> tuple[DumpTool, ...]:
    return find_dump_tools(cancellation=Cancellation(), log=logging.getLogger(__name__))


def tool_to_dump(found: Sequence[DumpTool], server: ServerVersion) -> DumpTool:
    """The program that dumps a server: of its family, and of its version or a newer one.

    Each family's program asks its own server for what the other's does not know. Raises ToolMissing.
    """
    check_supported(server)
    able = [tool for tool in found if tool.version.family is server.family]
    newer = sorted(
        (tool for tool in able if tool.version.number[:2] >= server.number[:2]),
        key=lambda tool: tool.version.number,
    )
    if newer:
        return newer[0]
    have = ", ".join(f"{tool.version} in {tool.program.parent}" for tool in found) or "none"
    raise ToolMissing(
        f"No mysqldump or mariadb-dump on this worker can dump {server}. Found: {have}. Install one of that "
        f"version or later ({INSTALL[server.family]}), and put its folder on PATH."
    )


def _folders() -> Iterator[Path]:
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if (folder and shutil.which("mysqldump", path=folder)) or shutil.which("mariadb-dump", path=folder):
            yield Path(folder)


def _version(program: Path, cancellation: Cancellation, log: logging.Logger) -> ServerVersion | None:
    lines: list[str] = []
    result = command.run(
        [program, "--version"], cancellation=cancellation, log=log, stdout=lines.append, check=False
    )
    version = read_version("\n".join(lines).partition(str(program))[2] or "\n".join(lines))
    if version is None or result.exit_code != 0:
        log.warning("%s does not tell its version (exit code %d): not used", program, result.exit_code)
        return None
    return version
