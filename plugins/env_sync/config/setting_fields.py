"""How each setting and option is read; their docs and defaults stand in settings.py."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from env_sync.config.values import (
    Reader,
    duration,
    mapping_of,
    one_of,
    optional,
    read_acl,
    read_boolean,
    read_bucket_pattern,
    read_compression,
    read_hooks,
    read_ratio,
    read_text,
    read_window,
    read_zone,
    whole_number,
)
from env_sync.domain.settings import FAIL, GO, STEPS, IndexesAfterTransformation, Options, Sanitise, Settings

NAMESPACE = "govuk_env_sync::"
SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)


@frozen
class SettingField:
    """One setting: how it is read, and how its value is described in the documentation."""

    reader: Reader[Any]
    values: str
    secret: bool = False
    """Whether what is written may hold a secret: then no problem shows it."""


DURATION = "duration: `30s`, `90m`, `4h`, `1d`, `1h30m`"

OPTION_FIELDS: Mapping[str, SettingField] = {
    "keep_previous": SettingField(read_boolean, "`true` or `false`"),
    "start_deadline": SettingField(duration(MINUTE), DURATION),
    "max_dump_age": SettingField(duration(MINUTE), DURATION),
    "fresh_within": SettingField(duration(MINUTE), DURATION),
    "wait_for_dump": SettingField(optional(duration(MINUTE)), f"{DURATION}, or null"),
    "wait_for_dump_then": SettingField(one_of((GO, FAIL)), f"`{GO}` or `{FAIL}`"),
    "min_size_ratio": SettingField(read_ratio, "number from 0 to 1"),
    "lease_wait": SettingField(duration(), DURATION),
    "lease_lifetime": SettingField(duration(MINUTE), DURATION),
    "promote_wait": SettingField(duration(SECOND), DURATION),
    "retries": SettingField(whole_number(0, 10), "whole number from 0 to 10"),
    "retry_delay": SettingField(duration(), DURATION),
    "timeouts": SettingField(
        mapping_of(duration(SECOND), STEPS),
        f"mapping of steps ({', '.join(f'`{step}`' for step in STEPS)}) to durations",
    ),
    "compression": SettingField(read_compression, "`none`, or `gzip:1` to `gzip:9`"),
    "jobs": SettingField(whole_number(1, 64), "whole number from 1 to 64"),
    "indexes_after_transformation": SettingField(
        lambda node: IndexesAfterTransformation(one_of(IndexesAfterTransformation)(node)),
        "`auto`, `always` or `never`",
    ),
    "copies": SettingField(whole_number(1, 256), "whole number from 1 to 256"),
    "max_delete_ratio": SettingField(read_ratio, "number from 0 to 1"),
    "snapshots_kept": SettingField(optional(whole_number(1, 1000)), "whole number from 1 to 1000, or null"),
    "snapshots_max_age": SettingField(optional(duration(MINUTE)), f"{DURATION}, or null"),
    "upload_acl": SettingField(
        optional(read_acl), "`private`, `bucket-owner-read` or `bucket-owner-full-control`"
    ),
}
"""Options: settings of an environment that a sync may set again for itself."""

ENVIRONMENT_FIELDS: Mapping[str, SettingField] = {
    "window": SettingField(read_window, "`HH:MM-HH:MM`"),
    "timezone": SettingField(read_zone, "IANA time zone"),
    "protected": SettingField(read_boolean, "`true` or `false`"),
    "sanitise": SettingField(lambda node: Sanitise(one_of(Sanitise)(node)), "`required` or `optional`"),
    "queue": SettingField(optional(read_text), "text"),
    "queues": SettingField(mapping_of(read_text), "mapping of node classes to queues"),
    "pool_size": SettingField(whole_number(1, 1000), "whole number from 1 to 1000"),
    "pool_sizes": SettingField(
        mapping_of(whole_number(1, 1000)), "mapping of database servers to whole numbers from 1 to 1000"
    ),
    "before_replacing": SettingField(read_hooks, "a command or URL, or a list of them", secret=True),
    "after_replacing": SettingField(read_hooks, "the same", secret=True),
    "bucket": SettingField(read_bucket_pattern, "bucket name, with `{environment}` in it or without"),
}
"""Settings that hold for an environment as a whole."""

SETTING_FIELDS: Mapping[str, SettingField] = {**ENVIRONMENT_FIELDS, **OPTION_FIELDS}


def attributes(of: type[Settings] | type[Options]) -> Mapping[str, attrs.Attribute[Any]]:
    """Return the attributes of Settings or Options by name, without what is read by another table."""
    return {each.name: each for each in attrs.fields(of) if each.name not in ("options", "monitors")}
