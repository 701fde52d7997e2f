"""Elasticsearch clusters that all tests of a process share, each started when a test first asks for it."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from pathlib import Path

from sandbox.elasticsearch import NEWER, OLDER, ElasticsearchServer
from sandbox.process import ServerMissing
from tests.lacking import lacks

SETTINGS = {"reindex.remote.whitelist": '"127.0.0.1:*"'}


class Clusters:
    """Clusters by the major version and a letter, such as `7a`; `7b` may reindex from the others.

    All see one folder of snapshot repositories.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, ElasticsearchServer] = {}
        self._stack = ExitStack()

    def get(self, *names: str) -> list[ElasticsearchServer]:
        """The clusters of these names, started side by side where they are not running yet."""
        missing = [name for name in dict.fromkeys(names) if name not in self._running]
        for name in missing:
            server = self._make(name)
            self._stack.callback(server.stop)
            server.begin()
            self._running[name] = server
        for name in missing:
            self._running[name].wait()
        return [self._running[name] for name in names]

    def stop(self) -> None:
        """Stop them all."""
        self._stack.close()

    def _make(self, name: str) -> ElasticsearchServer:
        try:
            return ElasticsearchServer(
                self._folder / f"elasticsearch{name}",
                OLDER if name.startswith("7") else NEWER,
                repositories=self._folder / "elasticsearch_repositories",
                settings=SETTINGS if name == "7b" else None,
            )
        except ServerMissing as missing:
            lacks(str(missing))


@functools.cache
def clusters_in(folder: Path) -> Clusters:
    """The clusters of a process, for whichever suite asks."""
    return Clusters(folder)
