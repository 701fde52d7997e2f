"""A server that speaks MongoDB's protocol: SecantusDB from PyPI, a replica set of one."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from sandbox import process
from sandbox.process import Process, ServerMissing
from sandbox.server import Server

ADMINISTRATOR = "root"
SYNC_USER = "env_sync"
CACHE = "128M"
Client = MongoClient[dict[str, Any]]


class MongoDBServer(Server):
    """One server with its data in one folder: made by the first start, kept by later ones.

    It listens on 127.0.0.1 alone and asks everyone for a password (SCRAM-SHA-256). The administrator's
    password and the port stay the same from start to start, as long as the port is free. `tls` are the files
    of a certificate and of its key. Without `auth` it lets anybody in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        port: int | None = None,
        tls: tuple[Path, Path] | None = None,
        auth: bool = True,
    ) -> None:
        """ServerMissing where SecantusDB is not installed."""
        super().__init__(folder)
        self.name = name or self.folder.name
        self.port = port or 0
        self.password = ""
        self.tls = tls
        self._kept: tuple[int, Client] | None = None
        self._auth = auth
        self._program = Path(sys.executable).with_name("secantusd-py")
        if not self._program.exists():
            raise ServerMissing(
                f"there is no {self._program}; install requirements/demo.txt into this virtual environment"
            )

    def start(self) -> Self:
        """Makes the data folder if there is none, starts, and waits until it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        self.port = process.choose_port(self.folder, self.port)
        if not (self.folder / "password").exists():
            self._make()
        self.password = (self.folder / "password").read_text()
        self._run(*(["--auth"] if self._auth else []))
        return self

    def client(self, user: str = ADMINISTRATOR, password: str | None = None) -> Client:
        """A client, for the caller to close; `password` is needed for other users than the administrator."""
        return self._client(
            username=user, password=self.password if password is None else password, authSource="admin"
        )

    @contextlib.contextmanager
    def connected(self, user: str = ADMINISTRATOR, password: str | None = None) -> Iterator[Client]:
        """The same for the length of a block; the administrator's is kept for the next one."""
        if user == ADMINISTRATOR and password is None:
            yield self._kept_client()
            return
        client = self.client(user, password)
        try:
            yield client
        finally:
            client.close()

    def _kept_client(self) -> Client:
        # A process that was forked must not talk over its parent's connections.
        if self._kept is None or self._kept[0] != os.getpid():
            self._kept = (os.getpid(), self.client())
        return self._kept[1]

    def stop(self) -> None:
        """End it in order, with the sessions that are open."""
        self._close_kept()
        super().stop()

    def kill(self) -> None:
        """Kill it as a crash would; the next start recovers."""
        self._close_kept()
        super().kill()

    def _close_kept(self) -> None:
        if self._kept is not None and self._kept[0] == os.getpid():
            self._kept[1].close()
        self._kept = None

    def airflow_connection(
        self, user: str = SYNC_USER, password: str | None = None, **extra: object
    ) -> dict[str, object]:
        """An Airflow connection to this server, as Airflow reads it from JSON."""
        return {
            "conn_type": "mongo",
            "host": self.host,
            "port": self.port,
            "login": user,
            "password": self.password if password is None else password,
            "extra": extra,
        }

    def create_user(self, name: str, password: str, roles: Sequence[Mapping[str, str] | str] = ()) -> None:
        """Makes a user of the whole server; it may do what its roles allow."""
        with self.connected() as client:
            client.admin.command("createUser", name, pwd=password, roles=list(roles))

    def create_looking_role(self, name: str) -> dict[str, str]:
        """Makes the role with which a sync sees who could read incoming; gives it as a user has it."""
        looks = [
            {"resource": {"cluster": True}, "actions": ["viewUser"]},
            {"resource": {"db": "admin", "collection": ""}, "actions": ["viewUser", "viewRole"]},
        ]
        with self.connected() as client:
            client.admin.command("createRole", name, privileges=looks, roles=[])
        return {"role": name, "db": "admin"}

    def grant(self, user: str, roles: Sequence[Mapping[str, str] | str]) -> None:
        """Gives a user more roles."""
        with self.connected() as client:
            client.admin.command("grantRolesToUser", user, roles=list(roles))

    def drop_user(self, name: str) -> None:
        """Drops a user of the whole server."""
        with self.connected() as client:
            client.admin.command("dropUser", name)

    def users(self) -> set[str]:
        """The names of all users of the whole server."""
        with self.connected() as client:
            return {user["user"] for user in client.admin.command("usersInfo", 1)["users"]}

    def databases(self) -> set[str]:
        """The names of all databases but the server's own."""
        with self.connected() as client:
            return set(client.list_database_names()) - {"admin", "config", "local"}

    def drop_database(self, name: str) -> None:
        """Drops a database; nothing happens where there is none."""
        with self.connected() as client:
            client.drop_database(name)

    def _make(self) -> None:
        """Makes the data folder and the administrator, whole or not at all."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        password = secrets.token_urlsafe(24)
        # Without --auth whoever comes may make users, so it is up for as long as that takes, on loopback.
        self._run()
        client = self._client()
        client.admin.command("createUser", ADMINISTRATOR, pwd=password, roles=["root"])
        client.close()
        self.stop()
        process.write_private(self.folder / "password", password)

    def _run(self, *options: str) -> None:
        command: list[str | Path] = [
            self._program,
            f"--host={self.host}",
            f"--port={self.port}",
            f"--storage-path={self.folder / 'data'}",
            f"--cache-size={CACHE}",
            *options,
        ]
        if self.tls:
            command += [f"--tls-cert-file={self.tls[0]}", f"--tls-key-file={self.tls[1]}"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._process = Process(
            f"MongoDB {self.name}", command, log=self.log, env=kept, cwd=self.folder, grace=10
        )
        self._process.start()
        self._process.wait_until(self._answers)

    def _answers(self) -> bool:
        client = self._client(serverSelectionTimeoutMS=1000)
        try:
            client.admin.command("hello")
        except PyMongoError:
            return False
        finally:
            client.close()
        return True

    def _client(self, **options: Any) -> Client:
        if self.tls:
            # It signed its certificate itself.
            options |= {"tls": True, "tlsCAFile": str(self.tls[0])}
        return MongoClient(
            self.host,
            self.port,
            directConnection=True,
            **{"serverSelectionTimeoutMS": 10_000, "tz_aware": True, **options},
        )
