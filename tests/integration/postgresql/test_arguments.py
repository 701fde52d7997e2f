"""What every user of the machine can see of a running program: its arguments."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.core.secret import Secret
from env_sync.engines.postgresql import client
from env_sync.engines.postgresql.client_tools import FOLDERS
from sandbox.postgresql import PostgreSQLServer
from tests.integration.postgresql.tools import connection, dump, restore, verify

PASSWORD = "a password of the sync's role"


@pytest.fixture
def server(postgresql18: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    yield postgresql18
    postgresql18.clear()


@pytest.fixture
def seen(server: PostgreSQLServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the arguments of each program of PostgreSQL that runs, one a line."""
    seen, folder = tmp_path / "seen", tmp_path / "tools"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        program = folder / name
        real = server.installation.bin / name
        program.write_text(f'#!/bin/sh\ntr "\\0" "\\n" </proc/$$/cmdline >>{seen}\nexec {real} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv(FOLDERS, str(folder))
    return seen


@pytest.mark.probe("passwords in errors and arguments")
def test_no_password_is_among_the_arguments_or_in_the_log(
    server: PostgreSQLServer, seen: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.create_sync_role(PASSWORD)
    for database in ("source", "target"):
        server.create_database(database, "env_sync")
    server.execute("SET ROLE env_sync; CREATE TABLE people (name text)", database="source")
    as_role = connection(server, login="env_sync", password=Secret(PASSWORD))

    dump(server, "source", tmp_path / "dump", connection=as_role)
    verify(tmp_path / "dump")
    restore(server, tmp_path / "dump", "target", connection=as_role)

    arguments = seen.read_text()
    assert "pg_dump" in arguments
    assert "pg_restore" in arguments
    assert "target" in arguments
    # Of pg_dump, and of both runs of pg_restore.
    assert arguments.count("=dbname='") == arguments.count("keepalives_idle=60") == 3
    assert PASSWORD not in arguments
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(as_role)


def test_a_session_that_idles_keeps_its_connection_alive(server: PostgreSQLServer) -> None:
    """The system's own way is to say nothing for two hours, in which whatever is between forgets it."""
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    with (
        contextlib.closing(client.connect(connection(server), "postgres")) as session,
        socket.socket(fileno=os.dup(session.fileno())) as ours,
    ):
        assert [ours.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [60, 10, 6]
