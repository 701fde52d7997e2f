from __future__ import annotations

import datetime as dt

import pytest

from env_sync.config.setting_fields import ENVIRONMENT_FIELDS, OPTION_FIELDS, attributes
from env_sync.config.settings_reader import read_settings
from env_sync.domain.settings import IndexesAfterTransformation, Options, Sanitise, Settings, Window
from tests.unit.hieradata.conftest import Hieradata

N = "govuk_env_sync::"


def test_every_setting_has_a_reader_and_a_doc() -> None:
    for of, fields in ((Settings, ENVIRONMENT_FIELDS), (Options, OPTION_FIELDS)):
        assert attributes(of).keys() == fields.keys()
        assert all(each.metadata["doc"] for each in attributes(of).values())


def test_defaults(hieradata: Hieradata) -> None:
    hieradata.write("integration.yaml", "other: 1\n")
    hieradata.write("production.yaml", "other: 1\n")
    assert hieradata.read("integration").settings == Settings()
    assert hieradata.read("integration").problems == ()
    assert hieradata.read("production").settings == Settings(protected=True)


def test_every_setting_is_read(hieradata: Hieradata) -> None:
    hieradata.write(
        "integration.yaml",
        f"""
{N}window: 21:30-07:00
{N}timezone: Europe/London
{N}protected: yes
{N}sanitise: "required"
{N}queue: integration
{N}queues: {{mongo: integration-mongo}}
{N}pool_size: 08
{N}pool_sizes: {{whitehall-mysql: 1}}
{N}bucket: dumps-{{environment}}
{N}before_replacing: https://replay.test/pause
{N}after_replacing: [resume-replay --go, 'tell "all of them"']
{N}keep_previous: "false"
{N}start_deadline: 1h30m
{N}max_dump_age: 2d
{N}fresh_within: 8d
{N}wait_for_dump: 45m
{N}wait_for_dump_then: fail
{N}min_size_ratio: .25
{N}lease_wait: 0s
{N}lease_lifetime: 10m
{N}promote_wait: 5s
{N}retries: 0
{N}retry_delay: 1m
{N}timeouts: {{restore: 3h}}
{N}compression: none
{N}jobs: 2
{N}upload_acl: bucket-owner-full-control
{N}indexes_after_transformation: always
""",
    )
    environment = hieradata.read()
    assert environment.problems == ()
    hour = dt.timedelta(hours=1)
    assert environment.settings == Settings(
        window=Window(opens=dt.time(21, 30), closes=dt.time(7)),
        timezone="Europe/London",
        protected=True,
        sanitise=Sanitise.REQUIRED,
        queue="integration",
        queues={"mongo": "integration-mongo"},
        pool_size=8,
        pool_sizes={"whitehall-mysql": 1},
        bucket="dumps-{environment}",
        before_replacing=("https://replay.test/pause",),
        after_replacing=("resume-replay --go", 'tell "all of them"'),
        options=Options(
            keep_previous=False,
            start_deadline=1.5 * hour,
            max_dump_age=48 * hour,
            fresh_within=192 * hour,
            wait_for_dump=0.75 * hour,
            wait_for_dump_then="fail",
            min_size_ratio=0.25,
            lease_wait=0 * hour,
            lease_lifetime=hour / 6,
            promote_wait=dt.timedelta(seconds=5),
            retries=0,
            retry_delay=hour / 60,
            timeouts={**Options().timeouts, "restore": 3 * hour},
            compression="none",
            jobs=2,
            upload_acl="bucket-owner-full-control",
            indexes_after_transformation=IndexesAfterTransformation.ALWAYS,
        ),
    )


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("window", "22-08", "HH:MM-HH:MM"),
        ("window", "24:00-08:00", "HH:MM-HH:MM"),
        ("window", "08:00-08:00", "another time"),
        ("timezone", "Europe/Londn", "Did you mean `Europe/London`?"),
        ("timezone", "../../etc/passwd", "IANA"),
        ("timezone", "Europe", "IANA"),
        ("timezone", "localtime", "IANA"),
        ("queue", "[a]", "one value"),
        ("queues", "mongo", "mapping"),
        ("queues", "{mongo: [a]}", "for `mongo` in line 1"),
        ("queues", "{mongo: a, mongo: b}", "defined twice"),
        ("pool_size", "0", "from 1 to 1000"),
        ("pool_size", "many", "from 1 to 1000"),
        ("pool_sizes", "{a: 0}", "from 1 to 1000"),
        ("bucket", "'{environment}'", "bucket's name"),
        ("before_replacing", "'tell \"all'", "close every quote"),
        ("after_replacing", "{a: b}", "one value"),
        ("bucket", "'{environmnt}-dumps'", "bucket's name"),
        ("bucket", "'{environment}-{environment}'", "bucket's name"),
        ("keep_previous", "maybe", "`true` or `false`"),
        ("keep_previous", "1", "`true` or `false`"),
        ("start_deadline", "4", "such as `30s`"),
        ("lease_lifetime", "1s", "1m or more"),
        ("min_size_ratio", "50%", "from 0 to 1"),
        ("min_size_ratio", "1.5", "from 0 to 1"),
        ("min_size_ratio", ".nan", "from 0 to 1"),
        ("retries", "-1", "from 0 to 10"),
        ("retries", "!!binary aGVsbG8=", "remove the tag"),
        ("timeouts", "{restor: 3h}", "Did you mean `restore`?"),
        ("timeouts", "{restore: 3}", "for `restore`"),
        ("compression", "gzip:0", "gzip:1"),
        ("upload_acl", "public-read", "bucket-owner-full-control"),
        ("indexes_after_transformation", "auot", "`auto`"),
        ("retry_delay", "", "write a value"),
    ],
)
def test_a_wrong_setting_has_its_default_and_is_said(
    hieradata: Hieradata, name: str, value: str, right: str
) -> None:
    hieradata.write("common.yaml", "\n".join(f"{N}{key}: 3" for key in ("retries", "jobs")))
    hieradata.write("integration.yaml", f"{N}{name}: {value}\n")
    environment = hieradata.read()
    (problem,) = environment.problems
    assert (str(problem.place), problem.sync) == ("integration.yaml:1", None)
    assert f"`{N}{name}` is" in problem.read
    assert right in problem.right
    retries = Options().retries if name == "retries" else 3
    assert environment.settings == Settings(options=Options(retries=retries, jobs=3))


@pytest.mark.parametrize(
    ("hook", "right"),
    [
        ("htps://u:secret-token@x.test/a", "begins with `https://` or `http://`"),
        ("ftp://x.test/secret-token --go", "begins with `https://` or `http://`"),
        ("'\"https://x.test/secret-token\"'", "begins with `https://` or `http://`"),
        ("TOKEN=secret-token curl x.test", "not with a variable"),
        ("TOKEN=secret-token/a curl x.test", "not with a variable"),
        ("'tell \"secret-token'", "close every quote"),
    ],
)
@pytest.mark.parametrize("written", ["{}", "[sh, {}]"])
def test_a_hook_that_may_hold_a_secret_is_refused_and_not_shown(
    hieradata: Hieradata, hook: str, written: str, right: str
) -> None:
    hieradata.write("integration.yaml", f"{N}before_replacing: {written.format(hook)}\n")
    (problem,) = hieradata.read().problems
    assert right in problem.right
    assert "secret-token" not in str(problem)


def test_hooks_that_differ_are_not_shown(hieradata: Hieradata) -> None:
    for file, token in (("a", "secret-one"), ("b", "secret-two")):
        hieradata.write(f"integration/{file}.yaml", f"{N}after_replacing: https://x.test/{token}\n")
    (problem,) = hieradata.read().problems
    assert problem.right == "set it once"
    assert "secret-" not in str(problem)


@pytest.mark.parametrize(
    "hook", ["HTTPS://x.test/a?b=c", "/opt/a=b/run --to=x", "env A=b run", "run https://x.test"]
)
def test_a_hook_that_is_a_url_or_begins_with_a_program_is_taken(hieradata: Hieradata, hook: str) -> None:
    hieradata.write("integration.yaml", f"{N}before_replacing: {hook}\n")
    environment = hieradata.read()
    assert environment.problems == ()
    assert environment.settings.before_replacing == (hook,)


def test_the_environment_comes_before_common(hieradata: Hieradata) -> None:
    hieradata.write("common.yaml", f"{N}retries: 3\n{N}jobs: 3\n{N}timeouts: {{dump: 1h, restore: 1h}}\n")
    hieradata.write("integration/a.yaml", f"{N}retries: 5\n{N}timeouts: {{restore: 2h}}\n")
    hieradata.write("integration/b.yaml", f"{N}retries: 05\n")
    environment = hieradata.read()
    assert environment.problems == ()
    options = environment.settings.options
    assert (options.retries, options.jobs) == (5, 3)
    assert [options.timeouts[step] // dt.timedelta(hours=1) for step in ("dump", "restore", "upload")] == [
        1,
        2,
        6,
    ]


def test_a_problem_of_common_names_common_in_every_environment(hieradata: Hieradata) -> None:
    hieradata.write("common.yaml", f"x: 1\n{N}retries: x\n")
    hieradata.write("integration.yaml", "x: 1\n")
    hieradata.write("staging.yaml", "x: 1\n")
    for name in ("integration", "staging"):
        (problem,) = hieradata.read(name).problems
        assert str(problem.place) == "common.yaml:2"


def test_two_files_that_disagree_are_a_problem(hieradata: Hieradata) -> None:
    hieradata.write("integration/a.yaml", f"{N}retries: 5\n")
    hieradata.write("integration/b.yaml", f"x: 1\n{N}retries: 6\n")
    environment = hieradata.read()
    (problem,) = environment.problems
    assert (str(problem.place), problem.sync) == ("integration/b.yaml:2", None)
    assert "integration/a.yaml:1" in problem.read
    assert environment.settings.options.retries == Options().retries


@pytest.mark.parametrize(
    "files",
    [
        {"a": f"{N}protected: perhaps\n"},
        {"a": f"{N}protected:\n"},
        {"a": f"{N}protected: [true]\n"},
        {"a": f"{N}protected: true\n", "b": f"{N}protected: false\n"},
        {"a": f"{N}protected: false\n{N}protected: true\n"},
        {"a": f"{N}protcted: true\n"},
        {"a": "govuk_env_snyc::protected: true\n"},
        {"a": f"{N}protected: true\nx: [\n"},
        {"a": f"{N}protected: false\n", "b": f"{N}protected: true\nx: [\n"},
        {"a": f"{N}protected: true\n".encode("utf-16")},
        {"../common": f"{N}protected: perhaps\n", "a": "x: 1\n"},
        {"../common": f"{N}protected: true\n\tx\n", "a": "x: 1\n"},
    ],
)
def test_protected_fails_closed(hieradata: Hieradata, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        hieradata.write("common.yaml" if name == "../common" else f"staging/{name}.yaml", text)
    environment = hieradata.read("staging")
    assert environment.settings.protected is True
    assert environment.problems


@pytest.mark.parametrize(
    "files",
    [
        {"a": f"{N}sanitise: requird\n"},
        {"a": f"{N}sanitise:\n"},
        {"a": f"{N}sanitise: true\n"},
        {"a": f"{N}sanitise: [required]\n"},
        {"a": f"{N}sanitise: required\n", "b": f"{N}sanitise: optional\n"},
        {"a": f"{N}sanitize: required\n"},
        {"a": "govuk_env_snyc::sanitise: required\n"},
        {"a": f"{N}sanitise: required\nx: [\n"},
        {"a": f"{N}sanitise: optional\n", "b": f"'{N}sanitise': required\nx: [\n"},
        {"a": f"{N}sanitise: required\n".encode("utf-16")},
        {"../common": f"{N}sanitise: requird\n", "a": "x: 1\n"},
        {"../common": f"{N}sanitise: required\n\tx\n", "a": "x: 1\n"},
    ],
)
def test_sanitise_fails_closed(hieradata: Hieradata, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        hieradata.write("common.yaml" if name == "../common" else f"staging/{name}.yaml", text)
    environment = hieradata.read("staging")
    assert environment.settings.sanitise is Sanitise.REQUIRED
    assert environment.problems


BESIDE = f"{N}tasks:\n  one:\n    hour: '1'\n"


@pytest.mark.parametrize(
    "text",
    [
        "env_sync::{0}: {1}\n",
        "env-sync::{0}: {1}\n",
        "govuk_env_sync.{0}: {1}\n",
        "govuk_env_sync_{0}: {1}\n",
        "govuk::env_sync::{0}: {1}\n",
        "govuk_env_sync::{0}:: {1}\n",
        "{0}: {1}\n",
        "govuk_env_sync: {{{0}: {1}}}\n",
        "govuk_env_sync::options:\n  - {0}: {1}\n",
        "govuk_env_sync: {{govuk_env_sync::{0}: {1}}}\n",
        "mongodb::server:\n  port: 1\n  govuk_env_sync::{0}: {1}\n",
        f"{N}tasks:\n  {N}{{0}}: {{1}}\n  one: {{{{hour: '1'}}}}\n",
        f"{N}tasks:\n  {{0}}: {{1}}\n  one: {{{{hour: '1'}}}}\n",
        f"{N}s3_sync_tasks:\n  {{0}}: {{1}}\n",
        f"{BESIDE}    {N}{{0}}: {{1}}\n",
        f"{BESIDE}    {{0}}: {{1}}\n",
        f"{BESIDE}    timeouts: {{{{{N}{{0}}: {{1}}}}}}\n",
    ],
)
def test_a_guard_that_is_written_so_that_it_sets_nothing_holds(hieradata: Hieradata, text: str) -> None:
    for setting, value in (("sanitise", "required"), ("protected", "true")):
        written = text.format(setting, value)
        hieradata.write("staging.yaml", written)
        environment = hieradata.read("staging")
        settings = environment.settings
        assert (settings.must_sanitise, settings.protected) == (setting == "sanitise", setting != "sanitise")
        line = next(number for number, each in enumerate(written.splitlines(), 1) if setting in each)
        assert line in {problem.place.line for problem in environment.problems}


@pytest.mark.parametrize("key", ["sanitize", "santise", "sanitise", "govuk::sanitise", "sanitise_"])
def test_of_a_slip_it_is_told_what_to_write(hieradata: Hieradata, key: str) -> None:
    hieradata.write("staging.yaml", f"x: 1\n{key}: required\n")
    environment = hieradata.read("staging")
    assert environment.settings.must_sanitise
    (problem,) = environment.problems
    assert (str(problem.place), problem.sync) == ("staging.yaml:2", None)
    assert (problem.read, problem.right) == (
        f"unknown key `{key}`",
        f"write `{N}sanitise`; until then it counts as `required`",
    )


@pytest.mark.parametrize("key", ["sanitize", "santise", "sanitise", f"{N}sanitise", "sanitise_"])
def test_of_one_that_is_indented_too_far_as_well(hieradata: Hieradata, key: str) -> None:
    hieradata.write("staging.yaml", f"{N}tasks:\n  {key}: required\n")
    assert hieradata.read("staging").settings.must_sanitise
    problem = hieradata.read("staging").problems[0]
    assert problem.read == f"`{key}` is nested in `{N}tasks`"
    assert f"write `{N}sanitise` at the beginning of a line" in problem.right


@pytest.mark.parametrize(
    "text",
    [
        "nginx::protected: true\n",
        "protected: [a]\n",
        "protected: false\n",
        "sanitise: optional\n",
        "rails::html::sanitise: true\n",
        "rails::sanitise: {mode: required}\n",
        "rails::html: {sanitise: required, protected: true}\n",
        "varnish::protected_paths: {protected: true}\n",
        "nodenv_sync::protected: true\n",
        "icinga::check_env_sync_age: 3\n",
        "icinga::env_sync: {critical: 3}\n",
        f"{N}timeouts: {{sanitise: 3h}}\n",
        f"{N}pool_sizes: {{protected: 3}}\n",
        f"x: &x\n  {N}sanitise: optional\n  {N}protected: false\n<<: *x\n",
    ],
)
def test_what_is_not_ours_guards_nothing(hieradata: Hieradata, text: str) -> None:
    hieradata.write("staging.yaml", text)
    environment = hieradata.read("staging")
    assert environment.problems == ()
    assert (environment.settings.must_sanitise, environment.settings.protected) == (False, False)


def test_a_sync_may_have_the_name_of_a_setting_and_a_time_for_its_step(
    hieradata: Hieradata, pull: dict[str, str]
) -> None:
    pull["timeouts"] = "{sanitise: 3h}"
    environment = hieradata.syncs({"sanitise": pull, "protected": {**pull, "hour": "5"}})
    assert environment.problems == ()
    assert (environment.settings.must_sanitise, environment.settings.protected) == (False, False)


def test_a_guard_of_common_is_looked_for_as_well(hieradata: Hieradata) -> None:
    hieradata.write("common.yaml", "env_sync::sanitise: required\n")
    hieradata.write("staging.yaml", "x: 1\n")
    hieradata.write("integration.yaml", f"{N}sanitise: optional\n")
    assert hieradata.read("staging").settings.must_sanitise
    assert not hieradata.read("integration").settings.must_sanitise


def test_a_broken_file_that_names_a_transformation_requires_nothing(hieradata: Hieradata) -> None:
    hieradata.write("staging/a.yaml", "transformation_sql_filename: sanitise_signon.sql\nx: [\n")
    assert hieradata.read("staging").settings.sanitise is Sanitise.OPTIONAL


def test_sanitise_can_be_set_either_way(hieradata: Hieradata) -> None:
    hieradata.write("common.yaml", f"{N}sanitise: required\n")
    hieradata.write("production.yaml", f"{N}sanitise: optional\n")
    hieradata.write("staging.yaml", "x: 1\n")
    assert hieradata.read("production").settings.sanitise is Sanitise.OPTIONAL
    assert hieradata.read("staging").settings.sanitise is Sanitise.REQUIRED


def test_a_folder_in_place_of_a_file_fails_closed(hieradata: Hieradata) -> None:
    hieradata.write("staging/a.yaml", "x: 1\n")
    (hieradata.folder / "staging" / "b.yaml").mkdir()
    assert hieradata.read("staging").settings.protected is True
    assert hieradata.read("staging").settings.sanitise is Sanitise.REQUIRED


def test_a_broken_file_that_says_nothing_of_it_protects_nothing(hieradata: Hieradata) -> None:
    hieradata.write("staging/a.yaml", "x: [\n")
    environment = hieradata.read("staging")
    assert environment.settings.protected is False
    assert len(environment.problems) == 1


def test_protected_can_be_set_either_way(hieradata: Hieradata) -> None:
    hieradata.write("common.yaml", f"{N}protected: true\n")
    hieradata.write("production.yaml", f"{N}protected: false\n")
    hieradata.write("staging.yaml", "x: 1\n")
    assert hieradata.read("production").settings.protected is False
    assert hieradata.read("staging").settings.protected is True


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        (f"{N}task", "tasks"),
        (f"{N}windw", "window"),
        ("govuk_env_sync:tasks", "tasks"),
        ("govuk_envsync::tasks", "tasks"),
        (f"{N}Retries", "retries"),
    ],
)
def test_an_unknown_key_of_ours_is_said(hieradata: Hieradata, key: str, meant: str) -> None:
    hieradata.write("integration.yaml", f'x: 1\n"{key}": {{}}\n')
    (problem,) = hieradata.read().problems
    assert (problem.place.line, problem.sync) == (2, None)
    assert f"Did you mean `{N}{meant}`?" in problem.right


def test_other_keys_are_ignored(hieradata: Hieradata) -> None:
    hieradata.write("integration.yaml", "mongodb::x: {a: , a: 2}\nenvironment: staging\n? [a]\n: b\n")
    assert hieradata.read().problems == ()


def test_a_setting_in_a_sync_holds_for_that_sync(hieradata: Hieradata, pull: dict[str, str]) -> None:
    environment = hieradata.syncs(
        {"a": {**pull, "retries": "4", "timeouts": "{dump: 1h}"}, "b": {**pull, "hour": "4"}},
        top=f"{N}retries: 2\n{N}timeouts: {{restore: 2h}}",
    )
    assert environment.problems == ()
    first, second = environment.syncs
    assert (first.options.retries, second.options.retries) == (4, 2)
    assert first.options.timeouts["restore"] == dt.timedelta(hours=2)
    assert first.options.timeouts["dump"] == dt.timedelta(hours=1)
    assert second.options == environment.settings.options


def test_a_folder_that_cannot_be_listed_fails_closed() -> None:
    # Given as an argument: no permission keeps root, as whom tests may run, from listing a folder.
    assert read_settings("staging", [], [], hidden=True)[0].protected is True
    assert read_settings("staging", [], [], hidden=True)[0].sanitise is Sanitise.REQUIRED
    assert read_settings("staging", [], [], hidden=False)[0].protected is False
