"""What the shipped common.yaml does to data on its way from production to staging and integration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.postprocess.replace_text import ReplaceText
from env_sync.domain.postprocess.rewrite_domain import RewriteDomain
from tests.unit.hieradata.conftest import Hieradata
from tests.unit.test_postprocess import Memory

COMMON = Path(__file__).parents[3] / "include" / "hieradata" / "common.yaml"
ABOVE = {"staging": "production", "integration": "staging"}
PUBLIC = "publishing.service.gov.uk"


@pytest.fixture
def example(hieradata: Hieradata) -> Hieradata:
    hieradata.write("common.yaml", COMMON.read_text())
    return hieradata


def rules(
    example: Hieradata, pull: Mapping[str, str], environment: str, dbms: str, database: str
) -> tuple[Postprocess, ...]:
    bucket = f"govuk-{ABOVE[environment]}-database-backups"
    sync = {**pull, "dbms": dbms, "database": database, "url": bucket}
    read = example.syncs({"one": sync}, environment=environment)
    assert read.problems == ()
    return read.syncs[0].postprocess


@pytest.mark.parametrize("database", ["router", "draft_router"])
def test_backends_are_within_the_network_of_each_environment(
    example: Hieradata, pull: dict[str, str], database: str
) -> None:
    hosts = {
        "static": "static.production.govuk-internal.digital",
        "publishing-api": "publishing-api.production.govuk-internal.digital",
        "licensify": f"licensify.{PUBLIC}",
        "whitehall": f"whitehall.{PUBLIC}",
        "whitehall-frontend": f"whitehall-frontend.{PUBLIC}",
        "spotlight-proxy": f"spotlight-proxy.{PUBLIC}",
        "partner": "www.example.com",
    }
    memory = Memory(
        {
            "backends": [
                {"_id": number, "backend_id": name, "backend_url": f"https://{host}/"}
                for number, (name, host) in enumerate(hosts.items())
            ]
        }
    )
    for environment in ABOVE:
        for rule in rules(example, pull, environment, "mongo", database):
            assert isinstance(rule, RewriteDomain)
            rule.run(memory)
        inside = f"{environment}.govuk-internal.digital"
        outside = f"staging.{PUBLIC}" if environment == "staging" else inside
        found = {each["backend_id"]: each["backend_url"] for each in memory.collections["backends"]}
        assert found == {
            **{name: f"https://{name}.{inside}/" for name in hosts},
            "spotlight-proxy": f"https://spotlight-proxy.{outside}/",
            "partner": "https://www.example.com/",
        }


def test_whoever_signs_in_to_staging_comes_back_to_staging(example: Hieradata, pull: dict[str, str]) -> None:
    [rule] = rules(example, pull, "staging", "mysql", "signon_production")
    assert isinstance(rule, ReplaceText)
    assert rule.table == "oauth_applications"
    address = " ".join(
        (
            f"https://{PUBLIC}/",
            f"https://whitehall-admin.{PUBLIC}/auth",
            "https://admin.performance.service.gov.uk/",
            "https://admin.forms.service.gov.uk/",
            "https://signon.eks.production.govuk.digital/",
            "https://app-production.cloudapps.digital/",
            "https://app-production.london.cloudapps.digital/",
        )
    )
    for column in ("home_uri", "redirect_uri"):
        changed = address
        for each in rule.replacements:
            if column in each.columns:
                changed = changed.replace(each.old, each.new)
        assert changed.split() == [
            f"https://staging.{PUBLIC}/",
            f"https://whitehall-admin.staging.{PUBLIC}/auth",
            "https://admin.staging.performance.service.gov.uk/",
            "https://admin.staging.forms.service.gov.uk/",
            "https://signon.eks.staging.govuk.digital/",
            "https://app-staging.cloudapps.digital/",
            "https://app-staging.london.cloudapps.digital/",
        ]
    assert rules(example, pull, "integration", "mysql", "signon_production") == ()
