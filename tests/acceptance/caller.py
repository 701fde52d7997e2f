"""Who asks the board's API."""

from __future__ import annotations

from typing import Any

import httpx

from tests.acceptance.scene import Scene

API = "/env-sync/api/v1"


class Caller:
    """A user's access to the board's API, as a program has it: with a token."""

    def __init__(self, scene: Scene, user: str | None) -> None:
        self._http = httpx.Client(base_url=scene.airflow.url, timeout=60, trust_env=False)
        if user is not None:
            login = {"username": user, "password": scene.airflow.passwords[user]}
            token = self._http.post("/auth/token", json=login).json()["access_token"]
            self._http.headers["Authorization"] = f"Bearer {token}"

    def __call__(self, method: str, path: str, body: object = None, **options: Any) -> httpx.Response:
        return self._http.request(method, path, json=body, **options)

    def get(self, path: str) -> Any:
        answer = self("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def with_cookie(self) -> None:
        """Go on as a browser does, which sends its token by itself."""
        self._http.cookies.set("_token", self._http.headers.pop("Authorization").partition(" ")[2])
