"""Where what comes down must be sanitised, nothing comes down raw because nobody said anything."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from env_sync.config.postprocess_rules import RULES
from env_sync.domain.environment import Environment
from tests.unit.hieradata.conftest import Hieradata

REQUIRED = "govuk_env_sync::sanitise: required"
BLANK_REASONS = ("", "~", '""', '"  "', "|", "[a]", "{a: b}")
MONGO = {"dbms": "mongo", "database": "assets_production"}
FILES = {"dbms": "files", "database": "attachments"}
CLUSTER = {"dbms": "elasticsearch", "storagebackend": "elasticsearch", "database": "search-integration"}
COPY = {**CLUSTER, "action": "copy", "source_hostname": "search-staging"}
NONE = {"transformation_sql_filename": "none"}
SAID = {**NONE, "reason": '"nothing in it is personal"'}
REDACT = """\
govuk_env_sync::postprocess:
  - rule: redact_last_part
    databases: %s
    environments: [integration, staging]
    parameters: {collection: assets, path_field: path, limited_by: limited}
"""
REWRITE = """\
govuk_env_sync::postprocess:
  - rule: rewrite_domain
    databases: assets_production
    environments: integration
    parameters: {to: integration.example.gov.uk}
"""
EXAMPLES = {"pull": {}, "mongo": MONGO, "files": FILES, "snapshot": CLUSTER, "copy": COPY}
"""Every way by which a database comes down; `mirror` is that of a bucket."""
WAYS = (*EXAMPLES, "mirror")


def fields_of(pull: Mapping[str, str], mirror: Mapping[str, str], way: str) -> dict[str, str]:
    return dict(mirror) if way == "mirror" else {**pull, **EXAMPLES[way]}


def read(hieradata: Hieradata, way: str, fields: Mapping[str, str], top: str = REQUIRED) -> Environment:
    return hieradata.syncs({"one": fields}, top=top, key="s3_sync_tasks" if way == "mirror" else "tasks")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_down_needs_something_that_sanitises(
    hieradata: Hieradata, pull: dict[str, str], mirror: dict[str, str], way: str
) -> None:
    fields = fields_of(pull, mirror, way)
    assert read(hieradata, way, fields, top="").problems == ()
    environment = read(hieradata, way, fields)
    (problem,) = environment.problems
    assert (*environment.syncs, *environment.bucket_syncs) == ()
    assert (str(problem.place), problem.sync) == ("integration.yaml:3", "one")
    assert "nothing sanitises what comes down" in problem.read
    assert "`govuk_env_sync::sanitise` is `required`" in problem.read
    assert "`transformation_sql_filename: none` with `reason: <why>`" in problem.right
    assert ("`transformation_sql_filename: <file>`" in problem.right) == (way not in ("files", "mirror"))


def test_who_could_read_it_must_be_seen_where_that_is_required(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    sanitised = {**pull, "transformation_sql_filename": "sanitise.sql"}
    for fields, top, seen in (
        (sanitised, REQUIRED, True),
        (sanitised, "", False),
        ({**pull, **SAID}, REQUIRED, False),
    ):
        [sync] = read(hieradata, "pull", fields, top=top).syncs
        assert sync.must_be_seen == seen


@pytest.mark.parametrize("way", WAYS)
def test_none_needs_a_reason(
    hieradata: Hieradata, pull: dict[str, str], mirror: dict[str, str], way: str
) -> None:
    fields = {**fields_of(pull, mirror, way), **NONE}
    assert read(hieradata, way, fields, top="").problems == ()
    (problem,) = read(hieradata, way, fields).problems
    assert problem.place.line == 3 + len(fields)
    assert "without a `reason`" in problem.read
    assert "write `reason:" in problem.right


@pytest.mark.parametrize("way", WAYS)
def test_none_with_a_reason_says_it(
    hieradata: Hieradata, pull: dict[str, str], mirror: dict[str, str], way: str
) -> None:
    environment = read(hieradata, way, {**fields_of(pull, mirror, way), **SAID})
    assert environment.problems == ()
    [sync] = environment.bucket_syncs if way == "mirror" else environment.syncs
    assert sync.none_said
    assert not sync.sanitises
    assert sync.reason == "nothing in it is personal"


@pytest.mark.parametrize("blank", BLANK_REASONS)
@pytest.mark.parametrize("way", WAYS)
def test_a_blank_reason_is_none(
    hieradata: Hieradata, pull: dict[str, str], mirror: dict[str, str], way: str, blank: str
) -> None:
    environment = read(hieradata, way, {**fields_of(pull, mirror, way), **NONE, "reason": blank})
    (problem,) = environment.problems
    assert "`reason` is" in problem.read
    assert (*environment.syncs, *environment.bucket_syncs) == ()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("blank", ["", "~", '""', '" "', "None", "no"])
def test_an_empty_value_is_neither_a_file_nor_none(
    hieradata: Hieradata, pull: dict[str, str], mirror: dict[str, str], way: str, blank: str
) -> None:
    for top in ("", REQUIRED):
        fields = {**fields_of(pull, mirror, way), "transformation_sql_filename": blank}
        environment = read(hieradata, way, fields, top)
        assert (*environment.syncs, *environment.bucket_syncs) == ()
        assert environment.problems
        assert not any("remove the key" in problem.right for problem in environment.problems)


@pytest.mark.parametrize("way", ["pull", "mongo", "snapshot", "copy"])
def test_a_transformation_is_enough(hieradata: Hieradata, pull: dict[str, str], way: str) -> None:
    fields = {**fields_of(pull, {}, way), "transformation_sql_filename": "sanitise.sql"}
    environment = read(hieradata, way, fields)
    assert environment.problems == ()
    assert environment.syncs[0].sanitises


def test_a_rule_says_itself_whether_it_sanitises(hieradata: Hieradata, pull: dict[str, str]) -> None:
    assert {name for name, rule in RULES.items() if rule.make.sanitises} == {"redact_last_part"}
    fields = {**pull, **MONGO}
    hieradata.write("common.yaml", REDACT % "assets_production")
    assert read(hieradata, "mongo", fields).problems == ()
    hieradata.write("common.yaml", REWRITE)
    (problem,) = read(hieradata, "mongo", fields).problems
    assert "(`rewrite_domain` does not sanitise)" in problem.read


def test_a_rule_that_is_bound_to_another_database_sanitises_nothing_here(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    hieradata.write("common.yaml", REDACT % "something_else")
    (problem,) = read(hieradata, "mongo", {**pull, **MONGO}).problems
    assert "nothing sanitises" in problem.read


@pytest.mark.parametrize(
    "elsewhere",
    [
        "transformation_sql_filename: sanitise.sql",
        "govuk_env_sync::transformation_sql_filename: sanitise.sql",
        "govuk_env_sync::options: {transformation_sql_filename: sanitise.sql}",
    ],
)
def test_a_transformation_at_another_level_is_none(
    hieradata: Hieradata, pull: dict[str, str], elsewhere: str
) -> None:
    environment = hieradata.syncs({"one": pull}, top=f"{REQUIRED}\n{elsewhere}")
    assert environment.syncs == ()
    assert any("nothing sanitises" in problem.read for problem in environment.problems)


def test_a_transformation_in_the_file_of_another_environment_is_none(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    sanitised = {**pull, "transformation_sql_filename": "sanitise.sql"}
    hieradata.syncs({"one": {**sanitised, "url": "govuk-production-database-backups"}}, environment="staging")
    (problem,) = hieradata.syncs({"one": pull}, top=REQUIRED).problems
    assert "nothing sanitises" in problem.read


@pytest.mark.parametrize("ensure", ["present", "disabled"])
def test_what_is_run_by_hand_is_asked_as_well(
    hieradata: Hieradata, pull: dict[str, str], ensure: str
) -> None:
    assert "nothing sanitises" in hieradata.one({**pull, "ensure": ensure}, top=REQUIRED).read


def test_what_never_runs_is_not_asked(hieradata: Hieradata, pull: dict[str, str]) -> None:
    assert hieradata.syncs({"one": {**pull, "ensure": "absent"}}, top=REQUIRED).problems == ()


def test_what_is_shared_by_all_environments_is_asked_where_it_is_required(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    pull["url"] = "govuk-production-database-backups"
    lines = "".join(f"    {name}: {value}\n" for name, value in pull.items())
    hieradata.write("common.yaml", f"govuk_env_sync::tasks:\n  shared:\n{lines}")
    hieradata.write("integration.yaml", f"{REQUIRED}\n")
    hieradata.write("staging.yaml", "x: 1\n")
    assert hieradata.read("staging").problems == ()
    (problem,) = hieradata.read("integration").problems
    assert str(problem.place) == "common.yaml:2"


def test_a_push_and_a_recovery_are_not_asked(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    assert hieradata.syncs({"one": push}, top=REQUIRED).problems == ()
    own = {**pull, "ensure": "disabled", "url": "govuk-production-database-backups"}
    assert hieradata.syncs({"one": own}, environment="production", top=REQUIRED).problems == ()


def test_a_reason_stands_where_it_says_something(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str], mirror: dict[str, str]
) -> None:
    reason = {"reason": "public"}
    own_field = {"pre_dump_transformation_sql_filename": "none"}
    [said] = hieradata.syncs({"one": {**push, **own_field, **reason}}).syncs
    assert (said.none_said, said.reason, said.pre_dump_transformation) == (True, "public", None)
    [bare] = hieradata.syncs({"one": {**push, **own_field}}).syncs
    assert not bare.none_said
    assert "`reason` on a push" in hieradata.one({**push, **NONE, **reason}).read
    own = {**pull, "ensure": "disabled", "url": "govuk-production-database-backups"}
    assert "on a recovery sync" in hieradata.one({**own, **NONE, **reason}, environment="production").read
    assert "`reason` without" in hieradata.one({**pull, **reason}).read
    assert "`reason` without" in hieradata.one({**mirror, **reason}, key="s3_sync_tasks").read
    transformed = {**pull, "transformation_sql_filename": "sanitise.sql", **reason}
    assert "`reason` without" in hieradata.one(transformed).read
    no_rules = {"postprocess": "none"}
    for fields, expected in (
        ({**no_rules, **reason}, (False, True)),
        ({**SAID}, (True, False)),
        ({**SAID, **no_rules}, (True, True)),
        (no_rules, (False, False)),
    ):
        environment = hieradata.syncs({"one": {**pull, **fields}})
        assert environment.problems == ()
        assert [(sync.none_said, sync.no_rules_said) for sync in environment.syncs] == [expected]


def test_a_push_knows_who_fills_its_live(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    def filled_by(**fields: str) -> str:
        environment = hieradata.syncs({"down": {**pull, **fields}, "up": push})
        return next(sync.filled_by for sync in environment.syncs if sync.name == "up")

    assert filled_by() == "down"
    assert filled_by(ensure="disabled") == "down"
    # One that is left out for a problem may have filled it yesterday.
    assert filled_by(transformation_sql_filename="gone.sql") == "down"
    assert filled_by(ensure="absent") == ""
    assert filled_by(database="another") == ""
    assert filled_by(database_hostname="another") == ""
    assert filled_by(dbms="mysql") == ""


def test_a_push_knows_who_fills_its_cluster(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    up = {**push, **CLUSTER}
    del up["database_hostname"], pull["database_hostname"]
    environment = hieradata.syncs({"down": {**pull, **COPY}, "up": up})
    assert environment.problems == ()
    assert {sync.name: sync.filled_by for sync in environment.syncs} == {"down": "", "up": "down"}
