"""Directories of files for the conformance suite: one root above and one below, on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from env_sync.engines.files import syscalls
from env_sync.engines.files.names import HIDDEN
from tests.integration.conformance.drivers.files import FileCalls
from tests.integration.conformance.subject import (
    PRIVATE,
    SOURCE,
    TARGET,
    BadDump,
    BadTransformation,
    Reading,
    Subject,
)
from tests.integration.files.archives import EVIL

SECRET = "a password that no directory asks for"
APPLICATION, SECOND_APPLICATION, STRANGER = 60_001, 60_002, 60_003
"""Users of this machine, by number; they need no name."""
NO_SERVER = "a directory is on the worker itself: no server answers for it"


class Roots:
    """Two roots on this machine's disk, in a folder that other users can enter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.roots = {name: folder / name for name in (SOURCE, TARGET, "without rights")}

    def start(self) -> Roots:
        for root in self.roots.values():
            root.mkdir(parents=True, mode=0o755)
            root.chmod(0o755)
        self._folder.chmod(0o755)
        hidden = self.roots["without rights"] / HIDDEN
        hidden.mkdir(mode=0o700)
        os.chown(hidden, STRANGER, STRANGER)
        return self

    def stop(self) -> None:
        shutil.rmtree(self._folder)


class FilesSubject(Subject):
    """Directories on one file system; the sync's user is root, applications are others."""

    dbms = "files"
    refusals = (OSError,)
    driver = FileCalls()
    push_options = {"excluded_tables": ["private", "*.secret"]}
    not_applicable = {
        "test_a_wrong_password": NO_SERVER,
        "test_a_server_that_stops_half_way": NO_SERVER,
        "test_a_connection_that_is_cut": NO_SERVER,
        "test_a_statement_that_changes_no_row_is_a_warning": "nothing in a directory is transformed",
    }

    def __init__(self, name: str, roots: Roots) -> None:
        self.name = name
        self.roots = roots.roots

    # Servers

    def connection(self, environment: str) -> dict[str, object]:
        return {
            "conn_type": "generic",
            "login": "nobody in particular",
            "password": SECRET,
            "extra": {"root": str(self.roots[environment])},
        }

    def connection_without_rights(self, environment: str, database: str) -> dict[str, object]:
        return {**self.connection(environment), "extra": {"root": str(self.roots["without rights"])}}

    def stop(self, environment: str) -> None:
        raise NotImplementedError(NO_SERVER)

    def start(self, environment: str) -> None:
        """There is nothing to start."""

    # Directories

    def fill(self, environment: str, database: str, generation: str, rows: int, *, private: bool) -> None:
        live = self._make(environment, database)
        lines = [
            ",".join([generation, *(_noise(f"{generation} {row} {part}") for part in range(2))])
            for row in range(rows)
        ]
        _write(live / "people.csv", "\n".join(lines).encode())
        _write(live / "notes.txt", b"")
        if private:
            (live / "private").mkdir()
            _write(live / "private" / "emails.txt", f"{PRIVATE}@example.com\n".encode() * rows)
            _write(live / "emails.secret", PRIVATE.encode())
        _give(live, APPLICATION)

    def fill_rich(self, environment: str, database: str) -> None:
        live = self._make(environment, database)
        noise = random.Random(database)
        _write(live / "empty", b"")
        _write(live / "small.txt", b"small")
        _write(live / "large.bin", noise.randbytes(6_000_000))
        _write(live / "zeros.bin", bytes(100_000))
        for name in (
            *(
                "with space",
                "-leading dash",
                "new\nline",
                "quote'\"",
                "back\\slash",
                "*",
                "ünïcödé",
                "日本語",
            ),
            *("tab\t", "x" * 250, os.fsdecode(b"not utf-8 \xff\xfe"), ".hidden", "a:b", "#"),
        ):
            _write(live / "odd names" / name, name.encode(errors="surrogateescape"))
        deep = live.joinpath(*(f"level {number}" for number in range(60)))
        _write(deep / "bottom", b"deep")
        _write(live / "sparse", b"")
        with (live / "sparse").open("r+b") as sparse:
            for offset in (0, 3_000_000, 9_000_000):
                sparse.seek(offset)
                sparse.write(b"data" * 1000)
            sparse.truncate(20_000_000)
        with (live / "one hole").open("wb") as hole:
            hole.truncate(5_000_000)
        for number, mode in enumerate((0o400, 0o444, 0o600, 0o640, 0o755, 0o777, 0o000)):
            _write(live / "modes" / f"file {mode:o}", b"%d" % number)
            (live / "modes" / f"directory {mode:o}").mkdir()
            _write(live / "modes" / f"directory {mode:o}" / "inside", b"inside")
        (live / "links").mkdir()
        for name, target in {
            "relative": "../small.txt",
            "sibling": "relative",
            "dangling": "nowhere",
            "folder": "../odd names",
            "here": ".",
        }.items():
            (live / "links" / name).symlink_to(target)
        for name in ("second", "odd names/third"):
            (live / name).hardlink_to(live / "small.txt")
        (live / "empty folder").mkdir()
        if environment == SOURCE:
            _write(live / "private" / "emails.txt", PRIVATE.encode())
            _write(live / "odd names" / "a.secret", PRIVATE.encode())
        _give(live, APPLICATION)
        os.chown(live / "large.bin", SECOND_APPLICATION, APPLICATION)
        os.chown(live / "links" / "relative", SECOND_APPLICATION, SECOND_APPLICATION, follow_symlinks=False)
        for number, mode in enumerate((0o400, 0o444, 0o600, 0o640, 0o755, 0o777, 0o000)):
            os.chown(live / "modes" / f"file {mode:o}", STRANGER + number, STRANGER)
            (live / "modes" / f"file {mode:o}").chmod(mode)
            (live / "modes" / f"directory {mode:o}").chmod(mode)
        (live / "empty folder").chmod(0o3775)
        os.utime(live / "empty", ns=(1, 946_684_800_123_456_789))
        os.utime(live / "small.txt", ns=(1, 1_000_000_000))
        os.utime(live / "links" / "relative", ns=(1, 1_111_111_111_111_111_111), follow_symlinks=False)
        os.utime(live / "modes", ns=(1, 1_222_222_222_222_222_222))
        live.chmod(0o2751)

    def change_rich(self, environment: str, database: str) -> None:
        live = self._live(environment, database)
        for path in ("small.txt", "large.bin", "odd names/new\nline", "modes/file 0"):
            with (live / path).open("ab") as file:
                file.write(b"changed")
        if environment == SOURCE:
            _write(live / "private" / "more.txt", PRIVATE.encode())

    def add_rich(self, environment: str, database: str) -> None:
        live = self._live(environment, database)
        _write(live / "added" / "file", b"added")
        (live / "links" / "added").symlink_to("../added/file")

    def fill_empty(self, environment: str, database: str) -> None:
        _give(self._make(environment, database), APPLICATION)

    def fill_tables(self, environment: str, database: str, count: int) -> None:
        live = self._make(environment, database)
        for number in range(count):
            _write(live / f"file {number}", b"%d" % number)
        _give(live, APPLICATION)

    def drop(self, environment: str, database: str) -> None:
        for folder in (self._live(environment, database), self.roots[environment] / HIDDEN / database):
            if folder.exists():
                shutil.rmtree(folder)

    def picture(self, environment: str, database: str) -> Mapping[str, str]:
        found: dict[str, str] = {}
        links: dict[int, str] = {}
        for path, name in self._walk(environment, database):
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            who = f"{status.st_uid}:{status.st_gid} {status.st_mode:o} {status.st_mtime_ns}"
            if stat.S_ISLNK(kind):
                found[f"symlink {name}"] = f"{who} -> {path.readlink()}"
            elif stat.S_ISREG(kind):
                holes = status.st_blocks * 512 < status.st_size
                first = links.setdefault(status.st_ino, name)
                found[f"file {name}"] = f"{who} {status.st_size} holes: {holes} the same as {first}"
                found[f"rows of {name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[f"directory {name}"] = who
        return found

    def never_comes_down(self, environment: str, database: str) -> list[str]:
        live = self._live(environment, database)
        return [str(path) for path in (*live.rglob("private"), *live.rglob("*.secret"))]

    def whole_text(self, environment: str, database: str) -> bytes:
        live = self._live(environment, database)
        return b"\n".join(
            os.fsencode(path) + (b"" if path.is_symlink() or path.is_dir() else path.read_bytes())
            for path in live.rglob("*")
        )

    def transformation(self) -> str:
        return ""

    def bad_transformations(self) -> Mapping[str, BadTransformation]:
        return {}

    def bad_dumps(self, good: bytes, other: bytes) -> Mapping[str, BadDump]:
        size = len(good)
        whole = gzip.decompress(good)
        bad = {
            f"cut at {where}": BadDump(content=good[:at], says="damaged|not whole|not a tar.gz")
            for where, at in {
                "1 byte": 1,
                "its magic": 2,
                "its header": 10,
                **{f"{tenth}0 %": size * tenth // 10 for tenth in (1, 5, 9)},
                "its checksum": size - 8,
                "the last byte": size - 1,
            }.items()
        }
        bad |= {
            f"flipped at {percent} %": BadDump(
                content=_flipped(good, size * percent // 100), says="damaged|not a tar.gz"
            )
            for percent in (1, 10, 50, 90, 99)
        }
        bad |= {
            f"a tar cut at {percent} % and zipped": BadDump(
                content=gzip.compress(whole[: len(whole) * percent // 100]), says="damaged|not whole"
            )
            for percent in (30, 60)
        }
        end = whole.rstrip(b"\0")
        statements = b"-- MySQL dump 10.13  Distrib 8.0.36\nCREATE TABLE t (id int);\n-- Dump completed\n"
        bad |= {
            "a tar without its end": BadDump(
                content=gzip.compress(end.ljust(-(-len(end) // 512) * 512, b"\0")), says="has no end"
            ),
            "something behind its end": BadDump(content=gzip.compress(whole + b"more" * 128), says="damaged"),
            "empty": BadDump(content=b"", says="is empty"),
            "of another engine": BadDump(content=gzip.compress(statements), says="a dump of MySQL, gzipped"),
            "an archive of pg_dump": BadDump(content=b"PGDMP" + bytes(600), says="an archive of pg_dump"),
            "a tar that is not zipped": BadDump(content=whole, says="a tar archive, not a tar.gz"),
            "gzip of nothing": BadDump(content=gzip.compress(b""), says="not a tar.gz"),
            "a bomb": BadDump(content=gzip.compress(bytes(300_000_000), 1), says="not a tar.gz"),
            "noise": BadDump(content=bytes(range(256)) * 40, says="something unknown"),
            "of another directory": BadDump(content=other, says="another directory"),
        }
        # All others are tried without a store: see test_archives.py.
        return bad | {
            name: BadDump(content=EVIL[name].content(self._name_in(whole)), says=EVIL[name].says)
            for name in ("two dots", "a write through a symlink", "a name twice")
        }

    # Watching

    def read(self, environment: str, database: str) -> Reading:
        with as_user(APPLICATION):
            # What an application opens through one descriptor is of one generation.
            top = os.open(self._live(environment, database), os.O_RDONLY | os.O_DIRECTORY)
            try:
                lines = _read_at(top, "people.csv").decode().split("\n")
                private = 0
                with contextlib.suppress(FileNotFoundError):
                    private = _read_at(top, "private/emails.txt").count(PRIVATE.encode())
            finally:
                os.close(top)
        generations = sorted({line.partition(",")[0] for line in lines})
        return Reading("+".join(generations), len(lines), private)

    def reader(self, environment: str, database: str) -> Callable[[], Reading]:
        return lambda: self.read(environment, database)

    def write(self, environment: str, database: str) -> None:
        with as_user(APPLICATION):
            descriptor = os.open(self._live(environment, database) / "notes.txt", os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, b"written\n")
            finally:
                os.close(descriptor)

    def intruders(self, environment: str, database: str) -> Mapping[str, Callable[[], None]]:
        folder = self.roots[environment] / HIDDEN / database

        def attempt(user: int, copy: str) -> Callable[[], None]:
            def look() -> None:
                with as_user(user):
                    os.close(os.open(folder / copy, os.O_RDONLY | os.O_DIRECTORY))
                    os.close(os.open(folder / copy / "people.csv", os.O_RDONLY))

            return look

        return {
            f"{user} into {copy}": attempt(user, copy)
            for user in (APPLICATION, SECOND_APPLICATION, STRANGER)
            for copy in ("incoming", "previous")
        }

    def copies(self, environment: str, database: str) -> set[str]:
        folder = self.roots[environment] / HIDDEN / database
        names = ("incoming", "previous", "replaced", "between")
        there = {copy for copy in names if os.path.lexists(folder / copy)}
        return there | ({"live"} if self._live(environment, database).exists() else set())

    def is_open(self, environment: str, database: str) -> bool:
        try:
            with as_user(APPLICATION):
                os.close(os.open(self._live(environment, database), os.O_RDONLY | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def sessions(self, environment: str, database: str) -> list[str]:
        lock = self.roots[environment] / HIDDEN / database / "at_work"
        if not lock.exists():
            return []
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return [f"{lock} is locked"]
        return []

    def forge_proof(self, environment: str, database: str) -> None:
        folder = self.roots[environment] / HIDDEN / database
        record = folder / "records" / f"{syscalls.identity(folder / 'incoming')}.json"
        said = json.loads(record.read_text())
        assert said["stamp"]["state"] == "raw"
        said["stamp"] |= {"state": "sanitised", "holder": {**said["stamp"]["holder"], "attempt": "another"}}
        record.write_text(json.dumps(said))

    def break_stamp(self, environment: str, database: str) -> None:
        live = syscalls.identity(self._live(environment, database))
        record = self.roots[environment] / HIDDEN / database / "records" / f"{live}.json"
        assert record.exists()
        record.write_text("{not json")

    def forget_leases(self, environment: str) -> None:
        shutil.rmtree(self.roots[environment] / HIDDEN, ignore_errors=True)

    # Parts

    def _live(self, environment: str, database: str) -> Path:
        return self.roots[environment] / database

    def _make(self, environment: str, database: str) -> Path:
        live = self._live(environment, database)
        live.mkdir(mode=0o755)
        return live

    def _walk(self, environment: str, database: str) -> Iterator[tuple[Path, str]]:
        live = self._live(environment, database)
        yield live, "."
        for path in sorted(live.rglob("*")):
            name = str(path.relative_to(live))
            if not name.endswith(".secret") and "private" not in path.relative_to(live).parts:
                yield path, name

    def _name_in(self, whole: bytes) -> str:
        with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
            return tar.getnames()[0]


def _noise(seed: str) -> str:
    """Not to be compressed: some scenarios need a dump of some size."""
    return hashlib.sha512(seed.encode()).hexdigest()


@contextlib.contextmanager
def as_user(number: int) -> Iterator[None]:
    """Use files as another user; of all threads this one alone does."""
    libc = ctypes.CDLL(None)
    libc.setfsgid(number)
    libc.setfsuid(number)
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)


def _read_at(top: int, path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY, dir_fd=top)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _give(top: Path, user: int) -> None:
    for path in (top, *top.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def _flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 0x10
    return bytes(changed)


def can_be_others() -> bool:
    """Whether this user may act as another one, as the sync's user here does."""
    return os.geteuid() == 0
