"""A postprocess of SQL, behind the transformations, on a real server."""

from __future__ import annotations

import pytest
from attrs import evolve

from env_sync.core.errors import ProofMissing, TransformationFailed
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.replace_text import Replacement, ReplaceText
from env_sync.domain.postprocess.rewrite_domain import RewriteDomain
from tests.integration.mysql.stage import Stage, said, working
from tests.integration.postprocess.bound import bound

APPLICATIONS = rb"""
CREATE TABLE `oauth_applications` (`id` int NOT NULL AUTO_INCREMENT, `name` varchar(100),
  `home_uri` varchar(255), `redirect_uri` varchar(255) NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB;
INSERT INTO `oauth_applications` (`name`, `home_uri`, `redirect_uri`) VALUES
  ('Publisher','https://publisher.publishing.service.gov.uk','https://publisher.publishing.service.gov.uk/auth'),
  ('Signon','https://signon.eks.production.govuk.digital','https://signon.eks.production.govuk.digital/auth'),
  ('Maps',NULL,'https://maps-production.cloudapps.digital/auth'),
  ('Partner','https://partner.example.com','https://partner.example.com/it\'s?a=%25&b=_\\');
"""
AFTER = [
    (
        "Publisher",
        "https://publisher.staging.publishing.service.gov.uk",
        "https://publisher.staging.publishing.service.gov.uk/auth",
    ),
    (
        "Signon",
        "https://signon.eks.staging.govuk.digital",
        "https://signon.eks.staging.govuk.digital/auth",
    ),
    ("Maps", None, "https://maps-staging.cloudapps.digital/auth"),
    ("Partner", "https://partner.example.com", "https://partner.example.com/it's?a=%25&b=_\\"),
]
READ = "SELECT name, home_uri, redirect_uri FROM oauth_applications ORDER BY id"


@pytest.fixture
def raw(stage: Stage) -> Stage:
    """Signon's applications, restored into incoming and raw."""
    with working(stage.engine()) as engine:
        engine.restore(stage.dump(APPLICATIONS))
    return stage


def signon() -> ReplaceText:
    found = bound("signon_production", "staging", "mysql")
    assert isinstance(found, ReplaceText)
    return found


def as_said(rule: ReplaceText) -> Transformation:
    return Transformation(name="postprocess/replace_text", sha256=rule.sha256)


def test_it_runs_after_the_transformation_and_is_in_the_proof(raw: Stage) -> None:
    file = raw.transformation(
        "INSERT INTO oauth_applications (redirect_uri) VALUES ('x.publishing.service.gov.uk');"
    )
    rule = signon()
    with working(raw.engine()) as engine:
        stamp = engine.sanitise([file], [rule])
        assert stamp.transformations == (*said(file), as_said(rule))
        after = [*AFTER, (None, None, "x.staging.publishing.service.gov.uk")]
        assert raw.run(READ, database=raw.incoming) == after
        with pytest.raises(ProofMissing):
            engine.promote(said(file), lambda: None)
        with pytest.raises(ProofMissing):
            engine.promote((*said(file), as_said(evolve(rule, table="another"))), lambda: None)
        engine.promote((*said(file), as_said(rule)), lambda: None)
    assert raw.run(READ) == after


def test_a_table_that_is_not_there_fails_it(raw: Stage) -> None:
    rule = evolve(signon(), table="oauth_application")
    with (
        working(raw.engine()) as engine,
        pytest.raises(TransformationFailed, match="postprocess replace_text, line 1"),
    ):
        engine.sanitise([], [rule])
    assert raw.incoming not in raw.server.databases()


def test_an_error_tells_no_row(raw: Stage) -> None:
    raw.run("CREATE UNIQUE INDEX beginning ON oauth_applications (redirect_uri(17))", database=raw.incoming)
    same = Replacement(columns=("redirect_uri",), old="https://partner", new="https://publisher")
    with working(raw.engine()) as engine, pytest.raises(TransformationFailed) as failed:
        engine.sanitise([], [evolve(signon(), replacements=(same,))])
    assert "postprocess replace_text, line 1: " in str(failed.value)
    assert "//p" not in str(failed.value)
    assert raw.incoming not in raw.server.databases()


def test_a_rule_for_documents_is_refused(raw: Stage) -> None:
    with (
        working(raw.engine()) as engine,
        pytest.raises(TransformationFailed, match="does not run on mysql"),
    ):
        engine.sanitise([], [RewriteDomain(to="a.example.com")])
    assert raw.incoming not in raw.server.databases()
