"""The tables of Airflow's metadata database, as `airflow db migrate` makes them, kept for the next database.

Migrating takes Airflow ten seconds of a core; to restore what it made takes one.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from sandbox import process
from sandbox.postgresql import PostgreSQLServer


def make_tables(server: PostgreSQLServer, database: str, migrate: Callable[[], object]) -> None:
    """Make or upgrade the tables of a database whose owner has its name; `migrate` does it by Airflow.

    Where a database of this version of Airflow was made before, on a server of this version, an empty one
    gets what that had.
    """
    version = importlib.metadata.version("apache-airflow-core")
    kept = process.cache_folder() / f"airflow-{version}-tables-postgresql-{server.version}.dump"
    empty = not server.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public' LIMIT 1", None, database)
    if not empty:
        migrate()
    elif kept.exists():
        _run(server, database, "pg_restore", "--exit-on-error", "--no-owner", f"--role={database}", kept)
    else:
        migrate()
        _keep(server, database, kept)


def _keep(server: PostgreSQLServer, database: str, kept: Path) -> None:
    """Dump the database into this file, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        made = Path(folder) / kept.name
        _run(server, database, "pg_dump", "--format=custom", "--no-owner", f"--file={made}")
        made.replace(kept)


def _run(server: PostgreSQLServer, database: str, program: str, *arguments: str | Path) -> None:
    """Run a program of the server's own version, as its superuser."""
    address = ["-h", server.host, "-p", str(server.port), "-U", "postgres", "-d", database]
    environment = {**os.environ, "PGPASSWORD": server.password}
    process.run([server.installation.bin / program, *address, *arguments], env=environment)
