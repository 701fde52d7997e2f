"""What is stored now is read by a base as well: it may be put in place again after a release that failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.compatibility.bases import BASES, Base
from tests.integration.compatibility.conftest import Codes
from tests.unit.stored_values import STORED, kept, written


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
def test_what_is_stored_now_is_read_by_a_base(codes: Codes, base: Base, tmp_path: Path) -> None:
    values = json.loads(json.dumps(written()))
    job = {"do": "read", "values": values, "environ": {}, "log": str(tmp_path / "log")}
    read = codes.get(base.name).do(job).result
    # What the base knows it must go on to understand.
    assert json.loads((STORED / f"{base.name}.json").read_text()).keys() <= read.keys()
    for kind, found in read.items():
        assert "error" not in found, kind
        assert kept(found["plain"], values[kind]), kind
