"""Who may see and do what on the board: whatever they may with the DAG of the environment in Airflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request, status

from env_sync.board.nights import dag_id
from env_sync.core.errors import UnknownEnvironment
from env_sync.planning.installation import chosen_environments

FROM_THE_PAGE = "X-Env-Sync"
"""The header that the page sends with what changes something."""


def _environment(environment: str) -> str:
    """The environment in the path. Raises UnknownEnvironment where this instance has none of the name."""
    if environment not in (known := chosen_environments()):
        raise UnknownEnvironment(
            f"There is no environment {environment!r} here; there are: {', '.join(known)}."
        )
    return environment


EnvironmentName = Annotated[str, Depends(_environment)]
"""An environment of this instance, out of the path."""


def _requires(*rights: tuple[ResourceMethod, DagAccessEntity | None]) -> Callable[..., None]:
    def check(request: Request, user: GetUserDep, environment: EnvironmentName) -> None:
        for method, entity in rights:
            requires_access_dag(method, entity, dag_id(environment))(request, user)

    return check


may_read = Depends(_requires(("GET", None)))
may_edit = Depends(_requires(("PUT", None)))
may_run = Depends(_requires(("PUT", None), ("POST", DagAccessEntity.RUN)))
may_rerun = Depends(_requires(("PUT", None), ("PUT", DagAccessEntity.TASK_INSTANCE)))


def allows(user: BaseUser, method: ResourceMethod, environment: str) -> bool:
    """Whether a user may do that with the DAG of an environment."""
    details = DagDetails(id=dag_id(environment))
    return get_auth_manager().is_authorized_dag(method=method, user=user, details=details)


def readable_environments(user: BaseUser) -> tuple[str, ...]:
    """The environments of this instance that a user may see."""
    return tuple(name for name in chosen_environments() if allows(user, "GET", name))


def refuse_forged(request: Request) -> None:
    """Refuse what another site's page may have sent with the cookie of whoever looks at it: 403.

    A token in the header cannot come from there. With the cookie alone, the request must carry our own
    header, which the browser lets no other site send, and must not say that it comes from one.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    # Where no address is configured there is none to compare with; `Origin: null` has none either.
    own = {request.headers.get("host"), urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {""}
    if (
        FROM_THE_PAGE.lower() not in request.headers
        or site not in (None, "same-origin")
        or (origin is not None and urlsplit(origin).netloc not in own)
    ):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            "This did not come from the board's own page. A program sends a token: Authorization: Bearer.",
        )


not_forged = Depends(refuse_forged)
