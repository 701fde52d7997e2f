"""Registers the board with Airflow: its app in the api-server, and its entry in the navigation.

Airflow loads plugins in each of its processes, workers included, but only the api-server asks for the app:
it is made then.
"""

from __future__ import annotations

import functools
from typing import Any

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/env-sync"


class EnvSyncPlugin(AirflowPlugin):
    """The board."""

    name = "env_sync"

    @functools.cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app behind /env-sync."""
        from env_sync.board.app import make_app

        return [{"app": make_app(), "url_prefix": PREFIX, "name": "Env Sync"}]

    @functools.cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The entry "Data sync", which shows the page in a frame; Airflow may live below a path."""
        root = conf.get("api", "base_url", fallback="").rstrip("/")
        return [
            {
                "name": "Data sync",
                "href": f"{root}{PREFIX}/",
                "destination": "nav",
                "url_route": "data-sync",
                "nav_top_level": True,
            }
        ]
