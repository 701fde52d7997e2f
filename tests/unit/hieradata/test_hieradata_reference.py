from __future__ import annotations

from pathlib import Path

from env_sync.config.reference import render_reference
from env_sync.config.setting_fields import SETTING_FIELDS
from env_sync.config.sync_fields import BUCKET_SYNC_FIELDS, SYNC_FIELDS
from tests.unit.hieradata.conftest import Hieradata

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_what_the_code_says() -> None:
    again = "PYTHONPATH=plugins python -m env_sync.config.reference > docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == render_reference(), f"write it again: {again}"


def test_the_page_names_every_field() -> None:
    page = render_reference()
    for name in (*SYNC_FIELDS, *BUCKET_SYNC_FIELDS):
        assert f"| `{name}` |" in page
    for name in SETTING_FIELDS:
        assert f"| `govuk_env_sync::{name}` |" in page


def test_the_example_of_the_page_is_right(hieradata: Hieradata) -> None:
    hieradata.write("integration.yaml", render_reference().split("```yaml\n")[1].split("```")[0])
    (hieradata.transformations / "sanitise_publishing_api_production.sql").touch()
    environment = hieradata.read()
    assert environment.problems == ()
    assert len(environment.syncs) == len(environment.bucket_syncs) == 1
