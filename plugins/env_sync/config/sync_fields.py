"""Every field that an entry of hieradata may have: how it is read and what it is for.

The reader and the configuration reference in docs/ both take their fields from here, so that they
cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from env_sync.config.crontab import HOUR, MINUTE, CrontabField, matches
from env_sync.config.setting_fields import OPTION_FIELDS, attributes
from env_sync.config.values import (
    Reader,
    one_of,
    optional,
    read_boolean,
    read_bucket,
    read_bucket_or_repository,
    read_crontab_text,
    read_folder,
    read_key_prefix,
    read_names,
    read_tables,
    read_text,
)
from env_sync.config.yaml_nodes import Node, Scalar
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action, CopyWay, Ensure
from env_sync.engines.registry import DESCRIPTORS, offered

NO_POSTPROCESS = "none"
NO_TRANSFORMATION = "none"
SAY_NONE = f"`transformation_sql_filename: {NO_TRANSFORMATION}` with `reason: <why>`"
SAY_NONE_OF_PUSH = f"`pre_dump_transformation_sql_filename: {NO_TRANSFORMATION}` with `reason: <why>`"
"""How it is said that nothing has to be sanitised."""
SAY_NO_RULES = f"`postprocess: {NO_POSTPROCESS}` with `reason: <why>`"
"""How it is said that no rule is needed any more."""
CRONTAB = 'crontab field: `4`, `"05"`, `1,2`, `1-5`, `*`, `*/15`, `1-5/2`'


@frozen(kw_only=True)
class SyncField:
    """One field of an entry; `default` is None where the field must be there."""

    reader: Reader[Any]
    values: str
    doc: str
    default: str | None


def _transformation(instead: str) -> Reader[str | None]:
    """A reader of the name of a file. A blank does not say that there is none: it may be a slip of the pen.

    `instead` is what to write where none is wanted; to remove the key would say as little.
    """

    def read(node: Node) -> str | None:
        if _is_blank(node):
            raise WrongValue(
                f"write the file that sanitises, or, where nothing has to be sanitised, {instead}"
            )
        text = read_text(node)
        return None if text == NO_TRANSFORMATION else text

    return read


def _read_no_transformation(node: Node) -> None:
    if _is_blank(node) or read_text(node) != NO_TRANSFORMATION:
        raise WrongValue(f"a bucket sync has no transformations: write {SAY_NONE}")


def _read_reason(node: Node) -> str:
    if _is_blank(node):
        raise WrongValue("write why nothing has to be sanitised")
    return read_text(node)


def _is_blank(node: Node) -> bool:
    return isinstance(node, Scalar) and node.tag is None and (node.is_null or not node.text.strip())


def _read_dbms(node: Node) -> str:
    return one_of(DESCRIPTORS)(node)


def _read_storagebackend(node: Node) -> str:
    stores = (store for each in offered().values() for store in sorted(each.storagebackends))
    return one_of(dict.fromkeys(stores))(node)


def _crontab(field: CrontabField) -> Reader[str]:
    def read(node: Node) -> str:
        text = read_crontab_text(node)
        matches(text, field)
        return text

    return read


_SHARED: Mapping[str, SyncField] = {
    "ensure": SyncField(
        reader=one_of(Ensure),
        values="`present`, `disabled` or `absent`",
        doc="Whether it runs every night, only when asked for by hand, or not at all.",
        default="`present`",
    ),
    "hour": SyncField(
        reader=_crontab(HOUR),
        values=CRONTAB,
        doc="The hour of its start, 0 to 23, in `timezone`.",
        default=None,
    ),
    "minute": SyncField(
        reader=_crontab(MINUTE), values=CRONTAB, doc="The minute of its start, 0 to 59.", default=None
    ),
    "after": SyncField(
        reader=read_names,
        values="name or list of names",
        doc="The syncs of this environment that must have ended before this one starts.",
        default="none",
    ),
    "reason": SyncField(
        reader=_read_reason,
        values="text",
        doc="Why nothing has to be sanitised, beside `transformation_sql_filename: none`; or why no rule has "
        "to, beside `postprocess: none`; of a push, why its dumps need no transformation any more, beside "
        "`pre_dump_transformation_sql_filename: none`. It is shown wherever the sync is, and kept with the "
        "data.",
        default="none",
    ),
}

SYNC_FIELDS: Mapping[str, SyncField] = {
    **_SHARED,
    "action": SyncField(
        reader=one_of((Action.PUSH, Action.PULL, Action.COPY)),
        values="`push`, `pull` or `copy`",
        doc="Push dumps the database and uploads it to this environment's bucket; pull replaces the "
        "database with another environment's dump. With `elasticsearch` a push takes a snapshot, a pull "
        "restores one, and a copy does both, from `source_hostname`.",
        default=None,
    ),
    "dbms": SyncField(
        reader=_read_dbms,
        values=", ".join(f"`{each.name}` ({each.label})" for each in DESCRIPTORS.values()),
        doc="The engine of the database.",
        default=None,
    ),
    "storagebackend": SyncField(
        reader=_read_storagebackend,
        values="`s3`, or `elasticsearch` for that engine",
        doc="Where dumps are kept.",
        default=None,
    ),
    "database": SyncField(
        reader=read_text,
        values="name",
        doc="The name of the database; with `files`, of the directory; with `elasticsearch`, of the "
        "cluster's host.",
        default=None,
    ),
    "database_hostname": SyncField(
        reader=optional(read_text),
        values="host name",
        doc="The database server; names the Airflow connection.",
        default="the node class; with `elasticsearch`, the database",
    ),
    "url": SyncField(
        reader=read_bucket_or_repository,
        values="bucket name",
        doc="The bucket: of this environment for a push, of the environment above for a pull; with "
        "`elasticsearch`, the snapshot repository.",
        default=None,
    ),
    "path": SyncField(
        reader=read_key_prefix,
        values="folder of the bucket",
        doc="The folder of this database's dumps in the bucket. Required with `s3`.",
        default="none",
    ),
    "source_hostname": SyncField(
        reader=optional(read_text),
        values="host name",
        doc="The cluster that a copy comes from; names the Airflow connection, as a host does, with this "
        "environment in its id and the cluster's own in its extra.",
        default="none",
    ),
    "copy_way": SyncField(
        reader=lambda node: CopyWay(one_of(CopyWay)(node)),
        values="`auto`, `repository`, `reindex` or `scroll`",
        doc="How a copy works: through the snapshot repository `url`, where both clusters have it; by "
        "reindex from remote; or by scroll and bulk. `auto` takes the first that can be, and says why.",
        default="`auto`",
    ),
    "indices": SyncField(
        reader=read_tables,
        values="list of patterns of indices, or with commas",
        doc="The indices of a cluster that the sync is about, with `*` for anything. Closed, hidden and "
        "system indices are left alone unless named in full.",
        default="`*`",
    ),
    "excluded_indices": SyncField(
        reader=read_tables,
        values="list of patterns of indices, or with commas",
        doc="The indices of a cluster that the sync leaves out.",
        default="none",
    ),
    "temppath": SyncField(
        reader=optional(read_folder),
        values="absolute folder",
        doc="Where the worker keeps the dump while the sync runs.",
        default="the work folder of the worker",
    ),
    "transformation_sql_filename": SyncField(
        reader=_transformation(SAY_NONE),
        values=f"file in `include/transformation_sql/`, or `{NO_TRANSFORMATION}`",
        doc="What a pull or copy runs on incoming before it becomes live: SQL (`postgresql`, `mysql`), or "
        "YAML of commands (`mongo`, `documentdb`) or of updates and deletes by query (`elasticsearch`). "
        f"`{NO_TRANSFORMATION}` with a `reason` says that nothing has to be sanitised.",
        default="none",
    ),
    "postprocess": SyncField(
        reader=one_of((NO_POSTPROCESS,)),
        values=f"`{NO_POSTPROCESS}`",
        doc="Says that a pull needs no [postprocess](#postprocess-govuk_env_syncpostprocess), although its "
        "database has one in other environments.",
        default="what is bound to the database",
    ),
    "pre_dump_transformation_sql_filename": SyncField(
        reader=_transformation(f"`{NO_TRANSFORMATION}`"),
        values=f"file in `include/transformation_sql/`, or `{NO_TRANSFORMATION}`",
        doc="The SQL that a push runs before it dumps (`postgresql`, `mysql`): on a copy of live, which is "
        "closed to everybody else and dropped again. Nothing is uploaded if any statement fails. "
        f"`{NO_TRANSFORMATION}` with a `reason` says that dumps no longer need it, where those before, under "
        "the same `path`, had one.",
        default="none",
    ),
    "pre_dump_in_place": SyncField(
        reader=read_boolean,
        values="`true` or `false`",
        doc="Run that SQL on live itself, which stays as the SQL leaves it. Refused in a protected "
        "environment.",
        default="`false`",
    ),
    "excluded_tables": SyncField(
        reader=read_tables,
        values="list of tables, or their names with commas",
        doc="The tables that a push leaves out, structure and rows, with their partitions (`postgresql`); a "
        "pull then has none. With `postgresql` a push fails where what stays needs one of them (a foreign "
        "key, a view). With `files`, globs of what it leaves out, such as `cache/*` or `*.tmp`.",
        default="none",
    ),
}
"""The fields of an entry of `govuk_env_sync::tasks`, options aside."""

BUCKET_SYNC_FIELDS: Mapping[str, SyncField] = {
    **_SHARED,
    "transformation_sql_filename": SyncField(
        reader=_read_no_transformation,
        values=f"`{NO_TRANSFORMATION}`",
        doc="With a `reason`, says that nothing in the bucket has to be sanitised: see "
        "`govuk_env_sync::sanitise`.",
        default="none",
    ),
    "source_bucket": SyncField(
        reader=read_bucket, values="bucket name", doc="The bucket that is copied.", default=None
    ),
    "destination_bucket": SyncField(
        reader=read_bucket, values="bucket name", doc="The bucket that is made identical to it.", default=None
    ),
    "delete": SyncField(
        reader=read_boolean,
        values="`true` or `false`",
        doc="Whether objects that the source lacks are deleted from the destination.",
        default="`false`",
    ),
}
"""The fields of an entry of `govuk_env_sync::s3_sync_tasks`, options aside."""


def option_sync_fields() -> Mapping[str, SyncField]:
    """Return the options as fields of an entry; their docs come from settings.py."""
    return {
        name: SyncField(
            reader=OPTION_FIELDS[name].reader,
            values=OPTION_FIELDS[name].values,
            doc=attribute.metadata["doc"],
            default="the environment's",
        )
        for name, attribute in attributes(Options).items()
    }


def with_options(options: Options, values: Mapping[str, Any]) -> Options:
    """Return options with some of them set anew; time limits that are not named stay."""
    changes = {name: value for name, value in values.items() if name in OPTION_FIELDS}
    if "timeouts" in changes:
        changes["timeouts"] = {**options.timeouts, **changes["timeouts"]}
    return attrs.evolve(options, **changes)
