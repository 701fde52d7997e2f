from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError

from sandbox import process
from sandbox.postgresql import PostgreSQLServer
from sandbox.process import Process, SandboxError, wait_for
from sandbox.s3 import Account, S3Server, VersityGW


@pytest.fixture(params=["postgresql15", "postgresql16", "postgresql18"])
def postgresql(request: pytest.FixtureRequest) -> Iterator[PostgreSQLServer]:
    server: PostgreSQLServer = request.getfixturevalue(request.param)
    yield server
    server.clear()


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_server_has_the_version_that_it_says(postgresql: PostgreSQLServer) -> None:
    [(version,)] = postgresql.execute("SHOW server_version_num")
    assert int(version) // 10000 == postgresql.version


def test_roles_are_as_on_rds(postgresql: PostgreSQLServer) -> None:
    postgresql.create_role("app_owner", "owner secret")
    postgresql.create_role("stranger", "stranger's secret")
    postgresql.create_sync_role("sync secret", member_of=["app_owner"])
    postgresql.create_database("app", "app_owner")
    with postgresql.connect("postgres", "env_sync", "sync secret") as sync:
        sync.execute("CREATE DATABASE app__incoming TEMPLATE template0")
        sync.execute("ALTER DATABASE app__incoming OWNER TO app_owner")
        with postgresql.connect("app", "app_owner", "owner secret") as session:
            ended = sync.execute("SELECT pg_terminate_backend(%s)", [session.info.backend_pid]).fetchone()
        assert ended == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sync.execute("CREATE ROLE other")
    assert postgresql.databases() == {"app", "app__incoming"}
    with pytest.raises(psycopg.OperationalError):
        postgresql.connect("app", "app_owner", "wrong")


def test_clear_leaves_nothing(postgresql: PostgreSQLServer) -> None:
    postgresql.create_role("owner'\"s", "secret")
    postgresql.create_database('odd "name"', "owner'\"s")
    postgresql.execute('GRANT CREATE ON SCHEMA public TO "owner\'""s"')
    postgresql.clear()
    assert postgresql.databases() == set()
    assert postgresql.roles() == set()


def test_data_port_and_password_outlive_restart_and_crash(server_folder: Path) -> None:
    server = PostgreSQLServer(server_folder / "restarted", "pypi16")
    with server:
        server.create_database("kept")
        before = (server.port, server.password)
        server.kill()
        assert not server.running
        server.start()
        assert server.databases() == {"kept"}
    with PostgreSQLServer(server_folder / "restarted", "pypi16") as again:
        assert (again.port, again.password) == before
        assert again.databases() == {"kept"}


def test_no_password_is_readable_by_others(server_folder: Path) -> None:
    with PostgreSQLServer(server_folder / "private", "pypi16") as server:
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert server.password.encode() not in command
        assert (server.folder / "password").stat().st_mode & 0o077 == 0
        assert (server.folder / "data").stat().st_mode & 0o077 == 0
        assert server.password not in server.log.read_text()


def test_server_that_cannot_start_says_why(server_folder: Path) -> None:
    server = PostgreSQLServer(server_folder / "broken", "pypi16", settings={"no_such_setting": "1"})
    with pytest.raises(SandboxError, match="unrecognized configuration parameter"):
        server.start()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_process_that_started_it(tmp_path: Path, how: signal.Signals) -> None:
    # A server that starts a child in a session of its own, as Airflow does, and prints both pids.
    child = "import subprocess, os, time; c = subprocess.Popen(['sleep', '600'], start_new_session=True)"
    child += "; print(os.getpid(), c.pid, flush=True); time.sleep(600)"
    parent = f"""
import sys, time
from pathlib import Path
from sandbox.process import Process
server = Process("sleeper", [sys.executable, "-c", {child!r}], log=Path({str(tmp_path / "log")!r}))
server.start()
time.sleep(600)
"""
    running = subprocess.Popen([sys.executable, "-c", parent])
    log = tmp_path / "log"
    try:
        pids = wait_for(lambda: log.read_text().split() if log.exists() else [], "both pids", 20)
        assert all(alive(int(pid)) for pid in pids)
    finally:
        running.send_signal(how)
        running.wait()
    wait_for(lambda: not any(alive(int(pid)) for pid in pids), "both to end", 20)


def test_server_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    server = Process("stubborn", [sys.executable, "-c", stubborn], log=tmp_path / "log", grace=0.2)
    server.start()
    server.wait_until(lambda: "up" in (tmp_path / "log").read_text())
    server.stop()
    assert not alive(server.pid)
    assert server.exit_code == 128 + signal.SIGKILL


def test_server_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    server = Process("failing", ["sh", "-c", "echo the reason; exit 3"], log=tmp_path / "log")
    server.start()
    with pytest.raises(SandboxError, match=r"(?s)exit code 3.*the reason"):
        server.wait_until(lambda: False, seconds=60)


def test_program_that_is_missing_is_named(tmp_path: Path) -> None:
    server = Process("missing", ["/no/such/program"], log=tmp_path / "log")
    server.start()
    with pytest.raises(SandboxError, match=r"(?s)exit code 127.*/no/such/program"):
        server.wait_until(lambda: False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs are hidden from the servers' user")
def test_programs_of_root_are_copied_to_where_servers_can_read_them(tmp_path: Path) -> None:
    user = process.unprivileged_user()
    tmp_path.chmod(0o700)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "program").write_text("text")
    assert not process.can_enter(tmp_path / "part", user)
    copy = process.readable_copy(tmp_path, ["part"], f"test-{os.getpid()}", user)
    try:
        assert process.can_enter(copy / "part" / "program", user)
    finally:
        shutil.rmtree(copy)


@pytest.fixture(params=["s3", "moto"])
def any_s3(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


def test_objects_are_kept_and_listed(any_s3: S3Server) -> None:
    any_s3.create_buckets(["kept", "kept-too"])
    any_s3.create_buckets(["kept"])
    any_s3.client().put_object(Bucket="kept", Key="folder/key", Body=b"content")
    assert any_s3.keys("kept") == ["folder/key"]
    assert any_s3.client().get_object(Bucket="kept", Key="folder/key")["Body"].read() == b"content"
    any_s3.empty("kept")
    assert any_s3.keys("kept") == []


def test_versitygw_keeps_accounts_apart(s3: VersityGW) -> None:
    staging, integration = s3.create_account("staging"), s3.create_account("integration")
    s3.create_buckets(["staging-backups"], owner=staging)
    s3.client(staging).put_object(Bucket="staging-backups", Key="key", Body=b"content")
    for stranger in (integration, Account("staging", "wrong")):
        with pytest.raises(ClientError, match=r"AccessDenied|SignatureDoesNotMatch"):
            s3.client(stranger).get_object(Bucket="staging-backups", Key="key")
    s3.give_bucket("staging-backups", integration)
    assert s3.client(integration).get_object(Bucket="staging-backups", Key="key")["Body"].read() == b"content"
