"""How a program is told where to connect: a private option file, which is gone when the program is."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.mysql.version import Family


@contextlib.contextmanager
def option_file(connection: ServerConnection, family: Family, folder: Path) -> Iterator[Path]:
    """A file for `--defaults-extra-file` that only this user can read, for a program of that family."""
    wanted = {
        "host": connection.host,
        "port": str(connection.port or 3306),
        "user": connection.login,
        "password": connection.password.reveal(),
        # Without TLS the password of a caching_sha2_password account goes to the server encrypted by its key.
        **({"get-server-public-key": "1"} if family is Family.MYSQL else {}),
        **_tls(connection, family),
    }
    lines = ["[client]", *(f"{name}={_quoted(value)}" for name, value in wanted.items())]
    descriptor, name = tempfile.mkstemp(prefix="client_", suffix=".cnf", dir=folder)
    file = Path(name)
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write("\n".join(lines) + "\n")
        yield file
    finally:
        file.unlink(missing_ok=True)


def _tls(connection: ServerConnection, family: Family) -> dict[str, str]:
    extra = connection.extra
    files = {
        name.replace("_", "-"): str(extra[name])
        for name in ("ssl_ca", "ssl_cert", "ssl_key")
        if extra.get(name)
    }
    mode = str(extra.get("ssl_mode") or ("VERIFY_IDENTITY" if files else "")).upper()
    if not mode:
        return files
    if family is Family.MYSQL:
        return {**files, "ssl-mode": mode}
    return {**files, "ssl": "1", "ssl-verify-server-cert": "1" if mode == "VERIFY_IDENTITY" else "0"}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
