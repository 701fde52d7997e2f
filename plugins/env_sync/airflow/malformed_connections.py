"""Connections that cannot be what they are meant to be: which, and in which field, without the value."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from env_sync.core.addresses import has_unescaped_login, split
from env_sync.engines.base.malformed import malformed

if TYPE_CHECKING:
    from airflow.sdk import Connection

VARIABLE = "AIRFLOW_CONN_{}"
"""How Airflow calls the environment variable of a connection, in capitals."""
TEXTS = ("conn_type", "description", "login", "password", "host", "schema")
FIELDS = (*TEXTS, "port", "extra")
"""What the JSON of a connection may have."""
ESCAPE = "write %2F for /, %3F for ?, %23 for # and %40 for @ in it, or the connection as JSON"
PORTS = range(1, 65536)
_NO_HOST = re.compile(r"[\s\x00@?#]|://")


def check_variable(connection_id: str) -> None:
    """Raises ConnectionMalformed where the environment has this connection in a way that cannot be read.

    Airflow says of most of those that there is no such connection.
    """
    name = VARIABLE.format(connection_id.upper())
    text = os.environ.get(name, "").strip()
    if not text:
        return
    found = _wrong_json(text) if text.startswith("{") else _wrong_uri(text)
    if found is not None:
        raise malformed(f"{connection_id} (environment variable {name})", *found)


def check_connection(connection: Connection) -> None:
    """Raises ConnectionMalformed for an extra that is no JSON object, and a port that is none."""
    if (wrong := _wrong_extra(connection.extra) or _wrong_port(connection.port)) is not None:
        raise malformed(str(connection.conn_id), *wrong)


def check_host(connection: Connection) -> None:
    """Raises ConnectionMalformed for a host that is a URL, or has a login in it: messages name hosts."""
    if _NO_HOST.search(connection.host or ""):
        raise malformed(
            str(connection.conn_id),
            "host",
            "it holds more than a name or an address; the login has its own field",
        )


def check_endpoint(connection: Connection) -> None:
    """The same for `endpoint_url`, where the extra has one."""
    extra = connection.extra_dejson
    services = extra.get("service_config")
    asked = [("endpoint_url", extra.get("endpoint_url"))]
    if isinstance(services, Mapping):
        asked += [
            (f"service_config.{name}.endpoint_url", service.get("endpoint_url"))
            for name, service in services.items()
            if isinstance(service, Mapping)
        ]
    for field, url in asked:
        if url and (what := _wrong_endpoint(url)) is not None:
            raise malformed(str(connection.conn_id), f"{field} in the extra", what)


def _wrong_endpoint(url: object) -> str | None:
    if not isinstance(url, str):
        return "it is not text"
    parts = split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "it is not a URL such as https://s3.example:9000"
    if "@" in parts.netloc or has_unescaped_login(parts):
        return "it holds a login; write the access key and its secret into the login and password"
    if parts.query or parts.fragment:
        return "it continues after the path"
    return None


def _wrong_json(text: str) -> tuple[str, str] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return "all of it", "it starts with { but is not JSON"
    if unknown := said.keys() - set(FIELDS):
        known = f"{len(unknown)} of its fields are" if len(unknown) > 1 else "one of its fields is"
        return "all of it", f"{known} none of {', '.join(FIELDS)}"
    for name in TEXTS:
        if not isinstance(said.get(name), str | None):
            return name, "it is not text"
    extra = said.get("extra")
    return _wrong_port(said.get("port")) or (
        None if isinstance(extra, Mapping) else _wrong_extra(extra) if extra else None
    )


def _wrong_uri(text: str) -> tuple[str, str] | None:
    if "://" not in text:
        return "all of it", "it is neither JSON nor a URI such as postgresql://login:password@host:5432"
    try:
        parts = urlsplit(text)
    except ValueError:
        return "host", f"it is none; if the password has a bracket, {ESCAPE}, %5B for [ and %5D for ]"
    if has_unescaped_login(parts):
        return "password", f"a character ends it too early: {ESCAPE}"
    return None if split(text) is not None else ("port", "it is none")


def _wrong_extra(extra: object) -> tuple[str, str] | None:
    if not extra:
        return None
    example = 'write {"environment": "integration"}, or whichever it is, and the other settings beside it'
    try:
        said = json.loads(extra) if isinstance(extra, str) else None
    except ValueError:
        return "extra", f"it is not JSON; {example}"
    return None if isinstance(said, dict) else ("extra", f"it is not a JSON object; {example}")


def _wrong_port(port: object) -> tuple[str, str] | None:
    if port in (None, ""):
        return None
    try:
        number = int(str(port))
    except ValueError:
        return "port", "it is not a number"
    return None if number in PORTS or number == 0 else ("port", f"it is not from 1 to {PORTS[-1]}")
