"""A stage for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.files.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A root with nothing in it."""
    stage = Stage(tmp_path)
    stage.root.mkdir()
    return stage
