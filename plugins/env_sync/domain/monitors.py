"""The monitors that are told how each sync went, as an environment configures them. Data alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from attrs import frozen

from env_sync.core.addresses import host_of

SERVICE = "GOV.UK environment sync {sync}"
"""The name under which the monitoring has always known the services of syncs."""
PLACEHOLDERS = ("environment", "sync", "group", "database")
"""What a template may name."""
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
NSCA_PORT = 5667


@frozen(kw_only=True)
class Icinga:
    """Icinga 2, by its API. `host` and `service` are templates of the names of its objects."""

    url: str
    host: str
    service: str = SERVICE
    ca: PurePosixPath | None = None
    connection: str

    def __str__(self) -> str:
        return f"icinga {host_of(self.url)}"


@frozen(kw_only=True)
class Nsca:
    """A daemon that `send_nsca` talks to; `config` is that program's own file, with its password."""

    server: str
    port: int = NSCA_PORT
    host: str
    service: str = SERVICE
    config: PurePosixPath | None = None

    def __str__(self) -> str:
        return f"nsca {self.server}:{self.port}"


@frozen(kw_only=True)
class Pushgateway:
    """Prometheus' Pushgateway. Without `connection` it is asked without a login."""

    url: str
    job: str = "env_sync"
    ca: PurePosixPath | None = None
    connection: str | None = None

    def __str__(self) -> str:
        return f"pushgateway {host_of(self.url)}"


Monitor = Icinga | Nsca | Pushgateway

KINDS: Mapping[str, type[Monitor]] = {"icinga": Icinga, "nsca": Nsca, "pushgateway": Pushgateway}


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its placeholders filled; `values` has all of PLACEHOLDERS."""
    return PLACEHOLDER.sub(lambda found: values[found[1]], template)
