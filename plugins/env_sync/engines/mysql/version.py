"""Which server, or which program, of the two families this is."""

from __future__ import annotations

import re
from enum import StrEnum

from attrs import frozen

from env_sync.core.errors import ToolMissing

OLDEST = {"MySQL": (5, 7), "MariaDB": (10, 3)}


class Family(StrEnum):
    """MySQL itself, with Percona's and Amazon's builds, or MariaDB."""

    MYSQL = "MySQL"
    MARIADB = "MariaDB"


@frozen(kw_only=True)
class ServerVersion:
    """E.g. MariaDB 10.11.6."""

    family: Family
    number: tuple[int, int, int]

    @property
    def mariadb(self) -> bool:
        """Whether it is MariaDB."""
        return self.family is Family.MARIADB

    def mysql_from(self, major: int, minor: int) -> bool:
        """Whether it is MySQL of this version or a later one."""
        return self.family is Family.MYSQL and self.number >= (major, minor, 0)

    @property
    def comment_number(self) -> int:
        """As comments that only some versions run have it: 101106 for 10.11.6, 80036 for 8.0.36."""
        major, minor, patch = self.number
        return major * 10_000 + minor * 100 + patch

    def __str__(self) -> str:
        return f"{self.family} {'.'.join(map(str, self.number))}"


def read_version(text: str) -> ServerVersion | None:
    """The version in what a server or a program says of itself; None where there is none.

    Takes `8.0.36-0ubuntu`, `10.11.6-MariaDB-log`, `5.5.5-10.11.6-MariaDB` (for old clients of MariaDB), and
    what programs print: `mysqldump  Ver 8.0.36 for Linux`, `mariadb-dump from 11.4.2-MariaDB`, `mysqldump
    Ver 10.19 Distrib 10.11.6-MariaDB`.
    """
    family = Family.MARIADB if "mariadb" in text.lower() else Family.MYSQL
    text = text.removeprefix("5.5.5-")
    match = (
        re.search(r"(?:Distrib|from) (\d+)\.(\d+)\.(\d+)", text)
        or re.search(r"Ver (\d+)\.(\d+)\.(\d+)", text)
        or re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    )
    if match is None:
        return None
    major, minor, patch = (int(part) for part in match.groups())
    return ServerVersion(family=family, number=(major, minor, patch))


def check_supported(version: ServerVersion) -> None:
    """Raises ToolMissing for a server that is older than what is supported."""
    oldest = OLDEST[version.family]
    if version.number[:2] < oldest:
        raise ToolMissing(
            f"The server is {version}; Env Sync supports MySQL from 5.7 and MariaDB from 10.3. Nothing was "
            "touched."
        )
