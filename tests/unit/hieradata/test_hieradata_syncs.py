from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from env_sync.domain.problem import Problem
from env_sync.domain.sync import Action, Ensure, Place, Schedule
from tests.unit.hieradata.conftest import Hieradata

TOO_LONG = "x" * 54


def test_a_sync_is_complete(hieradata: Hieradata, pull: dict[str, str]) -> None:
    more = {
        "minute": "05",
        "temppath": "/tmp/content",
        "transformation_sql_filename": "sanitise.sql",
        "keep_previous": "false",
    }
    environment = hieradata.syncs({"pull_content": {**pull, **more}})
    assert environment.problems == ()
    (sync,) = environment.syncs
    assert (sync.name, sync.environment, sync.node_class) == ("pull_content", "integration", "integration")
    assert sync.place == Place("integration.yaml", 2)
    assert (sync.ensure, sync.action) == (Ensure.PRESENT, Action.PULL)
    assert sync.schedule == Schedule(hour="3", minute="05", times=(dt.time(3, 5),))
    assert sync.temppath == Path("/tmp/content")
    assert sync.transformation == hieradata.transformations / "sanitise.sql"
    assert sync.pre_dump_transformation is None
    assert sync.live == ("postgresql", "content-postgres", "content_production")
    assert not sync.recovery
    assert not sync.options.keep_previous


def test_the_node_class_names_the_server_where_no_host_does(hieradata: Hieradata) -> None:
    hieradata.write(
        "integration/mongo.yaml",
        "govuk_env_sync::tasks:\n  a: {hour: 3, minute: 0, action: pull, dbms: mongo, storagebackend: s3, "
        "database: a, url: govuk-staging-database-backups, path: mongo-api, database_hostname: }\n",
    )
    (sync,) = hieradata.read().syncs
    assert (sync.node_class, sync.server, sync.place.file) == ("mongo", "mongo", "integration/mongo.yaml")


def test_a_bucket_sync_is_complete(hieradata: Hieradata, mirror: dict[str, str]) -> None:
    environment = hieradata.syncs({"assets": mirror}, key="s3_sync_tasks")
    assert environment.problems == ()
    (sync,) = environment.bucket_syncs
    assert (sync.source_bucket, sync.destination_bucket) == (
        "govuk-staging-assets",
        "govuk-integration-assets",
    )
    assert sync.delete is True
    assert sync.schedule.times == (dt.time(0, 45),)


@pytest.mark.parametrize("written", ["[a, b, a]", "a, b", '"a,b"', "\n      - a\n      - b"])
def test_excluded_tables_are_a_list_or_text(hieradata: Hieradata, push: dict[str, str], written: str) -> None:
    (sync,) = hieradata.syncs({"one": {**push, "excluded_tables": written}}).syncs
    assert sync.excluded_tables == ("a", "b")


@pytest.mark.parametrize(
    ("written", "times"), [("[0, 08]", 2), ("0,08", 2), ("*", 24), ('"*/6"', 4), ("09", 1)]
)
def test_hours_as_people_write_them(
    hieradata: Hieradata, pull: dict[str, str], written: str, times: int
) -> None:
    if written == "*":
        written = '"*"'
    environment = hieradata.syncs({"one": {**pull, "hour": written}})
    assert environment.problems == ()
    assert len(environment.syncs[0].schedule.times) == times


BLANK = "where nothing has to be sanitised, `transformation_sql_filename: none` with `reason: <why>`"


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("hour", "25", "from 0 to 23"),
        ("hour", "1:30", "from 0 to 23"),
        ("hour", "yes", "from 0 to 23"),
        ("minute", "60", "from 0 to 59"),
        ("minute", "{}", "write one value"),
        ("minute", '"0 "', "spaces"),
        ("minute", '"*"', None),
        ("ensure", "presnt", "Did you mean `present`?"),
        ("ensure", "", "write a value"),
        ("action", "pul", "Did you mean `pull`?"),
        ("action", "copie", "Did you mean `copy`?"),
        ("dbms", "postgres", "Did you mean `postgresql`?"),
        ("storagebackend", "S3", "Did you mean `s3`?"),
        ("storagebackend", "elasticsearch", "write `storagebackend: s3`"),
        ("dbms", "elasticsearch", "write `storagebackend: elasticsearch`"),
        ("database", '""', "write a value"),
        ("database", '"a\\nb"', "control characters"),
        ("database", "a/b", "key"),
        ("database", "[a]", "write one value"),
        ("database", "!!binary YQ==", "remove the tag"),
        ("database", "content__incoming", "kept for copies"),
        ("database", "content__previous", "kept for copies"),
        ("database", "content__outgoing", "kept for copies"),
        ("database", "postgres", "itself"),
        ("database", TOO_LONG, "at most 53 bytes"),
        ("database", "é" * 27, "at most 53 bytes"),
        ("url", "govuk-integration-database-backups", "recover it"),
        ("url", "govuk-staging-database-backups/", "bucket's name alone"),
        ("url", "s3://govuk-staging-database-backups", "bucket's name alone"),
        ("url", "govuk_staging_backups", "bucket's name alone"),
        ("path", "/content", "without `/`"),
        ("path", "content/", "without `/`"),
        ("path", "../content", "without `/`"),
        ("temppath", "tmp", "absolute folder"),
        ("temppath", "/", "absolute folder"),
        ("temppath", "/tmp/../etc", "absolute folder"),
        ("transformation_sql_filename", "sanitize.sql", "Did you mean `sanitise.sql`?"),
        ("transformation_sql_filename", "../sanitise.sql", "no such file in transformation_sql/"),
        ("transformation_sql_filename", ".", "no such file"),
        ("transformation_sql_filename", "[sanitise.sql]", "write one value"),
        ("transformation_sql_filename", "", BLANK),
        ("transformation_sql_filename", "~", BLANK),
        ("transformation_sql_filename", '""', BLANK),
        ("transformation_sql_filename", '" "', BLANK),
        ("transformation_sql_filename", "None", "no such file"),
        ("pre_dump_transformation_sql_filename", "", "where nothing has to be sanitised, `none`"),
        ("excluded_tables", "", "write a value or remove the key"),
        ("postprocess", "", "write a value or remove the key"),
        ("pre_dump_transformation_sql_filename", "sanitise.sql", "write `transformation_sql_filename`"),
        ("pre_dump_in_place", "true", "write that as well, or remove it"),
        ("excluded_tables", "emails", "on the push"),
        ("excluded_tables", "a,,b", "one comma"),
        ("after", "{a: b}", "write one value"),
        ("after", "nobody", "there is no such sync"),
        ("retries", "many", "from 0 to 10"),
        ("databse", "x", "Did you mean `database`?"),
        ("delete", "true", "correct or remove it"),
        ("window", "22:00-08:00", "correct or remove it"),
    ],
)
def test_a_wrong_field_takes_its_sync_away(
    hieradata: Hieradata, pull: dict[str, str], field: str, value: str, right: str | None
) -> None:
    if right is None:
        pull["hour"], right = '"*"', "1440 times a day"
    fields = {**pull, field: value}
    problem = hieradata.one(fields)
    assert right in problem.right
    # A store that does not fit its engine is said at the store.
    line = 3 + list(fields).index("storagebackend" if value == "elasticsearch" else field)
    assert str(problem.place) == f"integration.yaml:{line}"
    assert field in problem.read or field in ("url", "dbms")


def test_the_word_none_takes_away_the_transformation_of_an_anchor(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    environment = hieradata.syncs(
        {
            "one": {**pull, "transformation_sql_filename": "none"},
            "two": {
                **pull,
                "action": "push",
                "url": "govuk-integration-database-backups",
                "pre_dump_transformation_sql_filename": "none",
            },
        }
    )
    assert environment.problems == ()
    assert [(sync.transformation, sync.pre_dump_transformation) for sync in environment.syncs] == [
        (None, None)
    ] * 2


@pytest.mark.parametrize(
    "field", ["hour", "minute", "action", "dbms", "storagebackend", "database", "url", "path"]
)
def test_a_missing_field_is_said_at_the_sync(hieradata: Hieradata, pull: dict[str, str], field: str) -> None:
    problem = hieradata.one({key: value for key, value in pull.items() if key != field})
    assert problem.read == f"`{field}` is missing"
    assert str(problem.place) == "integration.yaml:2"


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("source_bucket", "govuk-integration-assets", "two different buckets"),
        ("source_bucket", "govuk-production-database-backups", "never mirrored"),
        ("destination_bucket", "govuk-integration-database-backups", "never mirrored"),
        ("delete", "maybe", "`true` or `false`"),
        ("delete", "1", "`true` or `false`"),
        ("destination_bucket", "Upper", "bucket's name"),
        ("database", "x", "correct or remove it"),
    ],
)
def test_a_wrong_bucket_sync_is_taken_away(
    hieradata: Hieradata, mirror: dict[str, str], field: str, value: str, right: str
) -> None:
    assert right in hieradata.one({**mirror, field: value}, key="s3_sync_tasks").right


@pytest.mark.parametrize(
    ("source", "destination", "owner"),
    [
        ("govuk-integration-assets", "govuk-production-assets", "production"),
        ("assets", "govuk.production.assets", "production"),
        ("govuk-production-assets", "govuk-staging-assets", "staging"),
        ("govuk-staging-assets", "govuk-production-integration", None),
        ("assets-above", "assets-here", None),
        ("assets-above", "reproductions", None),
    ],
)
def test_a_bucket_sync_comes_down_into_its_own_environment(
    hieradata: Hieradata, mirror: dict[str, str], source: str, destination: str, owner: str | None
) -> None:
    hieradata.write("staging.yaml", "")
    names = {"source_bucket": source, "destination_bucket": destination}
    problems = hieradata.syncs({"one": {**mirror, **names}}, key="s3_sync_tasks").problems
    assert [f"by its name of `{owner}`" in problem.read for problem in problems] == [True] * bool(owner)


@pytest.mark.parametrize("setting", ["govuk-integration-database-backups", "the-dumps"])
def test_the_buckets_of_dumps_of_others_are_known_where_our_own_has_another_name(
    hieradata: Hieradata, mirror: dict[str, str], setting: str
) -> None:
    raw = {**mirror, "source_bucket": "govuk-production-database-backups"}
    environment = hieradata.syncs(
        {"one": raw}, key="s3_sync_tasks", top=f'govuk_env_sync::bucket: "{setting}"'
    )
    (problem,) = environment.problems
    assert "never mirrored" in problem.right
    assert environment.settings.owner_of("govuk-production-database-backups") == "production"


@pytest.mark.parametrize("ensure", ["present", "absent"])
@pytest.mark.parametrize("field", ["source_bucket", "destination_bucket"])
def test_a_bucket_that_a_sync_of_a_database_names_is_one_of_dumps(
    hieradata: Hieradata, pull: dict[str, str], mirror: dict[str, str], field: str, ensure: str
) -> None:
    def problems(**fields: str) -> tuple[Problem, ...]:
        hieradata.write(
            "integration/one.yaml",
            "govuk_env_sync::tasks:\n  pull_one:\n"
            + "".join(f"    {name}: {value}\n" for name, value in {**pull, **fields}.items()),
        )
        names = {"source_bucket": "acme-any-assets", "destination_bucket": "acme-other-assets"}
        fields = {**mirror, **names, field: "acme-prod-dumps"}
        return hieradata.syncs({"one": fields}, key="s3_sync_tasks").problems

    (problem,) = problems(url="acme-prod-dumps", ensure=ensure)
    assert (problem.sync, problem.read) == ("one", f"`{field}` is `acme-prod-dumps`, a bucket of dumps")
    assert problems(url="acme-more-dumps", ensure=ensure) == ()
    # Of a cluster it is the name of a repository.
    cluster = {"dbms": "elasticsearch", "storagebackend": "elasticsearch"}
    assert all(each.sync != "one" for each in problems(url="acme-prod-dumps", ensure=ensure, **cluster))


def test_nothing_is_mirrored_into_a_protected_environment(
    hieradata: Hieradata, mirror: dict[str, str]
) -> None:
    problem = hieradata.one(mirror, key="s3_sync_tasks", environment="production")
    assert "into `production`, a protected environment" in problem.read


def test_a_sync_of_a_database_is_no_bucket_sync(hieradata: Hieradata, pull: dict[str, str]) -> None:
    problem = hieradata.one({**pull, "action": "bucket_sync"})
    assert problem.right.startswith("write one of `push`, `pull`, `copy`.")


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("url", "govuk-staging-database-backups", "write `url: govuk-integration-database-backups`"),
        ("url", "somebody-elses-bucket", "write `url: govuk-integration-database-backups`"),
        ("transformation_sql_filename", "sanitise.sql", "write `pre_dump_transformation_sql_filename`"),
        ("database", "x" * 64, "at most 63 bytes"),
        ("pre_dump_in_place", "yes", "write that as well, or remove it"),
        ("pre_dump_in_place", "maybe", "`true` or `false`"),
    ],
)
def test_a_wrong_push_is_taken_away(
    hieradata: Hieradata, push: dict[str, str], field: str, value: str, right: str
) -> None:
    assert right in hieradata.one({**push, field: value}).right


def test_a_push_that_transforms_a_copy_needs_room_for_its_name(
    hieradata: Hieradata, push: dict[str, str]
) -> None:
    transformed = {**push, "pre_dump_transformation_sql_filename": "sanitise.sql"}
    too_long = {**transformed, "database": "x" * 54}
    assert "at most 53 bytes, since `__outgoing`" in hieradata.one(too_long).right
    fitting = {"a": {**transformed, "database": "x" * 53}}
    in_place = {"b": {**transformed, "database": "x" * 63, "pre_dump_in_place": "true"}}
    environment = hieradata.syncs({**fitting, **in_place})
    assert environment.problems == ()
    assert [sync.pre_dump_in_place for sync in environment.syncs] == [False, True]


def test_a_name_in_mysql_is_counted_in_characters(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    of_mysql = {"dbms": "mysql"}
    too_long = "at most 54 characters, since `__incoming`"
    assert too_long in hieradata.one({**pull, **of_mysql, "database": "x" * 55}).right
    transformed = {**push, **of_mysql, "pre_dump_transformation_sql_filename": "sanitise.sql"}
    too_long = "at most 54 characters, since `__outgoing`"
    assert too_long in hieradata.one({**transformed, "database": "x" * 55}).right
    fitting = {
        "a": {**pull, **of_mysql, "database": "é" * 54},
        "b": {**transformed, "database": "é" * 54},
        "c": {**push, **of_mysql, "database": "x" * 64},
    }
    assert hieradata.syncs(fitting).problems == ()


def test_live_of_a_protected_environment_is_never_transformed(
    hieradata: Hieradata, push: dict[str, str]
) -> None:
    fields = {**push, "pre_dump_transformation_sql_filename": "sanitise.sql", "pre_dump_in_place": "true"}
    hieradata.write("common.yaml", "govuk_env_sync::protected: true\n")
    assert "runs on a copy" in hieradata.one(fields).right


def test_names_of_databases_that_fit(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    names = ["x" * 53, "Licensify-Audit", "a.b", "'a\"b'", "email-alert-api_production"]
    syncs = {f"s{number}": {**pull, "database": name} for number, name in enumerate(names)}
    environment = hieradata.syncs({**syncs, "last": {**push, "database": "x" * 63}})
    assert environment.problems == ()
    assert [sync.database for sync in environment.syncs][3:4] == ['a"b']


def test_a_transformation_that_is_never_run_is_a_problem(hieradata: Hieradata, pull: dict[str, str]) -> None:
    fields = {**pull, "dbms": "files", "transformation_sql_filename": "sanitise.sql"}
    assert "only postgresql, mysql, mongo, documentdb" in hieradata.one(fields).right


@pytest.mark.parametrize(
    "name", ["a b", "a.b", "é", "x" * 181, "config_problems", "request", "selection", "night", "''"]
)
def test_a_name_that_cannot_be_a_task_group(hieradata: Hieradata, pull: dict[str, str], name: str) -> None:
    environment = hieradata.syncs({name: pull})
    assert environment.syncs == ()
    (problem,) = environment.problems
    assert problem.sync == name.strip("'")
    assert problem.place.line == 2


def test_names_that_can_be_a_task_group(hieradata: Hieradata, pull: dict[str, str]) -> None:
    names = ["x" * 180, "a-b_C9", "A-b_C9", "1", "yes"]
    environment = hieradata.syncs({name: {**pull, "hour": str(hour)} for hour, name in enumerate(names)})
    assert environment.problems == ()
    assert [sync.name for sync in environment.syncs] == names


@pytest.mark.parametrize("entry", ["", "text", "[a]", "7"])
def test_an_entry_that_is_no_mapping(hieradata: Hieradata, entry: str) -> None:
    hieradata.write("integration.yaml", f"govuk_env_sync::tasks:\n  one: {entry}\n")
    (problem,) = hieradata.read().problems
    assert (problem.sync, problem.place.line) == ("one", 2)


@pytest.mark.parametrize("tasks", ["", "text", "[a]"])
def test_tasks_that_are_no_mapping(hieradata: Hieradata, tasks: str) -> None:
    hieradata.write("integration.yaml", f"govuk_env_sync::tasks: {tasks}\n")
    (problem,) = hieradata.read().problems
    assert (problem.sync, problem.place.line) == (None, 1)


def test_every_problem_of_a_sync_is_said_at_once(hieradata: Hieradata, pull: dict[str, str]) -> None:
    del pull["path"]
    fields = {
        **pull,
        "hour": "25",
        "dbms": "oracle",
        "url": "govuk-integration-database-backups",
        "color": "red",
    }
    environment = hieradata.syncs({"bad": fields, "good": {**pull, "path": "x"}})
    assert [sync.name for sync in environment.syncs] == ["good"]
    assert [each.read.split("`")[1] for each in environment.problems if each.sync == "bad"] == [
        "hour",
        "dbms",
        "govuk-integration-database-backups",
        "color",
    ]


def test_a_protected_environment_is_only_ever_recovered(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    own, other = "govuk-production-database-backups", "govuk-staging-database-backups"
    environment = hieradata.syncs(
        {
            "push": {**push, "url": own},
            "recovery": {**pull, "url": own, "ensure": "disabled"},
            "scheduled_own": {**pull, "url": own, "ensure": "present"},
            "scheduled_by_default": {**pull, "url": other},
            "by_hand_from_elsewhere": {**pull, "url": other, "ensure": "disabled"},
            "recovery_changed": {
                **pull,
                "url": own,
                "ensure": "disabled",
                "transformation_sql_filename": "sanitise.sql",
            },
        },
        environment="production",
    )
    assert [(sync.name, sync.recovery) for sync in environment.syncs] == [("push", False), ("recovery", True)]
    problems = {problem.sync: problem for problem in environment.problems}
    assert len(environment.problems) == len(problems) == 4
    assert "a scheduled pull into `production`" in problems["scheduled_own"].read
    assert "a scheduled pull into `production`" in problems["scheduled_by_default"].read
    assert problems["scheduled_by_default"].place.line == environment.problems[1].place.line
    assert "into `production`, a protected environment" in problems["by_hand_from_elsewhere"].read
    assert "on a recovery sync" in problems["recovery_changed"].read


def test_the_setting_says_whose_a_bucket_is(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    top = 'govuk_env_sync::bucket: "the-dumps"'
    environment = hieradata.syncs(
        {
            "pull": {**pull, "url": "the-dumps"},
            "pull_other": pull,
            "push": {**push, "url": "the-dumps"},
            "no": push,
        },
        top=top,
    )
    assert [sync.name for sync in environment.syncs] == ["pull_other", "push"]


@pytest.mark.parametrize(
    "stale",
    [
        "{ensure: absent}",
        "{ensure: absent, hour: 99, color: red}",
        "{ensure: absent, dbms: oracle, url: 7}",
        "{color: red, ensure: 'absent', transformation_sql_filename: gone.sql}",
    ],
)
def test_what_is_absent_may_be_stale(hieradata: Hieradata, stale: str) -> None:
    hieradata.write("integration.yaml", f"govuk_env_sync::tasks:\n  one: {stale}\n")
    environment = hieradata.read()
    assert (environment.problems, environment.syncs) == ((), ())


def test_what_is_absent_and_whole_is_kept_and_judged_by_no_rule(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    absent = {**pull, "ensure": "absent", "url": "govuk-production-database-backups"}
    environment = hieradata.syncs({"one two": absent, "b": absent}, environment="production")
    assert environment.problems == ()
    assert [sync.ensure for sync in environment.syncs] == [Ensure.ABSENT, Ensure.ABSENT]


def test_a_slip_in_ensure_hides_nothing(hieradata: Hieradata, pull: dict[str, str]) -> None:
    assert "Did you mean `absent`?" in hieradata.one({**pull, "ensure": "abesnt"}).right
    assert "Did you mean `ensure`?" in hieradata.one({**pull, "ensur": "absent"}).right


def test_a_field_written_twice_takes_its_sync_away(hieradata: Hieradata) -> None:
    hieradata.write(
        "integration.yaml",
        "govuk_env_sync::tasks:\n  one:\n    ensure: absent\n    ensure: absent\n    x: 1\n",
    )
    reads = [problem.read for problem in hieradata.read().problems if problem.sync == "one"]
    assert any("`ensure` is defined twice (first at integration.yaml:3)" in read for read in reads)


def test_a_long_or_strange_value_is_shown_in_one_line(hieradata: Hieradata, pull: dict[str, str]) -> None:
    problem = hieradata.one({**pull, "dbms": f'"{"x" * 500}"'})
    assert len(str(problem)) < 300
    problem = hieradata.one({**pull, "dbms": '"a\\u001b[31m\\nb"'})
    assert str(problem).isprintable()


def test_a_pull_may_wait_for_its_dump_as_its_environment_or_itself_says(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str]
) -> None:
    environment = hieradata.syncs(
        {
            "as_all": pull,
            "itself": {**pull, "database": "b", "wait_for_dump": "30m", "wait_for_dump_then": "fail"},
            "never": {**pull, "database": "c", "wait_for_dump": "null"},
            "a_push": push,
        },
        top="govuk_env_sync::wait_for_dump: 2h",
    )
    assert environment.problems == ()
    waits = {
        sync.name: (sync.options.wait_for_dump, sync.options.wait_for_dump_then) for sync in environment.syncs
    }
    hours, minutes = dt.timedelta(hours=2), dt.timedelta(minutes=30)
    assert waits["as_all"] == (hours, "go")
    assert waits["itself"] == (minutes, "fail")
    assert waits["never"] == (None, "go")


@pytest.mark.parametrize(
    ("fields", "read", "right"),
    [
        ({"wait_for_dump": "4h"}, "too late to start", "shorter than `start_deadline`"),
        (
            {"wait_for_dump": "1h", "start_deadline": "1h"},
            "too late to start",
            "shorter than `start_deadline`",
        ),
        ({"wait_for_dump": "59s"}, "59s", "1m or more"),
        ({"wait_for_dump": "soon"}, "soon", "duration"),
        ({"wait_for_dump": "1h", "wait_for_dump_then": "give up"}, "give up", "`go`, `fail`"),
        ({"wait_for_dump_then": "fail"}, "that does not wait", "write `wait_for_dump`"),
    ],
)
def test_a_wait_that_cannot_be_is_refused(
    hieradata: Hieradata, pull: dict[str, str], fields: dict[str, str], read: str, right: str
) -> None:
    problem = hieradata.one({**pull, **fields})
    assert read in problem.read
    assert right in problem.right


@pytest.mark.parametrize("field", ["wait_for_dump", "wait_for_dump_then"])
def test_only_a_pull_waits_for_a_dump(
    hieradata: Hieradata, push: dict[str, str], mirror: dict[str, str], field: str
) -> None:
    value = {"wait_for_dump": "1h", "wait_for_dump_then": "fail"}[field]
    assert "on a push" in hieradata.one({**push, field: value}).read
    assert "on a bucket sync" in hieradata.one({**mirror, field: value}, key="s3_sync_tasks").read


CLUSTER = {
    "hour": "3",
    "minute": "30",
    "action": "copy",
    "dbms": "elasticsearch",
    "storagebackend": "elasticsearch",
    "database": "search",
    "source_hostname": "search-above",
    "url": "Search_snapshots",
}


def test_a_copy_of_a_cluster(hieradata: Hieradata) -> None:
    [sync] = hieradata.syncs(
        {"copy_search": {**CLUSTER, "indices": "[pages*, people]", "excluded_indices": "pages-old"}}
    ).syncs
    assert (sync.action, sync.source_hostname, sync.copy_way) == ("copy", "search-above", "auto")
    assert (sync.indices, sync.excluded_indices) == (("pages*", "people"), ("pages-old",))
    assert (sync.server, sync.live) == ("search", ("elasticsearch", "search", "search"))
    assert sync.writes
    assert sync.is_cluster
    assert sync.url == "Search_snapshots"


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"source_hostname": "search"}, "another cluster"),
        ({"source_hostname": "~"}, "the host of the cluster to copy from"),
        ({"action": "pull"}, "only a copy has a source"),
        ({"copy_way": "files"}, "write one of `auto`"),
        ({"excluded_tables": "pages"}, "write `excluded_indices`"),
        ({"snapshots_kept": "0"}, "from 1 to 1000"),
        ({"url": "s3://search"}, "the snapshot repository's"),
        ({"wait_for_dump": "30m"}, "only a pull of a dump waits for it"),
        ({"pre_dump_transformation_sql_filename": "sanitise.sql"}, "write `transformation_sql_filename`"),
    ],
)
def test_a_wrong_copy_is_taken_away(hieradata: Hieradata, fields: dict[str, str], right: str) -> None:
    assert right in hieradata.one({**CLUSTER, **fields}).right


@pytest.mark.parametrize("blank", ["", "~", "null", "''"])
def test_a_transformation_that_was_left_blank_is_none_that_was_not_wanted(
    hieradata: Hieradata, pull: dict[str, str], push: dict[str, str], blank: str
) -> None:
    for field, sync in (
        ("transformation_sql_filename", pull),
        ("pre_dump_transformation_sql_filename", push),
    ):
        problem = hieradata.one({**sync, field: blank})
        assert "where nothing has to be sanitised" in problem.right
        assert "remove the key" not in problem.right
        assert field in problem.read


def test_only_a_cluster_has_indices_and_a_source(hieradata: Hieradata, pull: dict[str, str]) -> None:
    assert "only `elasticsearch` has indices" in hieradata.one({**pull, "indices": "pages"}).right
    assert "only a copy has a source" in hieradata.one({**pull, "source_hostname": "above"}).right


def test_no_copy_into_a_protected_environment(hieradata: Hieradata) -> None:
    problem = hieradata.one(CLUSTER, environment="production")
    assert "a scheduled copy into `production`, a protected environment" in problem.read
