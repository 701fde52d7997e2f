"""A dump in the work folder, whatever wrote it: found out from its bytes, read in batches."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import DumpDamaged
from env_sync.engines.dump_format import BEGINNING, describe_format
from env_sync.engines.mongo import archive, folder
from env_sync.engines.mongo.archive import BUCKETS, Documents
from env_sync.engines.mongo.definitions import Definition
from env_sync.engines.mongo.descriptor import MAGIC
from env_sync.engines.mongo.fast_gzip import WRONG, unzipped

GZIP = b"\x1f\x8b"


@frozen(kw_only=True)
class DumpFile:
    """A dump whose list of collections was read. `database` is "" where it does not say."""

    file: Path
    database: str
    server_version: str
    definitions: tuple[Definition, ...]
    tar: bool

    def documents(self, cancellation: Cancellation, *, thorough: bool = False) -> Iterator[Documents]:
        """Every document, in batches of bounded size, read to the end of the file.

        Raises DumpDamaged, Cancelled.
        """
        with _opened(self.file) as stream:
            found = (
                folder.read_documents(stream, thorough=thorough)
                if self.tar
                else archive.read_documents(stream, archive.read_prelude(stream), thorough=thorough)
            )
            for batch in found:
                cancellation.check()
                if not is_ours_or_the_servers(batch.collection):
                    yield batch
            # A gzip's own checksum comes at its end, and a tar may end before its file does.
            while stream.read(1 << 20):
                cancellation.check()


def open_dump(file: Path) -> DumpFile:
    """Read what a dump says about itself. Raises DumpDamaged, naming what the file is where it is no dump."""
    with file.open("rb") as raw:
        beginning = raw.read(BEGINNING)
    if not beginning:
        raise DumpDamaged("The dump is empty: it was cut or never written")
    with _opened(file) as stream:
        start = _peek(stream, beginning)
        if start.startswith(MAGIC):
            prelude = archive.read_prelude(stream)
            return DumpFile(
                file=file,
                database=prelude.database,
                server_version=prelude.server_version,
                definitions=_kept(prelude.definitions),
                tar=False,
            )
        if start[257:262] == b"ustar":
            database, definitions = folder.read_definitions(stream)
            return DumpFile(
                file=file, database=database, server_version="", definitions=_kept(definitions), tar=True
            )
    what = describe_format(beginning)
    raise DumpDamaged(
        f"The file is not a dump of MongoDB{f', but {what}' if what else ' and nothing that is known'}: it "
        "was cut, or put there under a wrong name"
    )


def is_ours_or_the_servers(name: str) -> bool:
    """Whether a collection is left out of dumps and restores: Env Sync's own, and what the server keeps."""
    return name.startswith("env_sync.") or (name.startswith("system.") and not name.startswith(BUCKETS))


def _kept(definitions: tuple[Definition, ...]) -> tuple[Definition, ...]:
    return tuple(
        each
        for each in definitions
        if not is_ours_or_the_servers(each.name) and not each.name.startswith(BUCKETS)
    )


def _peek(stream: IO[bytes], beginning: bytes) -> bytes:
    if not beginning.startswith(GZIP):
        return beginning
    start: bytes = cast(gzip.GzipFile, stream).peek(512)
    return start


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The file, unzipped where it is gzipped; what goes wrong in there is DumpDamaged."""
    with file.open("rb") as raw:
        zipped = raw.read(2) == GZIP
    try:
        with unzipped(file) if zipped else file.open("rb") as stream:
            yield stream
    except WRONG as problem:
        raise DumpDamaged(
            f"The dump is damaged or not whole: its gzip cannot be read to its end ({type(problem).__name__})"
        ) from None
