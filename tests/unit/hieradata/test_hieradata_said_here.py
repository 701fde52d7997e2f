"""What an anchor brings along says of another sync, not of this one, that nothing is to be sanitised."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from env_sync.domain.environment import Environment
from env_sync.domain.sanitising import badge_text
from tests.unit.hieradata.conftest import MIRROR, PULL, PUSH, Hieradata

OTHER = {"minute": '"50"', "database": "signon_production"}
NONE = "transformation_sql_filename"
NONE_OF_PUSH = "pre_dump_transformation_sql_filename"
WHY = '"links of councils"'
FILE = {NONE: "sanitise.sql"}


def lines(fields: Mapping[str, str]) -> str:
    return "".join(f"    {name}: {value}\n" for name, value in fields.items())


def read(
    hieradata: Hieradata,
    anchored: Mapping[str, str],
    own: Mapping[str, str],
    *,
    sanitise: str = "required",
    environment: str = "integration",
    key: str = "tasks",
) -> Environment:
    """An environment whose sync `two` has the fields of `one`, but for its own."""
    hieradata.write(
        f"{environment}.yaml",
        f"govuk_env_sync::sanitise: {sanitise}\ngovuk_env_sync::{key}:\n"
        f"  one: &one\n{lines(anchored)}  two:\n    <<: *one\n{lines(own)}",
    )
    return hieradata.read(environment)


def line_of(fields: Mapping[str, str], name: str) -> int:
    return 4 + list(fields).index(name)


@pytest.mark.parametrize("sanitise", ["required", "optional"])
def test_a_merged_none_and_reason_say_nothing_of_the_sync(hieradata: Hieradata, sanitise: str) -> None:
    anchored = {**PULL, NONE: "none", "reason": WHY}
    environment = read(hieradata, anchored, OTHER, sanitise=sanitise)
    assert [sync.name for sync in environment.syncs] == ["one"]
    (problem,) = environment.problems
    assert (str(problem.place), problem.sync) == (f"integration.yaml:{4 + len(anchored)}", "two")
    at = [f"integration.yaml:{line_of(anchored, name)}" for name in (NONE, "reason")]
    assert (
        f"`{NONE}: none` and `reason` are inherited from another entry ({' and '.join(at)})" in problem.read
    )
    assert f"write `{NONE}: none` and `reason: <why>` in the entry itself" in problem.right


@pytest.mark.parametrize("own", [{NONE: "none"}, {"reason": WHY}])
def test_half_of_it_is_not_enough(hieradata: Hieradata, own: dict[str, str]) -> None:
    anchored = {**PULL, NONE: "none", "reason": WHY}
    environment = read(hieradata, anchored, {**OTHER, **own})
    assert [sync.name for sync in environment.syncs] == ["one"]
    (problem,) = environment.problems
    (borrowed,) = {NONE, "reason"} - own.keys()
    assert f"{borrowed}" in problem.read
    assert f"is inherited from another entry (integration.yaml:{line_of(anchored, borrowed)})" in problem.read


def test_what_the_sync_says_itself_counts(hieradata: Hieradata) -> None:
    own = {**OTHER, NONE: "none", "reason": '"only names of applications"'}
    environment = read(hieradata, {**PULL, NONE: "none", "reason": WHY}, own)
    assert environment.problems == ()
    assert environment.syncs[1].none_said
    assert environment.syncs[1].reason == "only names of applications"


def test_what_sanitises_needs_no_word_of_what_came_along(hieradata: Hieradata) -> None:
    environment = read(hieradata, {**PULL, NONE: "none", "reason": WHY}, {**OTHER, **FILE})
    assert environment.problems == ()
    assert (environment.syncs[1].sanitises, environment.syncs[1].reason) == (True, "")


def test_a_merged_file_sanitises(hieradata: Hieradata) -> None:
    environment = read(hieradata, {**PULL, **FILE}, OTHER)
    assert environment.problems == ()
    assert environment.syncs[1].sanitises


def test_a_merged_none_alone_is_none(hieradata: Hieradata) -> None:
    anchored = {**PULL, NONE: "none"}
    assert read(hieradata, anchored, OTHER, sanitise="optional").problems == ()
    _, problem = read(hieradata, anchored, OTHER).problems
    assert (problem.place.line, problem.sync) == (4 + len(anchored), "two")
    assert "nothing sanitises what comes down into `signon_production`" in problem.read


@pytest.mark.parametrize("sanitise", ["required", "optional"])
def test_nor_over_several_levels(hieradata: Hieradata, sanitise: str) -> None:
    said = lines({**PULL, NONE: "none", "reason": WHY})
    hieradata.write(
        "integration.yaml",
        f"govuk_env_sync::sanitise: {sanitise}\ngovuk_env_sync::tasks:\n  one: &one\n{said}"
        f"  two: &two\n    <<: *one\n{lines({**OTHER, **FILE})}"
        f"  three: &three\n    <<: *one\n    hour: '5'\n"
        f"  four:\n    <<: [*three, *two]\n    hour: '6'\n",
    )
    environment = hieradata.read()
    assert [problem.sync for problem in environment.problems] == ["three", "four"]
    assert all("inherited from another entry" in problem.read for problem in environment.problems)


def test_nor_by_an_alias_of_the_whole(hieradata: Hieradata) -> None:
    said = lines({**PULL, NONE: "none", "reason": WHY})
    hieradata.write("integration.yaml", f"x: &x\n{said}govuk_env_sync::tasks:\n  two: *x\n")
    environment = hieradata.read()
    assert environment.syncs == ()
    (problem,) = environment.problems
    assert str(problem.place) == f"integration.yaml:{len(PULL) + 5}"
    assert "inherited from another entry" in problem.read


def test_an_alias_of_a_value_is_written_in_the_sync(hieradata: Hieradata) -> None:
    anchored = {**PULL, NONE: "none", "reason": f"&why {WHY}"}
    environment = read(hieradata, anchored, {**OTHER, NONE: "none", "reason": "*why"})
    assert environment.problems == ()
    assert badge_text(environment.syncs[1]) == "NOT SANITISED: links of councils"


def test_the_same_of_a_push_and_a_mirror(hieradata: Hieradata) -> None:
    up = {**PUSH, NONE_OF_PUSH: "none", "reason": WHY}
    for sanitise in ("required", "optional"):
        (problem,) = read(hieradata, up, OTHER, sanitise=sanitise).problems
        assert (problem.sync, f"`{NONE_OF_PUSH}: none`" in problem.right) == ("two", True)
    protected = {**up, "url": "govuk-production-database-backups"}
    (problem,) = read(hieradata, protected, OTHER, environment="production").problems
    assert "inherited from another entry" in problem.read
    mirror = {**MIRROR, NONE: "none", "reason": WHY}
    other = {"destination_bucket": "govuk-integration-other"}
    (problem,) = read(hieradata, mirror, other, key="s3_sync_tasks").problems
    assert (problem.sync, "inherited from another entry" in problem.read) == ("two", True)


def test_a_push_may_have_the_fields_of_a_pull_that_says_it(hieradata: Hieradata) -> None:
    own = {"action": "push", "hour": "5", "url": "govuk-integration-database-backups"}
    environment = read(hieradata, {**PULL, NONE: "none", "reason": WHY, "postprocess": "none"}, own)
    assert environment.problems == ()
    assert (environment.syncs[1].none_said, environment.syncs[1].reason) == (False, "")


def test_a_recovery_may_have_the_fields_of_another(hieradata: Hieradata) -> None:
    fields = {**PULL, "ensure": "disabled", "url": "govuk-production-database-backups"}
    environment = read(
        hieradata, {**fields, NONE: "none", "reason": WHY}, {"hour": "6"}, environment="production"
    )
    (problem,) = environment.problems
    assert (problem.sync, "on a recovery sync" in problem.read) == ("one", True)


def test_a_merged_postprocess_none_says_nothing_of_another_database(hieradata: Hieradata) -> None:
    hieradata.write(
        "common.yaml",
        "govuk_env_sync::postprocess:\n  - {rule: redact_last_part, databases: assets, "
        "environments: staging, parameters: {collection: assets, path_field: path, limited_by: limited}}\n",
    )
    anchored = {**PULL, "dbms": "mongo", "postprocess": "none"}
    (problem,) = read(hieradata, anchored, {**OTHER, "database": "assets"}, sanitise="optional").problems
    assert (problem.sync, problem.place.line) == ("two", 4 + len(anchored))
    assert "has a postprocess elsewhere" in problem.read
    own = {**OTHER, "database": "assets", "postprocess": "none"}
    assert read(hieradata, anchored, own, sanitise="optional").problems == ()
    # What was said of the loss of another's rule does not forgive that of this one.
    anchored["reason"] = WHY
    environment = read(hieradata, anchored, own, sanitise="optional")
    assert environment.problems == ()
    assert [sync.reason for sync in environment.syncs] == ["links of councils", ""]
