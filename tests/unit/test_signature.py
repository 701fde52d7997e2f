"""The signature of a request beside botocore's own."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from env_sync.store.signature import Keys, Target, signed

HOST = "bucket.s3.eu-west-1.amazonaws.com"
COPY = {
    "x-amz-acl": "bucket-owner-full-control",
    "x-amz-copy-source": "theirs/a%20b",
    "x-amz-copy-source-if-match": '"0123"',
    "x-amz-server-side-encryption": "aws:kms",
}


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
@pytest.mark.parametrize(
    ("method", "key", "query", "headers"),
    [
        ("HEAD", "media/1.txt", "", {}),
        ("PUT", "media/1.txt", "", COPY),
        ("PUT", "two  spaces", "", {"x-amz-copy-source-if-match": '  "two  spaces" '}),
        ("DELETE", "ünï/+~'*()!$&,;=:@a/../b//", "", {}),
        ("GET", "", "continuation-token=a%2Bb%2F%3D%3D&encoding-type=url&list-type=2", {}),
    ],
)
def test_it_is_what_botocore_makes_of_it(
    method: str, key: str, query: str, headers: dict[str, str], region: str, token: str | None
) -> None:
    path = f"/{quote(key, safe='/~')}"
    theirs = AWSRequest(
        method=method, url=f"https://{HOST}{path}{'?' if query else ''}{query}", headers=headers
    )
    S3SigV4Auth(Credentials("AKIDEXAMPLE", "a secret", token), "s3", region).add_auth(theirs)
    now = dt.datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    target = Target(method=method, host=HOST, path=path, query=query)
    ours = signed(target, headers, Keys("AKIDEXAMPLE", "a secret", token), region, now)
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours.get("x-amz-security-token") == token


def test_a_secret_is_not_shown() -> None:
    shown = repr(Keys("AKIDEXAMPLE", "a secret", "a token"))
    assert "secret" not in shown.replace("secret_key", "")
    assert "token" not in shown
