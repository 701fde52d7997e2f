"""What each rule says: at which field, what was read, and what would be right."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.config.rules import (
    GROUP_NAME,
    RESERVED_NAMES,
    Checked,
    broken_bucket_rules,
    broken_rules,
    is_recovery,
)
from env_sync.config.yaml_nodes import Fault
from env_sync.core.errors import NameRefused
from env_sync.domain.postprocess.redact_last_part import RedactLastPart
from env_sync.domain.postprocess.rewrite_domain import RewriteDomain
from env_sync.domain.settings import Options, Sanitise, Settings
from env_sync.domain.sync import Action, BucketSync, Ensure, Place, Sync
from env_sync.engines.mongo import names as mongo_names
from env_sync.engines.mysql import names as mysql_names
from env_sync.engines.postgresql import names as postgresql_names
from env_sync.engines.registry import DESCRIPTORS
from tests.unit.values import REPLACE, SQL, a_bucket_sync, a_push, a_recovery, a_sync

Said = tuple[str, str, str]
AT_NAME = "(name)"
HERE = "govuk-integration-database-backups"
USUAL_SETTINGS = Settings()
PROTECTED = Settings(protected=True)
REQUIRED = Settings(sanitise=Sanitise.REQUIRED)
FIELDS = (
    *("ensure", "hour", "minute", "action", "dbms", "storagebackend", "database", "url", "path"),
    *("database_hostname", "source_hostname", "copy_way", "indices", "excluded_indices", "excluded_tables"),
    *("transformation_sql_filename", "pre_dump_transformation_sql_filename", "pre_dump_in_place"),
    *("wait_for_dump", "wait_for_dump_then", "start_deadline", "source_bucket", "destination_bucket"),
    *("reason", "postprocess"),
)
USUAL = {"action", "dbms", "storagebackend", "database", "url", "path"}


def places(written: Iterable[str]) -> dict[str, Place]:
    return {field: Place("integration.yaml", 10 + FIELDS.index(field)) for field in written}


def said(faults: Iterable[Fault], name_at: Place) -> list[Said]:
    return [
        (AT_NAME if fault.place == name_at else FIELDS[fault.place.line - 10], fault.read, fault.right)
        for fault in faults
    ]


def broken(
    sync: Sync, *written: str, settings: Settings = USUAL_SETTINGS, unread: Iterable[str] = ()
) -> list[Said]:
    """What is said of a sync in which the usual fields and these are written."""
    checked = Checked(sync=sync, settings=settings, places=places(USUAL | {*written}))
    return said(broken_rules(checked, frozenset(unread)), sync.place)


def broken_mirror(
    sync: BucketSync,
    *written: str,
    settings: Settings = USUAL_SETTINGS,
    unread: Iterable[str] = (),
    others: Iterable[str] = (),
    dump_buckets: Iterable[str] = (),
) -> list[Said]:
    at = places({"source_bucket", "destination_bucket", *written})
    faults = broken_bucket_rules(
        sync, settings, at, frozenset(unread), frozenset(others), frozenset(dump_buckets)
    )
    return said(faults, sync.place)


def a_copy(**fields: Any) -> Sync:
    of_a_cluster = {"dbms": "elasticsearch", "storagebackend": "elasticsearch", "action": Action.COPY}
    return a_sync(**{**of_a_cluster, "source_hostname": "elasticsearch-above", "url": "snapshots", **fields})


def test_a_fault_at_a_field_that_is_not_written_is_at_the_name() -> None:
    sync = a_sync(dbms="elasticsearch")
    assert [at for at, _, _ in broken(sync)] == ["storagebackend"]
    checked = Checked(sync=sync, settings=Settings(), places={})
    assert {fault.place for fault in broken_rules(checked, frozenset())} == {sync.place}


@pytest.mark.parametrize(
    "sync",
    [
        a_sync(),
        a_push(),
        a_push(url=HERE, pre_dump_transformation=SQL, excluded_tables=("a",)),
        a_sync(transformation=SQL, database="x" * 53),
        a_push(database="x" * 63),
        a_sync(dbms="mysql", database="é" * 54),
        a_sync(dbms="mongo", database="x" * 53),
        a_sync(dbms="files", database="x" * 200),
        a_sync(dbms="mongo", database="a__replaced"),
        a_push(dbms="mongo", database="a:b"),
        a_sync(dbms="documentdb", transformation=SQL),
        # Only a pull replaces a database.
        a_push(database="postgres"),
        a_sync(database="admin"),
        a_copy(),
        a_copy(indices=("a",), excluded_indices=("b",)),
        a_copy(action=Action.PUSH),
        a_copy(action=Action.PULL),
        a_sync(options=Options(wait_for_dump=dt.timedelta(hours=1))),
    ],
)
def test_what_is_right_breaks_no_rule(sync: Sync) -> None:
    assert broken(sync, *(("source_hostname",) if sync.action is Action.COPY else ())) == []


@pytest.mark.parametrize("protected", [False, True])
def test_a_recovery_breaks_no_rule(protected: bool) -> None:
    assert broken(a_recovery(), settings=Settings(protected=protected)) == []


# Names


@pytest.mark.parametrize("name", ["a b", "", "x" * 181, "a.b", "pull\n"])
def test_a_name_that_can_name_no_task_group(name: str) -> None:
    shown = {"x" * 181: "x" * 60 + "...", "pull\n": "pull\\n"}.get(name, name)
    expected = (
        AT_NAME,
        f"the name `{shown}` cannot name a task group",
        "use letters, digits, `_` and `-` only, at most 180",
    )
    assert broken(a_sync(name)) == [expected]
    assert broken_mirror(a_bucket_sync(name)) == [expected]


@pytest.mark.parametrize("name", RESERVED_NAMES)
def test_the_name_of_a_task_of_ours(name: str) -> None:
    expected = (AT_NAME, f"the name `{name}` is that of a task of Env Sync", "choose another name")
    assert broken(a_sync(name)) == [expected]
    assert broken_mirror(a_bucket_sync(name)) == [expected]


def test_the_name_that_means_every_sync() -> None:
    expected = (AT_NAME, "the name `all` means every sync in a run by hand", "choose another name")
    assert broken(a_sync("all")) == [expected]
    assert broken_mirror(a_bucket_sync("all")) == [expected]


@pytest.mark.parametrize("name", ["all_2", "x" * 180, "a-b_C9", "1", "night_2"])
def test_a_name_that_can_name_a_task_group(name: str) -> None:
    assert GROUP_NAME.fullmatch(name)
    assert broken(a_sync(name)) == []


# Stores and buckets


def test_a_store_fits_its_engine() -> None:
    assert broken(a_sync(dbms="elasticsearch")) == [
        (
            "storagebackend",
            "`storagebackend` is `s3` for `elasticsearch`",
            "write `storagebackend: elasticsearch`",
        )
    ]
    assert broken(a_sync(storagebackend="elasticsearch")) == [
        (
            "storagebackend",
            "`storagebackend` is `elasticsearch` for `postgresql`",
            "write `storagebackend: s3`",
        )
    ]


def test_dumps_in_a_bucket_have_a_folder() -> None:
    sync = a_sync()
    checked = Checked(sync=sync, settings=Settings(), places=places(USUAL - {"path"}))
    assert said(broken_rules(checked, frozenset()), sync.place) == [
        (AT_NAME, "`path` is missing", "add it: the folder of the bucket for these dumps")
    ]
    copied = a_copy()
    checked = Checked(
        sync=copied, settings=Settings(), places=places((USUAL - {"path"}) | {"source_hostname"})
    )
    assert broken_rules(checked, frozenset()) == ()


@pytest.mark.parametrize("url", ["s3://bucket", "Upper", "ab", "x" * 64])
def test_a_url_is_a_buckets_name(url: str) -> None:
    shown = "x" * 60 + "..." if url == "x" * 64 else url
    assert broken(a_sync(url=url)) == [
        (
            "url",
            f"`url` is `{shown}`",
            "write the bucket's name alone: 3 to 63 lower-case letters, digits, `-` and `.`",
        )
    ]
    assert broken(a_copy(url=url), "source_hostname") == []


@pytest.mark.parametrize("url", ["govuk-staging-database-backups", "somebody-elses"])
def test_a_push_goes_into_the_own_bucket(url: str) -> None:
    assert broken(a_push(url=url)) == [
        (
            "url",
            f"a push to `{url}`, which is not the bucket of `integration`",
            f"write `url: {HERE}`, or set `govuk_env_sync::bucket` if that is not its name",
        )
    ]
    assert broken(a_push(url=url), settings=Settings(bucket=url)) == []
    assert broken(a_copy(action=Action.PUSH, url=url)) == []


# Protected environments, and recovery


def test_a_scheduled_pull_never_writes_into_a_protected_environment() -> None:
    assert broken(a_sync(), "ensure", settings=PROTECTED) == [
        (
            "ensure",
            "a scheduled pull into `integration`, a protected environment",
            f"only a recovery sync may write there: `ensure: disabled` and `url: {HERE}`",
        )
    ]
    assert [read for _, read, _ in broken(a_copy(), "source_hostname", settings=PROTECTED)] == [
        "a scheduled copy into `integration`, a protected environment"
    ]
    assert broken(a_push(), settings=PROTECTED) == []


def test_a_pull_by_hand_into_a_protected_environment_is_a_recovery_or_nothing() -> None:
    assert broken(a_sync(ensure=Ensure.DISABLED), "ensure", settings=PROTECTED) == [
        (
            "url",
            ("a pull from `govuk-staging-database-backups` into `integration`, a protected environment"),
            f"only a recovery sync may write there: `ensure: disabled` and `url: {HERE}`",
        )
    ]


@pytest.mark.parametrize("ensure", [Ensure.PRESENT, Ensure.DISABLED])
def test_a_pull_comes_from_another_environment(ensure: Ensure) -> None:
    assert broken(a_sync(url=HERE, ensure=ensure)) == [
        (
            "url",
            f"a pull from `{HERE}`, the bucket of `integration` itself",
            (
                "write the bucket of the environment that the data comes from; only a disabled pull into a "
                "protected environment, to recover it, reads its own bucket"
            ),
        )
    ]
    # The url of a cluster is the name of a repository, which may be the same for all.
    assert broken(a_copy(action=Action.PULL, url=HERE, ensure=ensure)) == []


@pytest.mark.parametrize(
    ("protected", "ensure", "action", "url", "recovery"),
    [
        (True, Ensure.DISABLED, Action.PULL, HERE, True),
        (False, Ensure.DISABLED, Action.PULL, HERE, False),
        (True, Ensure.PRESENT, Action.PULL, HERE, False),
        (True, Ensure.DISABLED, Action.PUSH, HERE, False),
        (True, Ensure.DISABLED, Action.PULL, "govuk-staging-database-backups", False),
    ],
)
def test_what_is_a_recovery(
    protected: bool, ensure: Ensure, action: Action, url: str, recovery: bool
) -> None:
    assert is_recovery(ensure, action, url, "integration", Settings(protected=protected)) is recovery


@pytest.mark.parametrize(
    ("field", "sync"),
    [
        ("transformation_sql_filename", a_recovery(transformation=SQL)),
        ("pre_dump_transformation_sql_filename", a_recovery(pre_dump_transformation=SQL)),
    ],
)
def test_what_is_recovered_is_as_it_was(field: str, sync: Sync) -> None:
    expected = (field, f"`{field}` on a recovery sync", "remove it: what is recovered must be as it was")
    assert broken(sync, field) == [expected]
    # As `none`, which takes an anchor's away.
    assert broken(a_recovery(), field) == []


# Transformations


@pytest.mark.parametrize(
    ("sync", "wrong", "instead"),
    [
        (
            a_sync(pre_dump_transformation=SQL),
            "pre_dump_transformation_sql_filename",
            "transformation_sql_filename",
        ),
        (a_push(transformation=SQL), "transformation_sql_filename", "pre_dump_transformation_sql_filename"),
        (
            a_copy(pre_dump_transformation=SQL),
            "pre_dump_transformation_sql_filename",
            "transformation_sql_filename",
        ),
    ],
)
def test_a_transformation_that_would_never_run(sync: Sync, wrong: str, instead: str) -> None:
    assert broken(sync, wrong, "source_hostname" if sync.action is Action.COPY else wrong) == [
        (wrong, f"`{wrong}` on a {sync.action}, which never runs it", f"write `{instead}`")
    ]


def test_an_engine_without_transformations() -> None:
    right = "remove it; only postgresql, mysql, mongo, documentdb, elasticsearch run them"
    pull, push = a_sync(dbms="files", transformation=SQL), a_push(dbms="files", pre_dump_transformation=SQL)
    for sync, field in (
        (pull, "transformation_sql_filename"),
        (push, "pre_dump_transformation_sql_filename"),
    ):
        read = f"`{field}` for `files`, which has no transformations"
        assert broken(sync, field) == [(field, read, right)]


def test_live_is_transformed_in_place_only_where_that_is_said_and_allowed() -> None:
    alone = (
        "pre_dump_in_place",
        "`pre_dump_in_place` without `pre_dump_transformation_sql_filename`",
        "write that as well, or remove it",
    )
    assert broken(a_push(pre_dump_in_place=True), "pre_dump_in_place") == [alone]
    assert broken(a_sync(pre_dump_in_place=True), "pre_dump_in_place") == [alone]
    assert broken(a_push(pre_dump_in_place=True), "pre_dump_in_place", settings=PROTECTED) == [alone]
    whole = a_push(pre_dump_in_place=True, pre_dump_transformation=SQL)
    assert broken(whole, "pre_dump_in_place") == []
    assert broken(whole, "pre_dump_in_place", settings=PROTECTED) == [
        (
            "pre_dump_in_place",
            "`pre_dump_in_place` in `integration`, a protected environment, where live would change",
            "remove it: the SQL then runs on a copy",
        )
    ]


# What comes down is sanitised

SAY_NONE = "`transformation_sql_filename: none` with `reason: <why>`"
IN_REQUIRED = "in `integration`, where `govuk_env_sync::sanitise` is `required`"


@pytest.mark.parametrize(
    "sync",
    [
        a_sync(transformation=SQL),
        a_sync(postprocess=(REPLACE, RedactLastPart(collection="a", path_field="b", limited_by=("c",)))),
        a_sync(says_none=True, reason="public"),
        a_push(),
        a_recovery(),
    ],
)
def test_what_is_sanitised_or_has_a_reason_comes_down(sync: Sync) -> None:
    assert broken(sync, settings=REQUIRED) == []


@pytest.mark.parametrize(
    ("sync", "what", "write"),
    [
        (a_sync(), "signon`", "write `transformation_sql_filename: <file>`, or, where"),
        (
            a_sync(postprocess=(REPLACE, RewriteDomain(to="here.example"))),
            "signon` (`replace_text`, `rewrite_domain` does not sanitise)",
            "write `transformation_sql_filename: <file>`, or, where",
        ),
        (a_sync(dbms="mongo"), "signon`", "write `transformation_sql_filename: <file>`, or, where"),
        (a_sync(dbms="files", database="x" * 61), f"{'x' * 60}...`", "where"),
        (a_copy(), "signon`", "write `transformation_sql_filename: <file>`, or, where"),
        (a_sync(dbms="files"), "signon`", "where"),
    ],
)
def test_where_it_is_required_nothing_comes_down_raw(sync: Sync, what: str, write: str) -> None:
    written = "source_hostname" if sync.action is Action.COPY else "path"
    assert broken(sync, written, settings=REQUIRED) == [
        (
            AT_NAME,
            f"nothing sanitises what comes down into `{what} {IN_REQUIRED}",
            f"{write} nothing has to be sanitised, {SAY_NONE}",
        )
    ]
    assert broken(sync, written) == []


def test_that_nothing_is_sanitised_has_a_reason() -> None:
    bare = a_sync(says_none=True)
    assert broken(bare, "transformation_sql_filename", settings=REQUIRED) == [
        (
            "transformation_sql_filename",
            f"`transformation_sql_filename: none` without a `reason` {IN_REQUIRED}",
            "write `reason: <why nothing has to be sanitised>` beside it",
        )
    ]
    assert broken(bare, "transformation_sql_filename") == []


@pytest.mark.parametrize("settings", [USUAL_SETTINGS, REQUIRED])
@pytest.mark.parametrize("transformation", [None, SQL])
def test_a_reason_is_one_for_something(settings: Settings, transformation: Path | None) -> None:
    expected = (
        "reason",
        "`reason` without `transformation_sql_filename: none` or `postprocess: none`",
        f"write {SAY_NONE}, or remove it",
    )
    sync = a_sync(transformation=transformation, reason="public")
    assert broken(sync, "reason", settings=settings) == [expected]
    assert broken_mirror(a_bucket_sync(reason="public"), "reason", settings=settings) == [expected]


def test_a_reason_for_the_lack_of_a_rule_is_none_for_raw_data() -> None:
    sync = a_sync(reason="no domains in it")
    assert broken(sync, "reason", "postprocess") == []
    [(at, read, _)] = broken(sync, "reason", "postprocess", settings=REQUIRED)
    assert (at, read) == (AT_NAME, f"nothing sanitises what comes down into `signon` {IN_REQUIRED}")


def test_a_recovery_has_no_reason() -> None:
    for settings in (USUAL_SETTINGS, REQUIRED):
        assert broken(a_recovery(reason="public"), "reason", settings=settings) == [
            ("reason", "`reason` on a recovery sync", "remove it: only what comes down has one")
        ]


def test_a_push_has_a_reason_only_for_having_no_transformation() -> None:
    none = "pre_dump_transformation_sql_filename: none"
    said = f"`{none}` with `reason: <why>`"
    for settings in (USUAL_SETTINGS, REQUIRED, PROTECTED):
        assert broken(a_push(reason="public"), "reason", settings=settings) == [
            (
                "reason",
                f"`reason` on a push without `{none}`",
                f"remove it, or, where its dumps need no transformation any more, write {said}",
            )
        ]
        assert broken(a_push(reason="public", says_none=True), "reason", settings=settings) == []


def test_what_may_not_come_down_at_all_need_not_be_sanitised() -> None:
    settings = Settings(protected=True, sanitise=Sanitise.REQUIRED)
    assert [at for at, _, _ in broken(a_sync(), "ensure", settings=settings)] == ["ensure"]
    assert len(broken_mirror(a_bucket_sync(), settings=settings)) == 1


def test_a_mirror_is_sanitised_by_nothing() -> None:
    assert broken_mirror(a_bucket_sync(), settings=REQUIRED) == [
        (
            AT_NAME,
            f"nothing sanitises what comes down into `govuk-assets-integration` {IN_REQUIRED}",
            f"where nothing has to be sanitised, {SAY_NONE}",
        )
    ]
    for field in ("reason", "transformation_sql_filename"):
        assert broken_mirror(a_bucket_sync(), settings=REQUIRED, unread={field}) == []
    assert broken_mirror(a_bucket_sync(says_none=True, reason="public"), settings=REQUIRED) == []


# Clusters


@pytest.mark.parametrize("field", ["indices", "excluded_indices"])
def test_only_a_cluster_has_indices(field: str) -> None:
    assert broken(a_sync(), field) == [
        (field, f"`{field}` for `postgresql`", "remove it: only `elasticsearch` has indices")
    ]
    assert broken(a_copy(), field, "source_hostname") == []


@pytest.mark.parametrize("field", ["source_hostname", "copy_way"])
def test_only_a_copy_has_a_source(field: str) -> None:
    expected = (field, f"`{field}` on a pull", "remove it: only a copy has a source")
    assert broken(a_sync(), field) == [expected]
    assert broken(a_copy(action=Action.PULL), field) == [expected]


def test_a_copy_has_a_source_that_is_another_cluster() -> None:
    missing = ("`source_hostname` is missing", "add it: the host of the cluster to copy from")
    assert broken(a_copy(source_hostname=None)) == [(AT_NAME, *missing)]
    # As `~`, which takes an anchor's away.
    assert broken(a_copy(source_hostname=None), "source_hostname") == [("source_hostname", *missing)]
    long = "h" * 61
    assert broken(a_copy(source_hostname=long, database_hostname=long), "source_hostname") == [
        (
            "source_hostname",
            f"`source_hostname` is `{'h' * 60}...`, the target itself",
            "write the host of another cluster",
        )
    ]


@pytest.mark.parametrize("action", [Action.PULL, Action.PUSH, Action.COPY])
def test_a_cluster_has_indices_and_no_tables(action: Action) -> None:
    field = "source_hostname" if action is Action.COPY else "path"
    assert broken(a_copy(action=action, excluded_tables=("a",)), "excluded_tables", field) == [
        ("excluded_tables", "`excluded_tables` for `elasticsearch`", "write `excluded_indices`")
    ]


def test_what_other_clusters_have_is_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    known = DESCRIPTORS["elasticsearch"]
    stores = frozenset({"elasticsearch", "a_store"})
    another = evolve(known, name="other", capabilities=evolve(known.capabilities, storagebackends=stores))
    monkeypatch.setitem(DESCRIPTORS, "other", another)
    assert broken(a_sync(), "path", "indices") == [
        ("indices", "`indices` for `postgresql`", "remove it: only `elasticsearch` and `other` has indices")
    ]
    assert broken(a_sync(dbms="other"), "path", "indices") == [
        (
            "storagebackend",
            "`storagebackend` is `s3` for `other`",
            "write `storagebackend: a_store or elasticsearch`",
        )
    ]
    excluded = a_sync(dbms="other", storagebackend="a_store", action=Action.PUSH, excluded_tables=("a",))
    assert broken(excluded, "excluded_tables") == [
        ("excluded_tables", "`excluded_tables` for `other`", "write `excluded_indices`")
    ]


def test_a_pull_leaves_out_no_tables() -> None:
    assert broken(a_sync(excluded_tables=("a",)), "excluded_tables") == [
        (
            "excluded_tables",
            "`excluded_tables` on a pull, which restores whole dumps",
            "write it on the push that makes the dump",
        )
    ]


# Waiting for a dump


@pytest.mark.parametrize(
    ("sync", "what"),
    [
        (a_push(), "a push"),
        (a_copy(), "a copy of a cluster"),
        (a_copy(action=Action.PULL), "a pull of a cluster"),
    ],
)
@pytest.mark.parametrize("field", ["wait_for_dump", "wait_for_dump_then"])
def test_only_a_pull_of_a_dump_waits_for_one(sync: Sync, what: str, field: str) -> None:
    expected = (field, f"`{field}` on {what}", "remove it: only a pull of a dump waits for it")
    assert broken(sync, field, "source_hostname" if sync.action is Action.COPY else field) == [expected]
    assert broken_mirror(a_bucket_sync(), field) == [
        (field, f"`{field}` on a bucket sync", "remove it: only a pull of a dump waits for it")
    ]


def test_what_happens_after_the_wait_needs_a_wait() -> None:
    assert broken(a_sync(), "wait_for_dump_then") == [
        (
            "wait_for_dump_then",
            "`wait_for_dump_then` on a pull that does not wait",
            "write `wait_for_dump` as well, or remove it",
        )
    ]
    waiting = a_sync(options=Options(wait_for_dump=dt.timedelta(hours=1)))
    assert broken(waiting, "wait_for_dump", "wait_for_dump_then") == []


@pytest.mark.parametrize(("wait", "shown"), [(dt.timedelta(hours=4), "4h"), (dt.timedelta(hours=5), "5h")])
@pytest.mark.parametrize("field", ["wait_for_dump", "start_deadline"])
def test_a_wait_ends_before_it_is_too_late_to_start(wait: dt.timedelta, shown: str, field: str) -> None:
    assert broken(a_sync(options=Options(wait_for_dump=wait)), field) == [
        (
            field,
            (
                f"`wait_for_dump` is {shown} and `start_deadline` 4h: at the wait's end it would be too late "
                "to start"
            ),
            "make `wait_for_dump` shorter than `start_deadline`, or that longer",
        )
    ]


# Names of databases


@pytest.mark.parametrize(
    ("sync", "right"),
    [
        (a_sync(database="a/b"), "a name with `/` cannot be part of the dump's key"),
        (
            a_sync(dbms="files", database="a/b"),
            (
                "a name with `/` cannot be part of the dump's key; `root` in the extra of its connection "
                "says where it is"
            ),
        ),
        *(
            (
                make(database=f"a{copy}"),
                "names ending in __incoming or __previous or __outgoing or __replaced are kept for copies",
            )
            for make in (a_sync, a_push)
            for copy in ("__incoming", "__previous", "__outgoing", "__replaced")
        ),
        (
            a_sync(dbms="mongo", database="a__outgoing"),
            "names ending in __incoming or __previous or __outgoing are kept for copies",
        ),
        (
            a_sync(dbms="mysql", database="a__Replaced"),
            "names ending in __incoming or __previous or __outgoing or __replaced are kept for copies",
        ),
        (a_sync(dbms="mysql", database="MySQL"), "a pull never replaces a database of mysql itself"),
        (
            a_sync(dbms="mysql", database="a\U0001f600"),
            "no copy of a name with `\U0001f600` can be made; rename the database",
        ),
        (
            a_sync(dbms="documentdb", database="a.b"),
            "no copy of a name with `.` can be made; rename the database",
        ),
        *(
            (a_sync(dbms=dbms, database=name), f"a pull never replaces a database of {dbms} itself")
            for dbms, names in {
                "postgresql": ("postgres", "template0", "template1", "rdsadmin"),
                "mysql": ("mysql", "sys", "information_schema", "performance_schema"),
                "mongo": ("admin", "config", "local"),
                "documentdb": ("admin", "config", "local"),
            }.items()
            for name in names
        ),
    ],
)
def test_names_that_no_database_may_have(sync: Sync, right: str) -> None:
    assert broken(sync) == [("database", f"`database` is `{sync.database}`", right)]


@pytest.mark.parametrize(
    ("sync", "length", "right"),
    [
        (a_sync(database="x" * 54), "54 bytes", "53 bytes, since `__incoming` is added to it"),
        (a_sync(database="é" * 27), "54 bytes", "53 bytes, since `__incoming` is added to it"),
        (a_push(database="x" * 64), "64 bytes", "63 bytes"),
        (
            a_push(database="x" * 54, pre_dump_transformation=SQL),
            "54 bytes",
            "53 bytes, since `__outgoing` is added to it",
        ),
        (
            a_push(database="x" * 64, pre_dump_transformation=SQL, pre_dump_in_place=True),
            "64 bytes",
            "63 bytes",
        ),
        (
            a_sync(dbms="mysql", database="é" * 55),
            "55 characters",
            "54 characters, since `__incoming` is added to it",
        ),
        (a_push(dbms="mysql", database="é" * 65), "65 characters", "64 characters"),
        (
            a_sync(dbms="mongo", database="é" * 27),
            "54 bytes",
            "53 bytes, since `__incoming` is added to it",
        ),
        (a_push(dbms="documentdb", database="x" * 64), "64 bytes", "63 bytes"),
    ],
)
def test_a_name_leaves_room_for_the_copys(sync: Sync, length: str, right: str) -> None:
    shown = sync.database if len(sync.database) <= 60 else sync.database[:60] + "..."
    assert broken(sync) == [
        ("database", f"`database` is `{shown}`, {length} long", f"a name may have at most {right}")
    ]


NAMES = (
    *(f"a{copy}" for copy in ("__incoming", "__previous", "__outgoing", "__replaced", "__else")),
    *(f"a{copy}" for copy in ("__INCOMING", "__Replaced", "_replaced", "__incoming_")),
    *(f"a{sign}b" for sign in "/\\. \"$*<>:|?-_'#@é\U0001f600"),
    *("x" * length for length in (1, 53, 54, 55)),
    *("é" * length for length in (26, 27, 54, 55)),
    *("postgres", "template0", "mysql", "MySQL", "Sys", "admin", "Admin", "local", "signon_production"),
)
ENGINES: tuple[tuple[str, Callable[[str, tuple[str, ...]], object]], ...] = (
    ("postgresql", postgresql_names.copies_of),
    ("mysql", mysql_names.copies_of),
    ("mongo", mongo_names.copies_of),
    ("documentdb", mongo_names.copies_of),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dbms", "copies_of"), ENGINES, ids=[dbms for dbms, _ in ENGINES])
def test_no_name_is_refused_at_night_alone(
    dbms: str, copies_of: Callable[[str, tuple[str, ...]], object], name: str
) -> None:
    refused_here = [field for field, _, _ in broken(a_sync(dbms=dbms, database=name))]
    try:
        copies_of(name, ())
    except NameRefused:
        assert refused_here == ["database"]
    else:
        # A slash cannot be part of a key, and mongo has no outgoing; neither is a matter of its server.
        assert not refused_here or "/" in name or name.endswith("__outgoing")


# What could not be read


@pytest.mark.parametrize(
    ("sync", "written", "fields"),
    [
        (a_sync(dbms="elasticsearch"), "path", ["dbms", "storagebackend"]),
        (a_sync(url="Upper"), "path", ["url", "storagebackend"]),
        (a_sync(url=HERE), "path", ["url", "action", "ensure"]),
        (
            a_recovery(transformation=SQL),
            "transformation_sql_filename",
            ["action", "url", "ensure"],
        ),
        (a_push(url="other-bucket"), "path", ["action", "url", "storagebackend"]),
        (a_push(transformation=SQL), "transformation_sql_filename", ["action", "url", "ensure", "dbms"]),
        (a_push(pre_dump_in_place=True), "pre_dump_in_place", ["pre_dump_in_place"]),
        (a_sync(excluded_tables=("a",)), "excluded_tables", ["action", "dbms"]),
        (a_sync(), "indices", ["dbms"]),
        (
            a_copy(source_hostname=None),
            "path",
            ["action", "dbms", "source_hostname", "database", "database_hostname"],
        ),
        (a_sync(), "copy_way", ["action", "dbms"]),
        (a_push(), "wait_for_dump", ["action", "storagebackend", "wait_for_dump"]),
        (a_sync(), "wait_for_dump_then", ["wait_for_dump_then", "start_deadline"]),
        (a_sync(database="postgres"), "path", ["action", "dbms", "database"]),
        (
            a_sync(reason="public"),
            "reason",
            [
                *("action", "url", "ensure", "dbms", "database"),
                *("postprocess", "transformation_sql_filename", "reason"),
                "pre_dump_transformation_sql_filename",
            ],
        ),
    ],
)
def test_no_rule_judges_by_a_field_that_could_not_be_read(
    sync: Sync, written: str, fields: list[str]
) -> None:
    assert len(broken(sync, written)) == 1
    for field in fields:
        assert broken(sync, written, unread={field}) == []
    assert len(broken(sync, written, unread={"hour"})) == 1


def test_a_name_is_always_checked() -> None:
    assert len(broken(a_sync("night"), unread=FIELDS)) == 1


# Bucket syncs


def test_a_mirror_that_is_right_breaks_no_rule() -> None:
    assert broken_mirror(a_bucket_sync(), others=("staging", "production")) == []


def test_a_mirror_has_two_buckets() -> None:
    same = a_bucket_sync(source_bucket="assets", destination_bucket="assets")
    assert broken_mirror(same) == [
        (
            "destination_bucket",
            "`destination_bucket` is the source as well, `assets`",
            "write two different buckets",
        )
    ]
    for field in ("source_bucket", "destination_bucket"):
        assert broken_mirror(same, unread={field}) == []


def test_nothing_is_mirrored_into_a_protected_environment() -> None:
    assert broken_mirror(a_bucket_sync(), settings=PROTECTED) == [
        (
            AT_NAME,
            "a bucket sync into `integration`, a protected environment",
            "remove it: nothing is mirrored into a protected environment",
        )
    ]


@pytest.mark.parametrize(
    ("destination", "others", "owner"),
    [
        ("assets-staging", ["staging", "production"], "staging"),
        ("STAGING.assets", ["staging"], "staging"),
        ("assets.staging", ["Staging"], "Staging"),
        ("staging-and-production", ["staging", "production"], "production"),
        ("assets-pre.live", ["pre.live"], "pre.live"),
    ],
)
def test_a_mirror_goes_into_no_bucket_of_another_environment(
    destination: str, others: list[str], owner: str
) -> None:
    sync = a_bucket_sync(source_bucket="above", destination_bucket=destination)
    assert broken_mirror(sync, others=others) == [
        (
            "destination_bucket",
            f"`destination_bucket` is `{destination}`, by its name of `{owner}`",
            "write a bucket of `integration`: a bucket sync comes down into its own environment",
        )
    ]
    assert broken_mirror(sync, others=others, unread={"destination_bucket"}) == []


@pytest.mark.parametrize("environment", ["integration", "Integration"])
@pytest.mark.parametrize(
    "destination",
    ["assets", "production-integration", "reproduction", "production2", "Production_INTEGRATION", "pre-live"],
)
def test_a_mirror_may_go_into_a_bucket_of_its_own_or_of_nobodys(environment: str, destination: str) -> None:
    sync = a_bucket_sync(source_bucket="above", destination_bucket=destination, environment=environment)
    assert broken_mirror(sync, others=("staging", "production", "pre.live")) == []


@pytest.mark.parametrize("field", ["source_bucket", "destination_bucket"])
def test_dumps_are_never_mirrored(field: str) -> None:
    sync = a_bucket_sync(**{field: "govuk-integration-database-backups"})
    assert broken_mirror(sync) == [
        (
            field,
            f"`{field}` is `govuk-integration-database-backups`, a bucket of dumps",
            "dumps are never mirrored: push and pull the databases",
        )
    ]
    assert broken_mirror(sync, unread={field}) == []
