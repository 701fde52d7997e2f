"""What stands in recordings for what is another each time."""

from __future__ import annotations

import pytest

from tests.integration.conformance.recording import ANEW, FOLDER, Placeholders, marks_in, statement_file
from tests.integration.conformance.scenarios import ENGINES, Engine, scenarios_of


@pytest.mark.parametrize("digits", ["1234567890123456", "41230b0012345678", "123456789012345678901234"])
def test_an_identity_is_one_whatever_its_digits(digits: str) -> None:
    placeholders = Placeholders({})
    assert placeholders.put(f"open app/records/{digits}.json") == "open app/records/<identity 1>.json"
    assert placeholders.put(f'{{"$oid": "{digits}"}}') == '{"$oid": "<identity 1>"}'


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_nothing_is_left_that_is_not_compared(engine: Engine) -> None:
    """Recordings of scenarios that are gone, and statements that no recording names."""
    recordings = {FOLDER / engine.folder / f"{name}.txt" for name in scenarios_of(engine)}
    missing = [file for file in recordings if not file.exists()]
    assert missing == [], f"record them: {ANEW}"
    named = {
        statement_file(engine.folder, mark) for file in recordings for mark in marks_in(file.read_text())
    }
    left = sorted({*(FOLDER / engine.folder).rglob("*.txt")} - recordings - named)
    assert left == [], f"remove them: git rm {' '.join(map(str, left))}"
