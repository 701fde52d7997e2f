"""Signature Version 4 of requests to S3 that carry no body.

botocore's own signer takes ten times as long, about as much as all the rest of a quick request; a test holds
both to the same result.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache

from attrs import field, frozen

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()
"""The SHA-256 of no body."""


@frozen
class Keys:
    """Credentials; `token` only where they are temporary."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Target:
    """What a request without a body asks for; `path` and `query` as they are sent, the query in order."""

    method: str
    host: str
    path: str
    query: str = ""


def signed(
    target: Target, headers: Mapping[str, str], keys: Keys, region: str, now: dt.datetime
) -> dict[str, str]:
    """The headers to send; those given are signed, and have names in lower case. `now` in UTC.

    As in "Signature Version 4 for authenticating requests" of the Amazon S3 API Reference.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    day = moment[:8]
    all_headers = {**headers, "host": target.host, "x-amz-content-sha256": EMPTY, "x-amz-date": moment}
    if keys.token:
        all_headers["x-amz-security-token"] = keys.token
    names = sorted(all_headers)
    lines = "".join(f"{name}:{' '.join(all_headers[name].split())}\n" for name in names)
    named = ";".join(names)
    canonical = f"{target.method}\n{target.path}\n{target.query}\n{lines}\n{named}\n{EMPTY}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(keys.secret_key, day, region), text.encode(), "sha256").hex()
    all_headers["authorization"] = (
        f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={named}, Signature={signature}"
    )
    return all_headers


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
