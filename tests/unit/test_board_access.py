"""What changes something must not come from another site's page."""

from __future__ import annotations

import pytest
from fastapi import HTTPException, Request

from env_sync.board.access import refuse_forged

OURS = {"host": "airflow.test", "x-env-sync": "board"}


def a_request(**headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": pairs})


@pytest.mark.parametrize(
    "headers",
    [
        OURS,
        {**OURS, "sec_fetch_site": "same-origin", "origin": "https://airflow.test"},
        {"host": "airflow.test", "authorization": "Bearer a-token"},
        # A token is no cookie: whoever has it may be anywhere.
        {"host": "airflow.test", "authorization": "bearer a-token", "origin": "https://elsewhere.test"},
    ],
)
def test_the_boards_own_page_and_whoever_has_a_token_may(headers: dict[str, str]) -> None:
    refuse_forged(a_request(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "airflow.test"},
        {"host": "airflow.test", "authorization": "Bearer "},
        {"host": "airflow.test", "authorization": "Basic YTpi"},
        {**OURS, "sec_fetch_site": "cross-site"},
        {**OURS, "sec_fetch_site": "same-site"},
        {**OURS, "sec_fetch_site": "none"},
        {**OURS, "origin": "https://elsewhere.test"},
        {**OURS, "origin": "https://airflow.test.elsewhere.test"},
        {**OURS, "origin": "null"},
    ],
)
def test_anything_else_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(HTTPException, match="own page") as refused:
        refuse_forged(a_request(**headers))
    assert refused.value.status_code == 403
