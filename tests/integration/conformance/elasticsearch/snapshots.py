"""Snapshots in a repository as the dumps of a stage, and the files of a repository as bytes."""

from __future__ import annotations

import datetime as dt
import io
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from env_sync.engines.elasticsearch.names import snapshot_time
from sandbox.elasticsearch import ElasticsearchServer
from tests.integration.conformance.dumps import Dumps
from tests.integration.conformance.elasticsearch.rich import ask
from tests.integration.conformance.subject import SOURCE, TARGET

Files = Mapping[str, bytes]
"""What a repository holds, by path."""


@frozen
class SnapshotDumps(Dumps):
    """Snapshots in a repository of their own, which the cluster above writes and the one below reads.

    What is put in their place lies in another folder: a cluster remembers what it has read in one.
    """

    servers: Mapping[str, ElasticsearchServer]
    host: str
    """By which the names of snapshots end."""
    repository: str
    fields: Mapping[str, object]

    def set_up(self) -> None:
        """See Dumps."""
        if not self._folders():
            self.empty()

    def clear(self) -> None:
        """See Dumps."""
        for server in self.servers.values():
            with server.client() as client:
                ask(client, "DELETE", f"/_snapshot/{self.repository}", ignoring=404)
        for folder in self._folders():
            shutil.rmtree(folder)

    def keys(self) -> list[str]:
        """See Dumps."""
        with self.servers[SOURCE].client() as client:
            found = client.snapshot.get(repository=self.repository, snapshot="_all")["snapshots"]
        return sorted(each["snapshot"] for each in found if snapshot_time(self.host, each["snapshot"]))

    def timestamp(self, key: str) -> dt.datetime:
        """See Dumps."""
        timestamp = snapshot_time(self.host, key)
        assert timestamp is not None
        return timestamp

    def content(self, key: str) -> bytes:
        """See Dumps: the whole repository, as a tar."""
        return packed(self._folders()[-1])

    def put(self, content: bytes) -> str:
        """See Dumps: `content` is a whole repository, for the cluster below. Gives its name."""
        self._register(unpacked(content), [TARGET])
        return self.repository

    def empty(self) -> None:
        """See Dumps."""
        self._register({}, self.servers)

    def _register(self, files: Files, environments: Iterable[str]) -> None:
        """Have clusters know a new folder with these files under the name of the repository."""
        root = self.servers[SOURCE].repositories
        place = f"{self.repository}.{len(self._folders())}"
        (root / place).mkdir()
        owner = root.stat()
        for name, content in files.items():
            file = root / place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        for path in (root / place, *(root / place).rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)
        for environment in environments:
            readonly = environment != SOURCE
            self.servers[environment].register_repository(
                self.repository, place, verify=False, readonly=readonly
            )

    def _folders(self) -> list[Path]:
        """All folders that the repository has had, the newest last."""
        found = self.servers[SOURCE].repositories.glob(f"{self.repository}.*")
        return sorted(found, key=lambda folder: int(folder.suffix[1:]))


def packed(folder: Path) -> bytes:
    """The files in a folder, as a tar."""
    return as_tar(
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    )


def as_tar(files: Files) -> bytes:
    """Files as a tar."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    """The files in a tar."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            read: Any = tar.extractfile(member)
            files[member.name] = read.read()
    return files
