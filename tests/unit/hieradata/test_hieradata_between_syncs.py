from __future__ import annotations

from env_sync.domain.environment import Environment
from env_sync.domain.sync import AnySync
from tests.unit.hieradata.conftest import Hieradata


def names(environment: Environment) -> list[str]:
    syncs: tuple[AnySync, ...] = (*environment.syncs, *environment.bucket_syncs)
    return [sync.name for sync in syncs]


def test_the_same_name_twice_in_one_file(hieradata: Hieradata, pull: dict[str, str]) -> None:
    body = "".join(f"    {key}: {value}\n" for key, value in pull.items())
    hieradata.write(
        "integration.yaml", f"govuk_env_sync::tasks:\n  one:\n{body}  one:\n{body}    retries: 3\n"
    )
    environment = hieradata.read()
    (problem,) = environment.problems
    assert names(environment) == ["one"]
    assert environment.syncs[0].options.retries == 1
    assert problem.sync == "one"
    assert str(problem.place) == "integration.yaml:12"
    assert "integration.yaml:2" in problem.read


def test_the_same_name_twice_across_files_and_kinds(hieradata: Hieradata) -> None:
    entry = (
        "{hour: 3, minute: 0, action: pull, dbms: mongo, storagebackend: s3, database: a, path: x, "
        "url: govuk-staging-database-backups}"
    )
    hieradata.write("common.yaml", f"govuk_env_sync::tasks: {{one: {entry}}}\n")
    hieradata.write("integration.yaml", f"govuk_env_sync::tasks:\n  one: {entry}\n")
    hieradata.write(
        "integration/a.yaml",
        "govuk_env_sync::s3_sync_tasks:\n"
        "  one: {hour: 1, minute: 1, source_bucket: aaa, destination_bucket: bbb}\n",
    )
    environment = hieradata.read()
    assert [sync.node_class for sync in environment.syncs] == ["common"]
    assert environment.bucket_syncs == ()
    assert [str(problem.place) for problem in environment.problems] == [
        "integration.yaml:2",
        "integration/a.yaml:2",
    ]
    assert all("common.yaml:1" in problem.read for problem in environment.problems)


def test_tasks_written_twice_in_one_file_lose_no_sync(hieradata: Hieradata) -> None:
    entry = (
        "{hour: 3, minute: 0, action: push, dbms: mongo, storagebackend: s3, database: a, path: x, "
        "url: govuk-integration-database-backups}"
    )
    text = "".join(f"govuk_env_sync::tasks: {{{name}: {entry}}}\n" for name in ("a", "b"))
    hieradata.write("integration.yaml", text)
    environment = hieradata.read()
    assert names(environment) == ["a", "b"]
    (problem,) = environment.problems
    assert (problem.place.line, problem.sync) == (2, None)


def test_two_pulls_into_one_live_database_at_the_same_minute(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    environment = hieradata.syncs(
        {
            "first": pull,
            "same": {**pull, "hour": "2,3"},
            "other_minute": {**pull, "minute": "31"},
            "other_database": {**pull, "database": "other"},
            "other_host": {**pull, "database_hostname": "other"},
            "other_engine": {**pull, "dbms": "mysql"},
            "by_hand": {**pull, "ensure": "disabled"},
            "absent": {**pull, "ensure": "absent"},
            "meets_only_what_is_left_out": {**pull, "hour": "2"},
        }
    )
    (problem,) = environment.problems
    assert (problem.sync, problem.place.line) == ("same", 12)
    assert "`first`" in problem.read
    assert "integration.yaml:2" in problem.read
    assert "03:30" in problem.read
    assert len(environment.syncs) == 8


def after(name: str, of: str, hour: int, base: dict[str, str], **more: str) -> dict[str, dict[str, str]]:
    fields = {**base, "hour": str(hour), "database": name, **more}
    return {name: {**fields, "after": of} if of else fields}


def test_after_names_syncs_of_either_kind(hieradata: Hieradata, pull: dict[str, str]) -> None:
    hieradata.write(
        "integration/a.yaml",
        "govuk_env_sync::s3_sync_tasks:\n"
        "  mirror: {hour: 1, minute: 1, source_bucket: aaa, destination_bucket: bbb, after: [a, b]}\n",
    )
    environment = hieradata.syncs(
        {**after("a", "", 1, pull), **after("b", "a", 1, pull), **after("c", "mirror", 1, pull)}
    )
    assert environment.problems == ()
    assert environment.bucket_syncs[0].after == ("a", "b")


def test_after_a_name_that_is_unknown_or_absent(hieradata: Hieradata, pull: dict[str, str]) -> None:
    environment = hieradata.syncs(
        {
            **after("pull_one", "pull_won", 1, pull),
            **after("gone", "", 1, pull, ensure="absent"),
            **after("stale", "", 1, pull, ensure="absent", color="red", minute="99"),
            **after("two", "gone", 1, pull),
            **after("three", "stale", 1, pull),
            **after("four", "", 1, pull),
            **after("won", "four", 1, pull),
        }
    )
    problems = {problem.sync: problem for problem in environment.problems}
    assert problems.keys() == {"pull_one", "two", "three"}
    assert "there is no such sync" in problems["pull_one"].right
    assert "absent" in problems["two"].right
    assert "absent" in problems["three"].right
    assert names(environment) == ["gone", "four", "won"]


def test_cycles_are_left_out_and_nothing_else(hieradata: Hieradata, pull: dict[str, str]) -> None:
    environment = hieradata.syncs(
        {
            **after("a", "c", 1, pull),
            **after("b", "a", 1, pull),
            **after("c", "b", 1, pull),
            **after("self", "self", 1, pull),
            **after("tail", "[c, good]", 1, pull),
            **after("tail_of_tail", "tail", 1, pull),
            **after("good", "", 1, pull),
            **after("between", "a", 1, pull),
        }
    )
    assert names(environment) == ["tail", "tail_of_tail", "good", "between"]
    assert {problem.sync for problem in environment.problems} == {"a", "b", "c", "self", None}
    by_sync = {problem.sync: problem.read for problem in environment.problems}
    assert "cycle of `a`, `b`, `c`" in by_sync["b"]
    dropped = [problem for problem in environment.problems if problem.sync is None]
    assert [problem.read.split("`")[1::2][:3] for problem in dropped] == [
        ["tail", "after", "c"],
        ["between", "after", "a"],
    ]


def test_a_sync_between_two_cycles_stays(hieradata: Hieradata, pull: dict[str, str]) -> None:
    environment = hieradata.syncs(
        {
            **after("a", "b", 1, pull),
            **after("b", "a", 1, pull),
            **after("middle", "a", 1, pull),
            **after("c", "[d, middle]", 1, pull),
            **after("d", "c", 1, pull),
        }
    )
    assert names(environment) == ["middle"]


def test_after_a_sync_that_is_left_out_only_drops_the_edge(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    environment = hieradata.syncs({**after("bad", "", 25, pull), **after("good", "bad", 1, pull)})
    assert names(environment) == ["good"]
    assert [problem.sync for problem in environment.problems] == ["bad", None]
    assert "`good` is `after` `bad`" in environment.problems[1].read


def test_after_against_the_order_of_times_in_one_database_is_a_cycle(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    night = {"minute": "0", "database": "same"}
    environment = hieradata.syncs(
        {
            "early": {**push, **night, "hour": "23", "after": "late"},
            "late": {**pull, **night, "hour": "2"},
            "later": {**push, **night, "hour": "5", "after": "late"},
        }
    )
    (problem,) = environment.problems
    assert problem.sync == "early"
    assert "order of their times" in problem.read
    assert names(environment) == ["late", "later"]


def test_a_disabled_sync_has_one_place_in_the_night(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    by_hand = {**pull, "ensure": "disabled", "hour": "1,5"}
    syncs = {"by_hand": by_hand, "late": {**push, "hour": "3", "after": "by_hand"}}
    assert hieradata.syncs(syncs).problems == ()
    syncs["by_hand"] = {**by_hand, "ensure": "present"}
    assert [problem.sync for problem in hieradata.syncs(syncs).problems] == ["late"]


def test_after_at_the_same_minute_is_no_cycle(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    environment = hieradata.syncs({"a": {**push, "hour": "3", "after": "b"}, "b": pull})
    assert environment.problems == ()


def test_many_syncs_in_one_cycle(hieradata: Hieradata, pull: dict[str, str]) -> None:
    count = 2000
    syncs: dict[str, dict[str, str]] = {}
    for number in range(count):
        syncs.update(after(f"s{number}", f"s{(number + 1) % count}", 1, pull))
    environment = hieradata.syncs(syncs)
    assert environment.syncs == ()
    assert len(environment.problems) == count
    assert all(len(str(problem)) < 400 for problem in environment.problems)


def test_two_mirrors_into_one_bucket_of_which_one_deletes(
    hieradata: Hieradata, mirror: dict[str, str]
) -> None:
    other = {**mirror, "source_bucket": "govuk-staging-other", "delete": "false"}
    environment = hieradata.syncs({"first": mirror, "second": other}, key="s3_sync_tasks")
    assert names(environment) == ["first"]
    (problem,) = environment.problems
    assert problem.sync == "second"
    assert "`second` mirrors into `govuk-integration-assets`, as `first` does" in problem.read
    # The second from the same source deletes as well, what the third brings.
    third = {"keeps": {**mirror, "delete": "false"}, "deletes": mirror, "other": other}
    assert names(hieradata.syncs(third, key="s3_sync_tasks")) == ["keeps", "deletes"]
    keeping = {"first": {**mirror, "delete": "false"}, "second": other}
    assert names(hieradata.syncs(keeping, key="s3_sync_tasks")) == ["first", "second"]
    # The same twice a night.
    again = {"first": mirror, "second": {**mirror, "hour": "4"}}
    assert names(hieradata.syncs(again, key="s3_sync_tasks")) == ["first", "second"]
