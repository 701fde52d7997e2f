"""Which servers can be used, and which may give to which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from env_sync.core.errors import ServerRefused

OLDEST = (7, 17)
NEWEST_MAJOR = 8


@frozen(order=True)
class Version:
    """A version of Elasticsearch."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def judge_server(root: object, where: str) -> Version:
    """The version of a server by what it answers to `GET /`. Raises ServerRefused, naming what it is.

    An answer without a `tagline` is of a server whose other headers say that it is something else.
    """
    if not isinstance(root, Mapping):
        root = {}
    said: Any = root.get("version")
    number = str(said.get("number") or "") if isinstance(said, Mapping) else ""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", number)
    if match is None:
        raise ServerRefused(
            f"{where} does not say that it is Elasticsearch: look at the host, port and scheme of the "
            "connection. Nothing was touched."
        )
    distribution = said.get("distribution")
    version = Version(int(match[1]), int(match[2]), int(match[3] or 0))
    if distribution or (version >= Version(*OLDEST) and not root.get("tagline")):
        name = str(distribution).capitalize() if distribution else "a product of its own"
        raise ServerRefused(
            f"{where} is {name}, version {match.group()}, and not Elasticsearch: its indices are not "
            "Elasticsearch's. Only Elasticsearch 7.17 and 8 can be used. Nothing was touched."
        )
    if (version.major, version.minor) < OLDEST or version.major > NEWEST_MAJOR:
        raise ServerRefused(
            f"{where} is Elasticsearch {version}; only 7.17 and 8 can be used. Upgrade it, or leave it out "
            "of the syncs. Nothing was touched."
        )
    return version


def check_direction(source: Version, target: Version, what: str) -> None:
    """Raises ServerRefused where what the source has written cannot be read by the target."""
    if source.major > target.major or (
        source.major == target.major and (source.minor > target.minor and source.major != OLDEST[0])
    ):
        raise ServerRefused(
            f"{what} is of Elasticsearch {source}, and the target is {target}: an older cluster cannot take "
            "what a newer one holds. Upgrade the target first. Nothing was touched."
        )
