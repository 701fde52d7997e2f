"""Push and pull of a MongoDB database: Env Sync beside mongodump and mongorestore, or beside a plain script.

    python benchmarks/mongo.py [--size MB] [--repeat N]

Starts a server that speaks MongoDB's protocol (SecantusDB) for each of two environments and an S3 server, all
on 127.0.0.1, makes a database of about `--size` MB of BSON (100) in production, and copies it to integration
both ways, by turns, `--repeat` times (3); medians count. Nothing is sanitised, as mongorestore does not.

- The other way: `mongodump --archive --gzip` and `mongorestore --archive --gzip --drop` where they are on
  PATH; else a plain pymongo script, which writes the documents of each collection into a gzipped file, and
  reads them back in batches of a thousand. The first lines say which. boto3 or `aws` moves the file.
- Env Sync: the syncs of a hieradata file, each in a process of its own, without its start.

SecantusDB is one interpreter, so Env Sync restores with one connection. To rename a collection SecantusDB
writes every document once more, where MongoDB changes one entry of its catalogue: the goal of a pull leaves
promote out, which renames, and the table shows both. It answers nobody meanwhile, so larger collections than
here would cost the lease.

Memory is the most that the process of a sync had; it is measured with a tenth of the database as well. Exits
1 where a goal is missed; GOALS holds them. Times depend on the machine: quote the ratios.
"""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import bson
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
# Not the folder of this program, in which names of libraries stand.
sys.path[0] = str(ROOT)

from benchmarks.measuring import (  # noqa: E402
    BUCKET,
    MEGABYTE,
    SCRIPT_KEY,
    Goal,
    Run,
    Syncs,
    arguments,
    folder_of_servers,
    judge,
    machine,
    measure,
    median,
    s3_server,
    table_of_parts,
    transfer,
)
from sandbox.mongodb import ADMINISTRATOR, MongoDBServer  # noqa: E402
from sandbox.s3 import S3Server  # noqa: E402

DATABASE = "router"
SECRET = "benchmark"  # of a user on servers of this program alone
PUSH, PULL = "push_router", "pull_router"
ENVIRONMENT = {PUSH: "production", PULL: "integration"}
COLLECTIONS = ("backends", *(f"routes_{number}" for number in range(9)))
TEXT = "guidance published updated change page email subscription government service licence passport tax "
BATCH = 1000
GOALS = {
    "push": Goal("push, as fast as the other way", " x", least=1.0),
    "pull": Goal("pull without promote, as fast as the other way", " x", least=1.0),
    "push memory": Goal("memory of a push, 10 times the data", " x", most=1.2),
    "pull memory": Goal("memory of a pull, 10 times the data", " x", most=1.2),
}


class Scene:
    """The servers, and the two ways to push and to pull between them."""

    def __init__(self, folder: Path, production: MongoDBServer, integration: MongoDBServer, s3: S3Server):
        self._folder = folder
        self._servers = {"production": production, "integration": integration}
        self._s3 = s3
        self.tools = bool(shutil.which("mongodump") and shutil.which("mongorestore"))
        self._size = 0
        self._syncs = Syncs(
            folder=folder,
            connections={
                f"env_sync_{environment}_{name}": connection
                for environment, server in self._servers.items()
                for name, connection in (
                    (
                        "router_backend",
                        server.airflow_connection(
                            ADMINISTRATOR, environment=environment, direct_connection=True
                        ),
                    ),
                    ("s3", s3.airflow_connection(environment=environment)),
                )
            },
        )

    def set_up(self, megabytes: int) -> int:
        """Make the database in production, an empty one in integration; gives its bytes of BSON."""
        for server in self._servers.values():
            server.drop_database(DATABASE)
        self._size = 0
        with self._servers["production"].connected() as client:
            for name in COLLECTIONS:
                share = megabytes * MEGABYTE // len(COLLECTIONS)
                for batch in _batches(_documents(share)):
                    self._size += sum(len(bson.encode(each)) for each in batch)
                    client[DATABASE][name].insert_many(batch)
        with self._servers["integration"].connected() as client:
            client[DATABASE].backends.insert_one({"_id": 0})
        self._s3.create_buckets([BUCKET])
        self._s3.empty(BUCKET)
        for sync, environment in ENVIRONMENT.items():
            self._syncs.configure(environment, _hieradata(sync), {})
        return self._size

    def other_push(self) -> Run:
        """With mongodump, or the plain script."""
        file = self._folder / "other.dump"
        began = time.monotonic()
        if self.tools:
            self._tool("production", "mongodump", f"--db={DATABASE}", "--gzip", f"--archive={file}")
        else:
            with self._servers["production"].connected() as client, gzip.open(file, "wb", 6) as packed:
                for name in COLLECTIONS:
                    packed.write(bson.encode({"collection": name}))
                    for document in client[DATABASE][name].find():
                        packed.write(bson.encode(document))
        transfer(self._s3, file, f"s3://{BUCKET}/{SCRIPT_KEY}")
        ended = time.monotonic()
        file.unlink()
        return Run(seconds=ended - began)

    def other_pull(self) -> Run:
        """With mongorestore, or the plain script."""
        file = self._folder / "other.dump"
        began = time.monotonic()
        transfer(self._s3, f"s3://{BUCKET}/{SCRIPT_KEY}", file)
        if self.tools:
            self._tool("integration", "mongorestore", "--drop", "--gzip", f"--archive={file}")
        else:
            with self._servers["integration"].connected() as client, gzip.open(file, "rb") as packed:
                collection: Any = None
                batch: list[dict[str, Any]] = []
                # A GzipFile reads as a binary file does, which its type does not say.
                for document in bson.decode_file_iter(cast("IO[bytes]", packed)):
                    head = "collection" in document
                    if batch and (head or len(batch) == BATCH):
                        collection.insert_many(batch)
                        batch = []
                    if head:
                        collection = client[DATABASE][document["collection"]]
                        collection.drop()
                    else:
                        batch.append(document)
                collection.insert_many(batch)
        ended = time.monotonic()
        file.unlink()
        self._check()
        return Run(seconds=ended - began)

    def push(self) -> Run:
        """As Env Sync does it."""
        return self._syncs.run("production", PUSH)

    def pull(self) -> Run:
        """As Env Sync does it."""
        run = self._syncs.run("integration", PULL)
        self._check()
        return run

    def _tool(self, environment: str, *command: str) -> None:
        server = self._servers[environment]
        config = self._folder / "mongo.yaml"
        config.touch(0o600)
        config.write_text(f"password: {server.password}\n")
        place = f"--uri=mongodb://{server.host}:{server.port}/?authSource=admin&directConnection=true"
        login = [f"--username={ADMINISTRATOR}", f"--config={config}", "--quiet"]
        subprocess.run([command[0], place, *login, *command[1:]], env=dict(os.environ), check=True)

    def _check(self) -> None:
        counts = []
        for server in self._servers.values():
            with server.connected() as client:
                counts.append([client[DATABASE][name].count_documents({}) for name in COLLECTIONS])
        if counts[0] != counts[1]:
            raise SystemExit(f"integration does not hold what production does: {counts}")


def _documents(size: int) -> Iterator[dict[str, Any]]:
    """Documents of so many bytes in all, as an application's are, the same each time."""
    done = number = 0
    while done < size:
        number += 1
        document = {
            "_id": bson.ObjectId(f"{number:024x}"),
            "path": f"/guidance/page-{number * 7919 % 1_000_003}",
            "kind": ("exact", "prefix")[number % 2],
            "tags": [f"tag-{number % 97}", f"tag-{number % 13}"],
            "visits": number * 31 % 1009,
            "text": TEXT[number % 50 :] * (3 + number % 5),
        }
        done += len(bson.encode(document))
        yield document


def _batches(documents: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(itertools.islice(documents, BATCH)):
        yield batch


def _hieradata(sync: str) -> str:
    return (
        "govuk_env_sync::tasks:\n"
        f"  {sync}:\n"
        "    hour: 1\n    minute: 0\n"
        f"    action: {sync.partition('_')[0]}\n"
        "    dbms: mongo\n    storagebackend: s3\n"
        f"    database: {DATABASE}\n    database_hostname: router-backend\n"
        f"    url: {BUCKET}\n    path: router\n"
        # The server is one interpreter: it takes longer with several connections at work.
        "govuk_env_sync::jobs: 1\n"
    )


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    asked = arguments(__doc__ or "", 100, "megabytes of BSON")
    console = Console(width=110)
    console.print(machine())
    with (
        folder_of_servers() as folder,
        MongoDBServer(folder / "production") as production,
        MongoDBServer(folder / "integration") as integration,
        s3_server(folder) as s3,
    ):
        scene = Scene(folder, production, integration, s3)
        other = "mongodump and mongorestore" if scene.tools else "a plain pymongo script"
        console.print(f"Beside {other}")
        scene.set_up(max(asked.size // 10, 1))
        small = {"push": scene.push().memory, "pull": scene.pull().memory}
        size = scene.set_up(asked.size)
        runs = measure(
            [
                {"other push": scene.other_push, "push": scene.push},
                {"other pull": scene.other_pull, "pull": scene.pull},
            ],
            asked.repeat,
            console.print,
        )
    table = Table("", other, "Env Sync", "ratio", title=f"Medians, and MB of BSON a second, of {size} bytes")
    figures = {}
    restored = median(runs["pull"], lambda run: run.seconds - run.parts.get("promote", 0.0))
    for name, what, ours in (
        ("push", "push", median(runs["push"])),
        ("pull", "pull, with promote", median(runs["pull"])),
        ("pull", "pull without it", restored),
    ):
        theirs = median(runs[f"other {name}"])
        # Of a pull the last line counts.
        figures[name] = theirs / ours
        speeds = [f"{each:.1f} s, {size / MEGABYTE / each:.1f} MB/s" for each in (theirs, ours)]
        table.add_row(what, *speeds, f"{theirs / ours:.2f} x")
    console.print(table)
    for name, with_a_tenth in small.items():
        console.print(table_of_parts(f"Where the time of a {name} goes", runs[name]))
        memory = max(run.memory for run in runs[name])
        figures[f"{name} memory"] = memory / with_a_tenth
        console.print(
            f"memory of a {name}: {with_a_tenth / MEGABYTE:.0f} MB with a tenth, {memory / MEGABYTE:.0f} MB "
            "with all"
        )
    return judge(console, GOALS, figures)


if __name__ == "__main__":
    raise SystemExit(main())
