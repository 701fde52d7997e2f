"""What `check --connect` tells of a cluster holds no login."""

from __future__ import annotations

import pytest

from env_sync.core.addresses import HIDDEN
from env_sync.engines.elasticsearch.preflight import _place


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "https://u:pa/ss@repository.example:9000/x"}, HIDDEN),
        ({"url": "https://u:pa?ss@repository.example/x"}, HIDDEN),
        ({"url": "https://u:pa@ss@repository.example/x"}, "https://repository.example"),
        ({"url": "https://repository.example/x?token=secret"}, "https://repository.example"),
        ({"url": "//u:secret@repository.example/x"}, "repository.example"),
        ({"url": "jar:https://u:secret@repository.example/x!/"}, HIDDEN),
        ({"url": "file:/mnt/snapshots"}, "file:/mnt/snapshots"),
        ({"location": "/mnt//snapshots", "path": "x"}, "/mnt//snapshots x"),
        ({"bucket": "snapshots", "base_path": "a/b", "secret_key": "secret"}, "snapshots a/b"),
    ],
)
def test_where_a_repository_is_is_told_without_a_login(settings: dict[str, str], told: str) -> None:
    place = _place({"type": "url", "settings": settings})
    assert place == f"the url {told}"
