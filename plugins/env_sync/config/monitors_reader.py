"""The monitors of an environment: `govuk_env_sync::monitors`, out of its own files, else of common.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from env_sync.config.fields import read_fields
from env_sync.config.setting_fields import NAMESPACE
from env_sync.config.suggestion import did_you_mean
from env_sync.config.sync_fields import SyncField
from env_sync.config.values import one_of, read_text, whole_number
from env_sync.config.yaml_nodes import Entry, Fault, Fields, Items, Node, shorten, shown
from env_sync.config.yaml_reader import YamlFile
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.monitors import KINDS, NSCA_PORT, PLACEHOLDER, PLACEHOLDERS, SERVICE, Icinga, Monitor

MONITORS = f"{NAMESPACE}monitors"
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
CONNECTION_ID = re.compile(r"[\w.-]{1,250}")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _read_url(node: Node) -> str:
    text = read_text(node)
    try:
        parts = urlsplit(text)
        well_formed = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        well_formed = False
        parts = urlsplit("")
    if not well_formed or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise WrongValue("write the address alone, such as `https://monitoring.example:5665`")
    return text.rstrip("/")


def _read_template(node: Node) -> str:
    text = read_text(node)
    for name in PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            listed = ", ".join(f"`{{{each}}}`" for each in PLACEHOLDERS)
            raise WrongValue(f"a template may name {listed}.{did_you_mean(name, PLACEHOLDERS)}")
    if set("{}") & set(PLACEHOLDER.sub("", text)):
        raise WrongValue("close every `{` with a `}`")
    if "!" in text:
        raise WrongValue("remove the `!`, which separates host and service")
    return text


def _read_host_name(node: Node) -> str:
    text = read_text(node)
    if HOST_NAME.fullmatch(text) is None:
        raise WrongValue("write a host's name or address alone")
    return text


def _read_path(node: Node) -> PurePosixPath:
    path = PurePosixPath(read_text(node))
    if not path.is_absolute() or len(path.parts) < 2:
        raise WrongValue("write the absolute path of a file")
    return path


def _read_job(node: Node) -> str:
    text = read_text(node)
    if "/" in text:
        raise WrongValue("write it without `/`")
    return text


def _read_connection(node: Node) -> str:
    text = read_text(node)
    if CONNECTION_ID.fullmatch(text) is None:
        raise WrongValue("write the id of an Airflow connection: letters, digits, `_`, `-` and `.`")
    return text


_KIND = SyncField(
    reader=one_of(KINDS),
    values=", ".join(f"`{kind}`" for kind in KINDS),
    doc="The kind of monitor.",
    default=None,
)
_TEMPLATE = f"text, with {', '.join(f'`{{{name}}}`' for name in PLACEHOLDERS)} in it or without"
_HOST = SyncField(
    reader=_read_template,
    values=_TEMPLATE,
    doc="The host object there that the services of syncs belong to.",
    default=None,
)
_SERVICE = SyncField(
    reader=_read_template,
    values=_TEMPLATE,
    doc="The name of the service of a sync.",
    default=f"`{SERVICE}`",
)
_CA = SyncField(
    reader=_read_path,
    values="absolute path on the workers",
    doc="The certificates (PEM) that its own is checked by.",
    default="those of the machine",
)

MONITOR_FIELDS: Mapping[str, Mapping[str, SyncField]] = {
    "icinga": {
        "kind": _KIND,
        "url": SyncField(
            reader=_read_url,
            values="URL, `https://` unless it is this machine",
            doc="The API of Icinga 2, such as `https://icinga.example:5665`.",
            default=None,
        ),
        "connection": SyncField(
            reader=_read_connection,
            values="id of an Airflow connection",
            doc="Its login and password are those of the API user.",
            default=None,
        ),
        "host": _HOST,
        "service": _SERVICE,
        "ca": _CA,
    },
    "nsca": {
        "kind": _KIND,
        "server": SyncField(
            reader=_read_host_name,
            values="host name or address",
            doc="Where the NSCA daemon is.",
            default=None,
        ),
        "port": SyncField(
            reader=whole_number(1, 65535),
            values="whole number from 1 to 65535",
            doc="The daemon's port.",
            default=f"`{NSCA_PORT}`",
        ),
        "host": _HOST,
        "service": _SERVICE,
        "config": SyncField(
            reader=_read_path,
            values="absolute path on the workers",
            doc="The file of settings for `send_nsca`, with the daemon's password.",
            default="that of `send_nsca`",
        ),
    },
    "pushgateway": {
        "kind": _KIND,
        "url": SyncField(
            reader=_read_url,
            values="URL; `https://` where there is a login, unless it is this machine",
            doc="Where the Pushgateway is.",
            default=None,
        ),
        "job": SyncField(
            reader=_read_job, values="text", doc="The label `job` of its metrics.", default="`env_sync`"
        ),
        "connection": SyncField(
            reader=_read_connection,
            values="id of an Airflow connection",
            doc="Its login and password, where it asks for them.",
            default="no login",
        ),
        "ca": _CA,
    },
}
"""The fields of each kind of monitor."""


def read_monitors(
    own: Sequence[YamlFile], common: Sequence[YamlFile]
) -> tuple[tuple[Monitor, ...], tuple[Fault, ...]]:
    """Read the monitors of an environment, and what is wrong with them.

    Those of its own files add up and come before the common ones, as any setting does. A monitor that is
    wrong takes away itself alone.
    """
    faults: list[Fault] = []
    found: list[Monitor] = []
    entries = _entries(own)
    # What is wrong in common.yaml is told even where it is not used: somebody else uses it.
    for entry in _entries(common):
        read = _read_list(entry, faults)
        if not entries:
            found += read
    for entry in entries:
        found += _read_list(entry, faults)
    return tuple(dict.fromkeys(found)), tuple(faults)


def _entries(files: Iterable[YamlFile]) -> list[Entry]:
    return [
        entry
        for file in files
        if file.root is not None
        for entry in (*file.root.entries.values(), *file.root.repeated)
        if entry.key == MONITORS
    ]


def _read_list(entry: Entry, faults: list[Fault]) -> list[Monitor]:
    if not isinstance(entry.value, Items):
        faults.append(
            Fault(entry.place, f"`{MONITORS}` is {shown(entry.value)}", "write a list of monitors, or `[]`")
        )
        return []
    read = [_read_monitor(node, faults) for node in entry.value.items]
    return [monitor for monitor in read if monitor is not None]


def _read_monitor(node: Node, faults: list[Fault]) -> Monitor | None:
    if not isinstance(node, Fields):
        right = f"write a mapping with `kind` ({', '.join(KINDS)}) and its fields"
        faults.append(Fault(node.place, f"a monitor is {shown(node)}", right))
        return None
    if (written := node.entries.get("kind")) is None:
        faults.append(Fault(node.place, "`kind` is missing", f"add it: {_KIND.values}"))
        return None
    try:
        kind = _KIND.reader(written.value)
    except WrongValue as error:
        faults.append(Fault(written.place, f"`kind` is {shown(written.value)}", str(error)))
        return None
    if (url := node.entries.get("url")) is not None and (secret := _secret_in(url)) is not None:
        faults.append(secret)
        return None
    read = read_fields(node.place, node, MONITOR_FIELDS[kind])
    if read.faults:
        faults += read.faults
        return None
    values = {name: value for name, value in read.values.items() if name != "kind"}
    monitor = KINDS[kind](**values)
    if (open_password := _password_in_the_open(monitor)) is not None:
        faults.append(Fault(read.places["url"], f"`url` is `{shorten(values['url'])}`", open_password))
        return None
    return monitor


def _secret_in(url: Entry) -> Fault | None:
    """The fault of a URL with a user in it, which must not be repeated."""
    try:
        text = read_text(url.value)
    except WrongValue:
        # Said with the other fields.
        return None
    if "@" not in text:
        return None
    return Fault(
        url.place, "`url` holds a user or password", "write them into an Airflow connection, `connection`"
    )


def _password_in_the_open(monitor: Monitor) -> str | None:
    """What is right where a password would go over the network as it is."""
    if not isinstance(monitor, Icinga) and getattr(monitor, "connection", None) is None:
        return None
    parts = urlsplit(getattr(monitor, "url", ""))
    if parts.scheme == "https" or parts.hostname in LOOPBACK:
        return None
    return "write `https://`: the password would go over the network as it is"
