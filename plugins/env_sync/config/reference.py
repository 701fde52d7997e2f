"""The configuration reference, docs/configuration.md, written from the fields and their docs."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from env_sync.config.bindings import BINDING_FIELDS
from env_sync.config.monitors_reader import MONITOR_FIELDS
from env_sync.config.postprocess_rules import RULES
from env_sync.config.setting_fields import (
    ENVIRONMENT_FIELDS,
    NAMESPACE,
    OPTION_FIELDS,
    SettingField,
    attributes,
)
from env_sync.config.sync_fields import BUCKET_SYNC_FIELDS, SYNC_FIELDS, SyncField
from env_sync.domain.duration import format_duration
from env_sync.domain.settings import Options, Settings

INTRODUCTION = """\
# Configuration

This page is written from the code: `PYTHONPATH=plugins python -m env_sync.config.reference > \
docs/configuration.md`

`bin/env-sync check` reads the configuration and lists every problem with its file and line.

## Files

`include/hieradata/` holds, for each environment, a file `<environment>.yaml`, a folder
`<environment>/` with one `<node class>.yaml` for each class of machines, or both. The files of an
environment add up. `common.yaml` beside them holds what is shared: its syncs are part of every
environment, its settings hold where an environment does not set its own. Files are YAML 1.1 in
UTF-8, with anchors and `<<` merge keys. Keys outside `govuk_env_sync::` are ignored.

A sync that names no `database_hostname` belongs to the server called like its node class: the name
of its file, in `<environment>.yaml` that of the environment.

```yaml
govuk_env_sync::window: "22:00-08:00"
govuk_env_sync::tasks:
  "pull_publishing_api_production_daily":
    ensure: "present"
    hour: "3"
    minute: "30"
    action: "pull"
    dbms: "postgresql"
    storagebackend: "s3"
    database: "publishing_api_production"
    database_hostname: "publishing-api-postgres"
    url: "govuk-staging-database-backups"
    path: "publishing-api-postgres"
    transformation_sql_filename: "sanitise_publishing_api_production.sql"
govuk_env_sync::s3_sync_tasks:
  "s3_sync_assets_from_staging_daily":
    hour: "0"
    minute: "45"
    source_bucket: "govuk-staging-assets"
    destination_bucket: "govuk-integration-assets"
    delete: true
```

A problem takes away the one sync that it concerns; all others run. A setting that is wrong has its
default until it is corrected, except `protected`, which is then true, and `sanitise`, which is then
`required`. So they are where one was meant and nothing reads it: under a key that names Env Sync in
another way (`env_sync::sanitise`), as a bare `sanitise: required`, or inside another key.
"""

SYNCS = """\
## Syncs: `govuk_env_sync::tasks`

A mapping of names to fields. A name is unique in its environment and made of letters, digits, `_`
and `-`, at most 180; `all`, and the names of tasks that stand beside the syncs (`night`, ...), are taken.
A sync may also set each of the [options](#options) for itself.

- A push goes to the environment's own bucket; a pull comes from another one.
- Into a protected environment only a **recovery sync** may pull: `ensure: disabled`, from the
  environment's own bucket, without a transformation.
- Two scheduled pulls never start in one database at the same minute. Syncs of one database run in
  the order of their times, counted from the opening of the window; `after` cannot reverse that.
- Where `govuk_env_sync::sanitise` is `required`, what comes down has a transformation or a rule that
  sanitises, or says `transformation_sql_filename: none` with a `reason`.
- `none` and `reason` are written in the sync itself: what is inherited from another one by `<<` or an alias
  does not count here. `none` with a `reason`, either of them inherited like that, is a problem.
- A crontab field that matches several times makes the sync start each time, at most 48 times a day.
"""

BUCKET_SYNCS = """\
## Bucket syncs: `govuk_env_sync::s3_sync_tasks`

A mapping of names to fields, as above. Buckets of dumps are never mirrored.
"""

SETTINGS = """\
## Settings of an environment

Each is a top key, `govuk_env_sync::<name>`, in `<environment>.yaml`, in one of the environment's
node classes, or in `common.yaml`. The environment's own come before the common ones.
"""

OPTIONS = """\
## Options

Settings that a sync may set again for itself, as a field of its own. For an environment they are
written as `govuk_env_sync::<name>`. Of `timeouts`, steps that are not named keep their limit.
"""


POSTPROCESS = """\
## Postprocess: `govuk_env_sync::postprocess`

A list of bindings, in `common.yaml` or in an environment's files; they add up, and run in the order in
which they stand, after the transformation. See [postprocess.md](postprocess.md).

- A pull of a database that has a rule in other environments and none in this one is a problem, until a
  binding has the rule `none` for it or the sync says `postprocess: none`.
- A binding that is wrong takes away the pulls that it may concern. A list that cannot be read takes away
  every pull.
"""

MONITORS = """\
## Monitors: `govuk_env_sync::monitors`

A list of monitors, each told how every sync went, in `common.yaml` or in an environment's files. Those
of an environment's own files add up and come before the common ones; `[]` is none. See
[alerts.md](alerts.md).

A monitor that is wrong takes away itself alone.
"""


def render_reference() -> str:
    """Return the whole of docs/configuration.md."""
    return "\n".join(
        (
            INTRODUCTION,
            SYNCS,
            _table(_sync_rows(SYNC_FIELDS)),
            BUCKET_SYNCS,
            _table(_sync_rows(BUCKET_SYNC_FIELDS)),
            SETTINGS,
            _table(_setting_rows(ENVIRONMENT_FIELDS, Settings())),
            OPTIONS,
            _table(_setting_rows(OPTION_FIELDS, Options())),
            POSTPROCESS,
            _table(_sync_rows(BINDING_FIELDS)),
            "\n".join(_rules()),
            MONITORS,
            "\n".join(_monitors()).rstrip("\n") + "\n",
        )
    )


def _rules() -> Iterable[str]:
    for name, rule in RULES.items():
        where = ", ".join(f"`{dbms}`" for dbms in rule.make.dbms)
        sanitises = "It sanitises." if rule.make.sanitises else "It does not sanitise."
        yield f"### Rule `{name}`\n\n{rule.doc} {sanitises} Runs on {where}.\n"
        yield _table(_sync_rows(rule.parameters))


def _monitors() -> Iterable[str]:
    for kind, fields in MONITOR_FIELDS.items():
        yield f"### Monitor `{kind}`\n"
        yield _table(_sync_rows(fields))


def _sync_rows(fields: Mapping[str, SyncField]) -> Iterable[tuple[str, str, str, str]]:
    for name, each in fields.items():
        yield f"`{name}`", each.values, each.default or "required", each.doc


def _setting_rows(
    fields: Mapping[str, SettingField], defaults: Settings | Options
) -> Iterable[tuple[str, str, str, str]]:
    docs = attributes(type(defaults))
    for name, each in fields.items():
        default = _default(getattr(defaults, name))
        yield f"`{NAMESPACE}{name}`", each.values, default, docs[name].metadata["doc"]


def _default(value: Any) -> str:
    """Return a default value as one would write it."""
    if value in (None, {}, ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dt.timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, Mapping):
        return ", ".join(f"`{key}: {format_duration(each)}`" for key, each in value.items())
    return f"`{value}`"


def _table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = ["| Name | Value | Default | What it is for |", "| --- | --- | --- | --- |"]
    lines.extend(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_reference())
