"""How the sandbox's access to Airflow takes what Airflow answers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tenacity import wait_none

from sandbox.airflow_api import ATTEMPTS, AirflowApi, ApiRefused

DEADLOCK = {"reason": "Database error", "orig_error": "deadlock detected"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AirflowApi.request.retry, "wait", wait_none())


def asked(monkeypatch: pytest.MonkeyPatch, answers: Iterator[httpx.Response]) -> AirflowApi:
    """Access to an Airflow that answers this, one after the other."""
    real = httpx.Client

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(200, json={"access_token": "x"})
        return next(answers)

    def client(**options: object) -> httpx.Client:
        return real(base_url="http://airflow", transport=httpx.MockTransport(answer))

    monkeypatch.setattr(httpx, "Client", client)
    return AirflowApi("http://airflow", "admin", "secret")


def failed(status: int, detail: object) -> httpx.Response:
    return httpx.Response(status, json={"detail": detail})


def test_what_the_database_undid_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    api = asked(monkeypatch, iter([failed(500, DEADLOCK), httpx.Response(200, json={"is_paused": True})]))
    api.pause_dag("one")


def test_a_database_that_always_undoes_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    api = asked(monkeypatch, iter([failed(500, DEADLOCK)] * ATTEMPTS))
    with pytest.raises(ApiRefused, match="deadlock detected"):
        api.pause_dag("one")


@pytest.mark.parametrize(("status", "detail"), [(500, "Internal Server Error"), (409, DEADLOCK)])
def test_every_other_refusal_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, status: int, detail: object
) -> None:
    api = asked(monkeypatch, iter([failed(status, detail)]))
    with pytest.raises(ApiRefused) as refused:
        api.pause_dag("one")
    assert refused.value.status == status
