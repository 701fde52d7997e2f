"""S3 servers: versitygw, which checks signatures and accounts, and moto, which comes from PyPI."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import boto3
from attrs import frozen
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sandbox import process
from sandbox.process import Process, SandboxError, ServerMissing
from sandbox.server import Server

REGION = "eu-west-1"
VERSITYGW_MODULE = "github.com/versity/versitygw/cmd/versitygw"
VERSITYGW_VERSION = "v1.8.0"
MOST_DELETED = 1000
"""Objects that S3 deletes at one request."""
MOTO_PAGE = 100
"""Keys that moto tells of at one request; S3 tells of a thousand."""
GO_VERSION = (1, 25)  # the oldest that builds it, from its go.mod


@frozen
class Account:
    """An access key and its secret."""

    access_key: str
    secret_key: str


class S3Server(Server):
    """An S3 server on 127.0.0.1; `root` is the account that may do everything."""

    name = "S3"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """Keeps what it writes in the folder; a port of its own is chosen where none is given."""
        super().__init__(folder)
        self.port = port or 0
        self.root = Account("sandbox-root", secrets.token_urlsafe(24))
        self._clients: dict[tuple[int, str, Account], Any] = {}

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts it and waits until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = process.choose_port(self.folder, self.port)
        command, env = self._command()
        self._process = Process(self.name, command, log=self.log, env={**os.environ, **env}, cwd=self.folder)
        self._process.start()
        self._process.wait_until(self._answers)
        return self

    def client(self, account: Account | None = None) -> Any:
        """A boto3 client for the account, by default `root`; made once, for that takes a while."""
        account = account or self.root
        # A process that was forked must not talk over its parent's connections.
        key = (os.getpid(), self.endpoint, account)
        if key not in self._clients:
            self._clients[key] = self._new_client(account)
        return self._clients[key]

    def _new_client(self, account: Account) -> Any:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=account.access_key,
            aws_secret_access_key=account.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=60,
                retries={"max_attempts": 1},
            ),
        )

    def create_buckets(self, names: Iterable[str], owner: Account | None = None) -> None:
        """Makes the buckets that are not there yet."""
        client = self.client(owner)
        present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in names:
            if name not in present:
                client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """All keys of a bucket, in order."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def empty(self, bucket: str) -> None:
        """Deletes every object of a bucket."""
        client = self.client()
        keys = self.keys(bucket)
        for start in range(0, len(keys), MOST_DELETED):
            objects = [{"Key": key} for key in keys[start : start + MOST_DELETED]]
            client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})

    def airflow_connection(self, account: Account | None = None, **extra: object) -> dict[str, object]:
        """An Airflow connection to this server, as Airflow reads it from JSON."""
        account = account or self.root
        return {
            "conn_type": "aws",
            "login": account.access_key,
            "password": account.secret_key,
            "extra": {
                "endpoint_url": self.endpoint,
                "region_name": REGION,
                "config_kwargs": {"s3": {"addressing_style": "path"}},
                **extra,
            },
        }

    def _command(self) -> tuple[list[str | Path], dict[str, str]]:
        """What to run, and what to add to its environment."""
        raise NotImplementedError

    def _answers(self) -> bool:
        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


class VersityGW(S3Server):
    """versitygw over plain files: checks signatures, knows accounts, bucket policies and multipart.

    Says nothing of encryption in its answers, and cannot hold the keys `a/b` and `a/b/c` at once. The
    objects outlive a restart; the accounts do too, the secret of `root` does not.
    """

    name = "versitygw"

    def start(self) -> Self:
        """Starts it and waits until it answers; ServerMissing where it is not built and cannot be."""
        for part in ("objects", "versions", "iam"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        return super().start()

    def create_account(self, name: str) -> Account:
        """Makes an account that may create buckets; it sees nothing of the other accounts."""
        account = Account(name, secrets.token_urlsafe(24))
        self._admin("create-user", "--access", name, "--secret", account.secret_key, "--role", "userplus")
        return account

    def give_bucket(self, bucket: str, owner: Account) -> None:
        """Makes the account the owner of the bucket."""
        self._admin("change-bucket-owner", "--bucket", bucket, "--owner", owner.access_key)

    def _admin(self, *arguments: str) -> None:
        env = {
            **os.environ,
            "ADMIN_ACCESS_KEY": self.root.access_key,
            "ADMIN_SECRET_KEY": self.root.secret_key,
            "ADMIN_ENDPOINT_URL": self.endpoint,
            "ADMIN_REGION": REGION,
        }
        process.run([versitygw(), "admin", *arguments], env=env, seconds=30)

    def _command(self) -> tuple[list[str | Path], dict[str, str]]:
        command: list[str | Path] = [versitygw(), "--port", f"127.0.0.1:{self.port}", "--region", REGION]
        command += ["--iam-dir", self.folder / "iam", "--keep-alive", "--quiet"]
        command += ["posix", "--versioning-dir", self.folder / "versions", self.folder / "objects"]
        return command, {
            "ROOT_ACCESS_KEY_ID": self.root.access_key,
            "ROOT_SECRET_ACCESS_KEY": self.root.secret_key,
        }


class MotoS3(S3Server):
    """moto's server: from PyPI alone, keeps objects in memory, answers with their encryption and ACL.

    Checks no signatures: any account may do everything. Its pages are small, so that few objects fill one.
    """

    name = "moto"

    def _command(self) -> tuple[list[str | Path], dict[str, str]]:
        command: list[str | Path] = [sys.executable, "-m", "moto.server"]
        command += ["-H", "127.0.0.1", "-p", str(self.port)]
        return command, {"MOTO_S3_DEFAULT_MAX_KEYS": str(MOTO_PAGE)}


def versitygw() -> Path:
    """The program, built with Go on first use (some two minutes) and then kept in the cache.

    ServerMissing where it is not built and there is no Go to build it with.
    """
    program = _kept()
    if program.exists():
        return program
    home = program.parent
    making = home.with_name(f"{home.name}.{os.getpid()}")
    env = {**os.environ, "GOBIN": str(making), "CGO_ENABLED": "0"}
    try:
        process.run([go(), "install", f"{VERSITYGW_MODULE}@{VERSITYGW_VERSION}"], env=env, seconds=1200)
        home.mkdir(exist_ok=True)
        (making / "versitygw").replace(program)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return program


def _kept() -> Path:
    """Where the program is, once it was built."""
    return process.cache_folder() / f"versitygw-{VERSITYGW_VERSION}" / "versitygw"


def go() -> Path:
    """The `go` command, new enough for versitygw: this virtual environment's, PATH's or go.dev's usual place.

    ServerMissing, with what to install, where there is none.
    """
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/local/go/bin"]
    found = []
    for place in places:
        program = shutil.which("go", path=place)
        if program is None:
            continue
        version = process.run(
            [program, "env", "GOVERSION"], env={**os.environ, "GOTOOLCHAIN": "local"}
        ).strip()
        if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) >= GO_VERSION:
            return Path(program)
        found.append(f"{program} is {version}")
    wanted = ".".join(str(number) for number in GO_VERSION)
    raise ServerMissing(
        f"versitygw {VERSITYGW_VERSION} is not built yet and needs Go {wanted} or later "
        f"({', '.join(found) or 'there is none on the PATH'}): install that, or requirements/go.txt into "
        "this virtual environment"
    )


if __name__ == "__main__":
    if "--built" in sys.argv[1:]:
        sys.exit(not _kept().exists())
    try:
        sys.stdout.write(f"{versitygw()}\n")
    except SandboxError as problem:
        sys.exit(str(problem))
