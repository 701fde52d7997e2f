"""Where the dumps of a stage lie: in a bucket, or in what an engine has in its place."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping

from attrs import frozen

from env_sync.planning.timestamps import parse_timestamp
from sandbox.s3 import S3Server


class Dumps(ABC):
    """The dumps of one database. The oldest comes first."""

    @property
    @abstractmethod
    def fields(self) -> Mapping[str, object]:
        """The fields of hieradata that tell a push and a pull where they are."""

    def set_up(self) -> None:
        """Make a place for them, where none is there."""
        return

    def clear(self) -> None:
        """Remove that place."""
        return

    @abstractmethod
    def keys(self) -> list[str]:
        """What each is called, in the order of their times."""

    @abstractmethod
    def timestamp(self, key: str) -> dt.datetime:
        """The timestamp of one, in UTC."""

    @abstractmethod
    def content(self, key: str) -> bytes:
        """One of them, as bytes that `put` takes."""

    @abstractmethod
    def put(self, content: bytes) -> str:
        """Have this one there and no other, with nothing beside it that vouches for it; gives its key."""

    @abstractmethod
    def empty(self) -> None:
        """Remove them all."""


@frozen
class BucketDumps(Dumps):
    """Dumps in a bucket, below a path of their own, with manifests and pointers."""

    s3: S3Server
    bucket: str
    path: str
    database: str

    @property
    def fields(self) -> Mapping[str, object]:
        """See Dumps."""
        return {"storagebackend": "s3", "path": self.path, "url": self.bucket}

    def keys(self) -> list[str]:
        """See Dumps."""
        return [key for key in self.s3.keys(self.bucket, self.path) if key.endswith(".gz")]

    def timestamp(self, key: str) -> dt.datetime:
        """See Dumps."""
        return parse_timestamp(key.removeprefix(f"{self.path}/").removesuffix(f"-{self.database}.gz"))

    def content(self, key: str) -> bytes:
        """See Dumps."""
        content: bytes = self.s3.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def put(self, content: bytes) -> str:
        """See Dumps: as the shell script did it."""
        self.empty()
        key = f"{self.path}/{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S}-{self.database}.gz"
        self.s3.client().put_object(Bucket=self.bucket, Key=key, Body=content)
        return key

    def empty(self) -> None:
        """See Dumps."""
        for key in self.s3.keys(self.bucket):
            if self.database in key:
                self.s3.client().delete_object(Bucket=self.bucket, Key=key)
