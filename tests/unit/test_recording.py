"""What stands in recordings for what is another each time."""

from __future__ import annotations

import pytest

from tests.integration.conformance.recording import Placeholders


@pytest.mark.parametrize("digits", ["1234567890123456", "41230b0012345678", "123456789012345678901234"])
def test_an_identity_is_one_whatever_its_digits(digits: str) -> None:
    placeholders = Placeholders({})
    assert placeholders.put(f"open app/records/{digits}.json") == "open app/records/<identity 1>.json"
    assert placeholders.put(f'{{"$oid": "{digits}"}}') == '{"$oid": "<identity 1>"}'
