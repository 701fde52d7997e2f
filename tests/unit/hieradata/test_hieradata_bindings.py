"""What is bound to which pull, and that a mistake never lets a pull go without what it needs."""

from collections.abc import Mapping

import pytest

from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.postprocess.redact_last_part import RedactLastPart
from env_sync.domain.postprocess.replace_text import Replacement, ReplaceText
from env_sync.domain.postprocess.rewrite_domain import DomainException, RewriteDomain
from tests.unit.hieradata.conftest import Hieradata

REWRITE = """
govuk_env_sync::postprocess:
  - rule: rewrite_domain
    databases: [router, draft_router]
    environments: integration
    parameters:
      to: integration.example.gov.uk
      exceptions:
        licensify: licensing.integration.example.gov.uk
        old: {from: old.example.com, to: new.example.com}
"""
REPLACE = """
govuk_env_sync::postprocess:
  - rule: replace_text
    databases: signon_production
    environments: [staging]
    parameters:
      table: oauth_applications
      replacements:
        - {columns: [home_uri, redirect_uri], from: "www.example", to: "www.staging.example"}
        - {columns: home_uri, from: "it's", to: "its"}
"""


@pytest.fixture
def mongo(pull: dict[str, str]) -> dict[str, str]:
    return {**pull, "dbms": "mongo", "database": "router"}


def common(hieradata: Hieradata, text: str) -> None:
    hieradata.write("common.yaml", text.lstrip())


def postprocess_of(
    hieradata: Hieradata, fields: Mapping[str, str], environment: str = "integration"
) -> tuple[Postprocess, ...]:
    read = hieradata.syncs({"one": fields}, environment=environment)
    assert read.problems == ()
    return read.syncs[0].postprocess


def test_a_rule_is_bound_to_the_pulls_of_its_databases(hieradata: Hieradata, mongo: dict[str, str]) -> None:
    common(hieradata, REWRITE)
    expected = RewriteDomain(
        to="integration.example.gov.uk",
        exceptions={
            "licensify": DomainException(old="", new="licensing.integration.example.gov.uk"),
            "old": DomainException(old="old.example.com", new="new.example.com"),
        },
    )
    for database in ("router", "draft_router"):
        assert postprocess_of(hieradata, {**mongo, "database": database}) == (expected,)
    assert postprocess_of(hieradata, {**mongo, "database": "content"}) == ()
    assert postprocess_of(hieradata, {**mongo, "dbms": "documentdb"}) == (expected,)


def test_the_bindings_of_all_files_add_up_in_their_order(hieradata: Hieradata, mongo: dict[str, str]) -> None:
    common(hieradata, REWRITE)
    redact = (
        "govuk_env_sync::postprocess:\n"
        "  - {rule: redact_last_part, databases: router, environments: integration,\n"
        "     parameters: {collection: assets, path_field: legacy_url_path, limited_by: access_limited}}\n"
    )
    hieradata.write("integration/other.yaml", redact)
    first, second = postprocess_of(hieradata, mongo)
    assert isinstance(first, RewriteDomain)
    assert second == RedactLastPart(
        collection="assets", path_field="legacy_url_path", limited_by=("access_limited",)
    )


def test_a_collection_may_have_dots_in_its_name(hieradata: Hieradata, mongo: dict[str, str]) -> None:
    common(hieradata, REWRITE.replace("      to:", "      collection: router.backends\n      to:"))
    [found] = postprocess_of(hieradata, mongo)
    assert isinstance(found, RewriteDomain)
    assert found.collection == "router.backends"


def test_replacements_keep_their_order(hieradata: Hieradata, pull: dict[str, str]) -> None:
    common(hieradata, REPLACE)
    [found] = postprocess_of(
        hieradata,
        {**pull, "database": "signon_production", "url": "govuk-production-database-backups"},
        "staging",
    )
    assert found == ReplaceText(
        table="oauth_applications",
        replacements=(
            Replacement(columns=("home_uri", "redirect_uri"), old="www.example", new="www.staging.example"),
            Replacement(columns=("home_uri",), old="it's", new="its"),
        ),
    )


def test_a_database_with_a_rule_elsewhere_and_none_here_is_a_problem(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    common(hieradata, REPLACE)
    signon = {**pull, "database": "signon_production"}
    problem = hieradata.one(signon)
    assert (
        problem.read
        == "`signon_production` has a postprocess elsewhere (common.yaml:2) and none for `integration`"
    )
    assert "`postprocess: none`" in problem.right
    assert postprocess_of(hieradata, {**signon, "postprocess": "none"}) == ()
    # Of another engine it is another database.
    assert postprocess_of(hieradata, {**signon, "dbms": "mongo"}) == ()


def test_none_may_be_bound_as_well(hieradata: Hieradata, pull: dict[str, str]) -> None:
    none = "  - {rule: none, databases: signon_production, environments: integration}\n"
    common(hieradata, REPLACE + none)
    assert postprocess_of(hieradata, {**pull, "database": "signon_production"}) == ()


def test_a_binding_may_be_for_one_engine_alone(hieradata: Hieradata, pull: dict[str, str]) -> None:
    common(hieradata, REPLACE + "    dbms: mysql\n")
    assert postprocess_of(hieradata, {**pull, "database": "signon_production"}) == ()
    assert "elsewhere" in hieradata.one({**pull, "dbms": "mysql", "database": "signon_production"}).read


def test_none_against_a_binding_is_a_problem(hieradata: Hieradata, mongo: dict[str, str]) -> None:
    common(hieradata, REWRITE)
    problem = hieradata.one({**mongo, "postprocess": "none"})
    assert "common.yaml:2 binds a rule to `router`" in problem.read


def test_none_on_a_push(hieradata: Hieradata, push: dict[str, str]) -> None:
    assert hieradata.one({**push, "postprocess": "none"}).read == "`postprocess` on a push"


def test_a_push_and_a_recovery_have_no_postprocess(
    hieradata: Hieradata, push: dict[str, str], pull: dict[str, str]
) -> None:
    common(hieradata, REPLACE)
    assert postprocess_of(hieradata, {**push, "database": "signon_production"}) == ()
    recovery = {
        **pull,
        "database": "signon_production",
        "ensure": "disabled",
        "url": "govuk-production-database-backups",
    }
    read = hieradata.syncs({"one": recovery}, environment="production")
    assert read.problems == ()
    assert (read.syncs[0].recovery, read.syncs[0].postprocess) == (True, ())


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("rule: rewrite_domain", "rule: rewrite_domian", 2, "Did you mean `rewrite_domain`?"),
        ("    databases: [router, draft_router]\n", "", 2, "add it: name or list of names"),
        ("environments: integration", "environment: integration", 4, "Did you mean `environments`?"),
        ("parameters:", "parameter:", 5, "Did you mean `parameters`?"),
        ("      to: integration", "      too: integration", 6, "Did you mean `to`?"),
        ("to: integration.example.gov.uk", "to: https://example", 6, "write a domain in lower case"),
        ("to: integration", "url_field: backend.url\n      to: integration", 6, "of the document itself"),
        ("{from: old.example.com, to: new.example.com}", "{form: a.b, to: c.d}", 7, "Did you mean `from`?"),
        ("licensify: licensing.", "licensify: LICENSING.", 7, "for `licensify` in line 8"),
        (
            "environments: integration\n",
            "environments: integration\n    dbms: mysql\n",
            5,
            "it runs on `mongo`",
        ),
        ("rule: rewrite_domain", "rule: none", 5, "remove them"),
    ],
)
def test_a_wrong_binding_takes_its_pulls_away(
    hieradata: Hieradata, mongo: dict[str, str], old: str, new: str, line: int, said: str
) -> None:
    assert old in REWRITE
    common(hieradata, REWRITE.replace(old, new, 1))
    read = hieradata.syncs({"one": mongo})
    assert read.syncs == ()
    told = {str(problem) for problem in read.problems}
    assert any(text.startswith(f"common.yaml:{line}: ") and said in text for text in told), told
    assert any("the postprocess for `router` at common.yaml:2 has a problem" in text for text in told), told


@pytest.mark.parametrize(
    "text",
    [
        "govuk_env_sync::postprocess: {rule: none}\n",
        "govuk_env_sync::postprocess:\n",
        "govuk_env_sync::postproces: []\n",
        "govuk-env-sync::postprocess: []\n",
        "govuk_env_sync::postprocess: [\n",
        "govuk_env_sync::postprocess: [text]\n",
    ],
)
def test_bindings_that_cannot_be_read_take_every_pull_away_and_no_push(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str], text: str
) -> None:
    hieradata.write("common.yaml", text)
    read = hieradata.syncs({"one": pull, "two": push})
    assert [sync.name for sync in read.syncs] == ["two"]
    assert any(problem.sync == "one" for problem in read.problems)


def test_a_slip_of_the_pen_in_a_databases_name_is_found(hieradata: Hieradata, mongo: dict[str, str]) -> None:
    common(hieradata, REWRITE.replace("[router, draft_router]", "[rotuer, draft_router]"))
    read = hieradata.syncs({"one": mongo, "two": {**mongo, "database": "draft_router", "hour": "4"}})
    [problem] = read.problems
    assert problem.read.startswith("a postprocess is bound to `rotuer`")
    assert problem.right == "did you mean `router`?"


def test_databases_of_other_places_are_no_slip(hieradata: Hieradata, pull: dict[str, str]) -> None:
    common(hieradata, REWRITE)
    assert hieradata.syncs({"one": pull}).problems == ()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("{table: 'a b', replacements: [{columns: a, from: b, to: c}]}", "without quotes"),
        ("{table: a.b.c, replacements: [{columns: a, from: b, to: c}]}", "without quotes"),
        ("{table: a, replacements: []}", "write a list of mappings"),
        ("{table: a, replacements: {columns: a, from: b, to: c}}", "write a list of mappings"),
        ("{table: a, replacements: [{columns: a, from: b}]}", "add `to`"),
        ("{table: a, replacements: [{columns: [], from: b, to: c}]}", "write at least one"),
        ("{table: a, replacements: [{columns: 'a;b', from: b, to: c}]}", "a column's name"),
        ("{table: a, replacements: [{columns: a, from: 'b\\', to: c}]}", "without backslashes"),
        ("{table: a, replacements: [{columns: a, from: b, to: c, with: d}]}", "`with` in line 3 is none of"),
    ],
)
def test_wrong_replacements(hieradata: Hieradata, pull: dict[str, str], parameters: str, said: str) -> None:
    text = (
        "govuk_env_sync::postprocess:\n"
        "  - {rule: replace_text, databases: content, environments: integration,\n"
        f"     parameters: {parameters}}}\n"
    )
    hieradata.write("common.yaml", text)
    problems = hieradata.syncs({"one": {**pull, "database": "content"}}).problems
    assert any(said in str(problem) for problem in problems), problems
