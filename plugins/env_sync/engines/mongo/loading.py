"""Loading documents into collections: several at once, in large batches, as the BSON that they are."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from bson.raw_bson import RawBSONDocument

from env_sync.core.errors import Cancelled
from env_sync.core.progress import Progress
from env_sync.engines.mongo.archive import Documents
from env_sync.engines.mongo.bson_stream import RAW, split
from env_sync.engines.mongo.session import Session


@contextmanager
def _loaders(
    session: Session, database: str, jobs: int
) -> Iterator[tuple[queue.Queue[tuple[str, Sequence[RawBSONDocument]] | None], list[Future[None]]]]:
    waiting: queue.Queue[tuple[str, Sequence[RawBSONDocument]] | None] = queue.Queue(maxsize=jobs)
    failed = threading.Event()

    def load() -> None:
        try:
            while (item := waiting.get()) is not None:
                if not failed.is_set():
                    session.insert(database, item[0], item[1])
        except BaseException:
            failed.set()
            # Whoever puts must not wait for a loader that is gone.
            while waiting.get() is not None:
                pass
            raise

    with ThreadPoolExecutor(jobs, "env_sync load") as pool:
        loaders = [pool.submit(load) for _ in range(jobs)]
        try:
            yield waiting, loaders
        except BaseException:
            failed.set()
            raise
        finally:
            for _ in loaders:
                waiting.put(None)
    for loader in loaders:
        loader.result()


def load(
    session: Session,
    database: str,
    names: Mapping[str, str],
    batches: Iterable[Documents],
    *,
    in_order: frozenset[str],
    jobs: int,
    progress: Progress,
) -> dict[str, int]:
    """Insert every document; `names` are those under which the collections are, by their names in the dump.

    Those of the collections `in_order` come in the dump's order: a capped collection keeps its last ones.
    Gives how many each collection got. Raises PyMongoError, and what reading the batches raises. Bounded
    memory: a batch for each of `jobs` connections, and as many waiting.
    """
    counts = dict.fromkeys(names, 0)
    with _loaders(session, database, jobs) as (waiting, loaders):
        for batch in batches:
            documents = [RawBSONDocument(each, RAW) for each in split(batch.content)]
            if batch.collection in in_order:
                session.insert(database, names[batch.collection], documents)
            else:
                waiting.put((names[batch.collection], documents))
            counts[batch.collection] += len(documents)
            progress.advance(len(batch.content))
            if any(loader.done() for loader in loaders):
                break
    if session.server.cancellation.cancelled:
        raise Cancelled
    return counts
