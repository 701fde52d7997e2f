"""One HTTP request to a monitor, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import requests

from env_sync.core.addresses import host_of
from env_sync.core.errors import AccessRefused, AlertRefused, ServerUnreachable
from env_sync.core.secret import Login

PATIENCE = (5.0, 10.0)
"""Seconds for a connection to be there, and between two parts of the answer."""


def send_request(
    method: str,
    url: str,
    data: bytes,
    *,
    headers: Mapping[str, str],
    login: Login | None,
    ca: PurePosixPath | None,
) -> int:
    """Send data to a monitor and give the status of its answer, 2xx, 404 or another that is final.

    Raises ServerUnreachable where it may help to try again (nobody answers, 429, 5xx), AccessRefused (401,
    403), AlertRefused where its certificate is not known or `ca` cannot be read.
    """
    host = host_of(url)
    try:
        # The answer's text is not asked for: the status says all, and a slow one holds nobody up. A redirect
        # would carry the login elsewhere.
        with requests.request(
            method,
            url,
            data=data,
            headers=dict(headers),
            auth=(login.user, login.password.reveal()) if login else None,
            verify=str(ca) if ca else True,
            timeout=PATIENCE,
            allow_redirects=False,
            stream=True,
        ) as answer:
            status = answer.status_code
    except requests.exceptions.SSLError:
        raise AlertRefused(
            f"The certificate of {host} is not trusted by {ca or 'this machine'}: set `ca` of this "
            "monitor to the file of its certificate authority."
        ) from None
    except requests.RequestException as problem:
        raise ServerUnreachable(f"{host} did not answer ({type(problem).__name__})") from None
    except OSError:
        # What requests says where it cannot read the file of certificates.
        raise AlertRefused(f"{ca} cannot be read: put the certificates there on every worker.") from None
    if status in (401, 403):
        user = f"the user {login.user}" if login else "a request without a login"
        raise AccessRefused(f"{host} refused {user} ({status})")
    if status == 429 or status >= 500:
        raise ServerUnreachable(f"{host} answered {status}")
    return status
