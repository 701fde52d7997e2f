"""The pages: one over all environments, one for each, and the reference of the API."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from urllib.parse import urlsplit

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from env_sync.board.access import EnvironmentName, allows, may_read, readable_environments
from env_sync.board.overview import read_statuses
from env_sync.board.reference import endpoints
from env_sync.board.view import View, length, size
from env_sync.core.errors import EnvSyncError
from env_sync.core.plural import plural
from env_sync.domain.report import Result
from env_sync.planning.request import RAW
from env_sync.status.values import Phase

pages = APIRouter(include_in_schema=False)

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters.update(lasted=length, plural=plural, size=size)
TEMPLATES.globals.update(Phase=Phase, RAW=RAW, Result=Result)


@pages.get("/")
def everything(session: SessionDep, user: GetUserDep) -> HTMLResponse:
    """All environments that the user may see."""
    names = readable_environments(user)
    try:
        statuses = read_statuses(session, names, dt.datetime.now(dt.UTC))
    except EnvSyncError as problem:
        return _page("trouble.html", 502, environment=None, names=names, problem=problem)
    views = [
        View(status=status, root=_root(), may_edit=allows(user, "PUT", status.environment))
        for status in statuses
    ]
    return _page("all.html", environment=None, names=names, views=views)


@pages.get("/environments/{environment}", dependencies=[may_read])
def one(session: SessionDep, user: GetUserDep, environment: EnvironmentName) -> HTMLResponse:
    """One environment."""
    names = readable_environments(user)
    try:
        (status,) = read_statuses(session, [environment], dt.datetime.now(dt.UTC))
    except EnvSyncError as problem:
        return _page("trouble.html", 502, environment=environment, names=names, problem=problem)
    view = View(status=status, root=_root(), may_edit=allows(user, "PUT", environment))
    return _page("environment.html", environment=environment, names=names, view=view)


@pages.get("/api")
def reference(request: Request, user: GetUserDep) -> HTMLResponse:
    """The reference of the API, made of its OpenAPI document."""
    names = readable_environments(user)
    found = endpoints(_openapi(request))
    return _page("reference.html", environment="api", names=names, endpoints=found)


@pages.get("/api/v1/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document itself."""
    return JSONResponse(_openapi(request))


def _openapi(request: Request) -> dict[str, object]:
    app = request.app
    return get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[{"url": f"{_root()}/env-sync"}],
    )


def _root() -> str:
    """The path of Airflow's address, without a slash at its end: the host may be that of a proxy."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def _page(template: str, code: int = 200, **values: object) -> HTMLResponse:
    text = TEMPLATES.get_template(template).render(base=f"{_root()}/env-sync", root=_root(), **values)
    return HTMLResponse(text, code, headers={"Cache-Control": "no-store"})
