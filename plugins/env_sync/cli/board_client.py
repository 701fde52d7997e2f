"""A client of the board's API, for the command line. Imports no Airflow: it may run on any laptop."""

from __future__ import annotations

from typing import Any

import httpx
from attrs import field, frozen
from pydantic import TypeAdapter, ValidationError

from env_sync.board.answers import EnvironmentAnswer
from env_sync.core.errors import AccessRefused, InvalidRequest, ServerUnreachable, UnknownEnvironment
from env_sync.core.secret import Secret

URL, USER = "ENV_SYNC_AIRFLOW_URL", "ENV_SYNC_AIRFLOW_USER"
PASSWORD, TOKEN = "ENV_SYNC_AIRFLOW_PASSWORD", "ENV_SYNC_AIRFLOW_TOKEN"
PATIENCE = 30.0
"""How many seconds Airflow has to answer."""
ANSWERS = TypeAdapter(list[EnvironmentAnswer])


@frozen(kw_only=True)
class Login:
    """Where Airflow is, and as whom to ask: with a token, else with a name and a password."""

    url: str
    user: str = ""
    password: Secret = field(factory=lambda: Secret(""))
    token: Secret = field(factory=lambda: Secret(""))


def read_environments(login: Login, environment: str | None = None) -> list[EnvironmentAnswer]:
    """The status of one environment, or of all that may be seen.

    Raises InvalidRequest for an address that is none, ServerUnreachable, AccessRefused, UnknownEnvironment.
    """
    if not login.url.startswith(("http://", "https://")):
        raise InvalidRequest(
            f"Airflow's address is {login.url or 'not given'}: write it with http:// or https:// in {URL}, "
            "or after --url."
        )
    with httpx.Client(base_url=login.url.rstrip("/"), timeout=PATIENCE) as http:
        token = login.token.reveal() or _token(http, login)
        http.headers["Authorization"] = f"Bearer {token}"
        path = "/env-sync/api/v1/environments"
        if environment is None:
            answers = _json(_ask(http, "GET", path), login)
        else:
            answers = [_json(_ask(http, "GET", f"{path}/{environment}"), login)]
    try:
        return ANSWERS.validate_python(answers)
    except ValidationError as problem:
        raise ServerUnreachable(
            f"{login.url} does not answer as Env Sync does ({problem.error_count()} fields differ): is it of "
            "another version?"
        ) from None


def _token(http: httpx.Client, login: Login) -> str:
    if not login.user or not login.password.reveal():
        raise InvalidRequest(
            f"No login for {login.url}: set {TOKEN}, or {USER} and {PASSWORD}; or give --user and type the "
            "password."
        )
    body = {"username": login.user, "password": login.password.reveal()}
    answer = _ask(http, "POST", "/auth/token", json=body)
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise AccessRefused(f"{login.url} refused {login.user} with this password.")
    return str(_json(answer, login)["access_token"])


def _ask(http: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    try:
        return http.request(method, path, **options)
    except httpx.HTTPError as problem:
        raise ServerUnreachable(
            f"{http.base_url} does not answer ({type(problem).__name__}): see whether Airflow's api-server "
            f"runs, and whether {URL} is right."
        ) from None


def _json(answer: httpx.Response, login: Login) -> Any:
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise AccessRefused(
            f"{login.url} refused: the token is not valid, or this user may not read the DAGs of Env Sync."
        )
    try:
        told = answer.json()
    except ValueError:
        told = None
    if answer.status_code == httpx.codes.NOT_FOUND and isinstance(told, dict) and "environment" in str(told):
        raise UnknownEnvironment(str(told["detail"]))
    if not answer.is_success or told is None:
        detail = told.get("detail") if isinstance(told, dict) else None
        raise ServerUnreachable(
            f"{answer.url} answered {answer.status_code}{f': {detail}' if detail else ''}. Is it an Airflow "
            "with Env Sync?"
        )
    return told
