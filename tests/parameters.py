"""What a test was given by `parametrize` and by the parameters of fixtures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def parameters_of(item: pytest.Item) -> Mapping[str, Any]:
    """Its parameters by name; none where it has none."""
    params: Mapping[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return params
