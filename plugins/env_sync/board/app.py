"""The board's app, which Airflow's api-server mounts at /env-sync."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Request, Response, status
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from env_sync.board.api import router
from env_sync.board.metrics import metrics
from env_sync.board.pages import pages
from env_sync.core.errors import (
    ConfirmationMissing,
    EnvSyncError,
    InvalidRequest,
    NothingToRestore,
    UnknownEnvironment,
    UnknownSync,
)

STATIC = Path(__file__).parent / "static"
STATUS: Mapping[type[Exception], int] = {
    InvalidRequest: status.HTTP_400_BAD_REQUEST,
    ConfirmationMissing: status.HTTP_400_BAD_REQUEST,
    UnknownEnvironment: status.HTTP_404_NOT_FOUND,
    UnknownSync: status.HTTP_404_NOT_FOUND,
    NothingToRestore: status.HTTP_404_NOT_FOUND,
}
"""The HTTP status of each error that the caller can put right; of all others it is 502."""
HEADERS = {
    # Everything comes from here, and only Airflow itself may show it in a frame.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def make_app() -> FastAPI:
    """The app: every path but the style and the script asks for a login."""
    # The pages that FastAPI offers for its documentation load scripts from elsewhere; `pages` has its own.
    app = FastAPI(
        title="Env Sync",
        version="1",
        description="What Airflow shows as Data sync: status, runs, pauses and dumps of each environment.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(router, dependencies=[Depends(get_user)])
    app.include_router(pages, dependencies=[Depends(get_user)])
    app.include_router(metrics, dependencies=[Depends(get_user)])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(EnvSyncError, _error_answer)
    app.add_exception_handler(HTTPException, _sent_to_login)
    app.middleware("http")(_with_headers)
    return app


async def _error_answer(_request: Request, problem: Exception) -> Response:
    code = STATUS.get(type(problem), status.HTTP_502_BAD_GATEWAY)
    return JSONResponse({"detail": str(problem)}, code)


async def _sent_to_login(request: Request, problem: Exception) -> Response:
    """Somebody who opens a page without being logged in comes to Airflow's own login, and back."""
    if not isinstance(problem, HTTPException):
        raise problem
    root = conf.get("api", "base_url", fallback="").rstrip("/")
    api = "/api/" in request.url.path or request.url.path.endswith("/metrics")
    if problem.status_code == status.HTTP_401_UNAUTHORIZED and request.method == "GET" and not api:
        return RedirectResponse(f"{root}/api/v2/auth/login?next={quote(str(request.url), safe='')}")
    return await http_exception_handler(request, problem)


async def _with_headers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await go_on(request)
    answer.headers.update(HEADERS)
    return answer
