"""Policies of buckets, as deploy/ has them, and what they allow: as much of AWS's rules as they use."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from env_sync.store import s3_errors

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "bucket_policies"
PERMISSIONS = {
    operation: tuple(re.findall(r"s3:\w+", needed.partition(" (and ")[0]))
    for operation, needed in s3_errors._GRANTS.items()
}
"""What each request of the store needs, as its errors say; an ACL is set only where that is asked for."""


def read_policy(name: str) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return policy


def arn(bucket: str, key: str = "") -> str:
    """A bucket, or an object in it."""
    return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"


def allows(
    policy: Mapping[str, Any],
    action: str,
    resource: str,
    principal: str = "",
    *,
    already: bool = False,
    secure: bool = True,
) -> bool:
    """Whether a policy lets somebody do it; `already`: another one would. A deny comes before both."""
    effects = {
        statement["Effect"]
        for statement in policy["Statement"]
        if any(fnmatch.fnmatchcase(action, each) for each in statement["Action"])
        and _is_on(statement, resource)
        and _is_about(statement, principal, secure=secure)
    }
    return "Deny" not in effects and (already or "Allow" in effects)


def _is_on(statement: Mapping[str, Any], resource: str) -> bool:
    """Whether a statement is about a resource; of the policy of a bucket, about one in it."""
    named = statement.get("Resource") or statement["NotResource"]
    return any(fnmatch.fnmatchcase(resource, each) for each in named) == ("Resource" in statement)


def _is_about(statement: Mapping[str, Any], principal: str, *, secure: bool) -> bool:
    said = statement.get("Principal", "*")
    if said != "*" and said != {"AWS": principal}:
        return False
    for kind, condition in statement.get("Condition", {}).items():
        if kind == "ArnNotEquals":
            holds = principal not in condition["aws:PrincipalArn"]
        elif kind == "Bool":
            holds = condition == {"aws:SecureTransport": str(secure).lower()}
        else:
            raise ValueError(f"no such condition is known here: {kind}")
        if not holds:
            return False
    return True
