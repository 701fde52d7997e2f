"""What must hold for one sync by itself, beyond each of its fields being right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set

from attrs import frozen

from env_sync.config.buckets import is_dump_bucket, own_bucket
from env_sync.config.sync_fields import NO_POSTPROCESS, NO_TRANSFORMATION, SAY_NONE, SAY_NONE_OF_PUSH
from env_sync.config.values import BUCKET_NAME, ONE_BUCKET
from env_sync.config.yaml_nodes import Fault, shorten
from env_sync.domain.database_name import Use, use_of
from env_sync.domain.duration import format_duration
from env_sync.domain.engine_descriptor import EngineDescriptor
from env_sync.domain.settings import Settings
from env_sync.domain.sync import Action, AnySync, BucketSync, Ensure, Place, Sync
from env_sync.engines.registry import DESCRIPTORS, offered

GROUP_NAME = re.compile(r"[A-Za-z0-9_-]{1,180}")
"""What Airflow takes as the id of a task group, with room for a suffix below its 250 characters."""
RESERVED_NAMES = (
    "config_problems",
    "request",
    "selection",
    "night",
    "replacing_begins",
    "replacing_ends",
)
"""The tasks that stand beside the groups of syncs, be it in some DAGs only."""
EVERY_SYNC = "all"
"""What a run says in `only` to mean each of them."""
WAITING = ("wait_for_dump", "wait_for_dump_then")
"""The options that only a pull heeds."""
OF_COPIES = ("source_hostname", "copy_way")
"""The fields that only a copy has."""
INDICES = ("indices", "excluded_indices")
"""The fields that only a cluster has."""
SANITISED_BY = "transformation_sql_filename"
"""The field that says what sanitises, or that nothing has to be."""
PUSH_SANITISED_BY = "pre_dump_transformation_sql_filename"
"""The same of a push."""
SANITISING = frozenset({SANITISED_BY, PUSH_SANITISED_BY, "reason"})
"""The fields by which it is decided whether what comes down is sanitised."""


@frozen(kw_only=True)
class Checked:
    """A sync to check, with the settings around it and the line of each of its fields."""

    sync: Sync
    settings: Settings
    places: Mapping[str, Place]

    @property
    def engine(self) -> EngineDescriptor:
        """What is known of the sync's engine; its `dbms` was read."""
        return DESCRIPTORS[self.sync.dbms]

    def fault(self, field: str, read: str, right: str) -> Fault:
        """Return a fault at a field, or at the sync's name where the field is not written."""
        return Fault(self.places.get(field, self.sync.place), read, right)


def broken_rules(checked: Checked, unread: Set[str]) -> tuple[Fault, ...]:
    """Return every rule that the sync breaks.

    `unread` are the fields that could not be read: rules that depend on one of them are left out.
    """
    return tuple(fault for fields, rule in RULES if not fields & unread for fault in rule(checked))


def broken_bucket_rules(
    sync: BucketSync,
    settings: Settings,
    places: Mapping[str, Place],
    unread: Set[str],
    others: Set[str],
    dump_buckets: Set[str],
) -> tuple[Fault, ...]:
    """Return every rule that the bucket sync breaks; `unread` are the fields that could not be read.

    `others` are the names of other environments, `dump_buckets` the buckets that syncs of databases name.
    """
    faults = [
        *bad_name(sync.name, sync.place),
        *_waiting_where_nothing_waits(places, "a bucket sync"),
        *([] if SANITISING & unread or settings.protected else _unsanitised(sync, settings, places)),
    ]
    buckets = {"source_bucket": sync.source_bucket, "destination_bucket": sync.destination_bucket}
    if sync.source_bucket == sync.destination_bucket and not unread & buckets.keys():
        faults.append(
            Fault(
                places["destination_bucket"],
                f"`destination_bucket` is the source as well, `{sync.source_bucket}`",
                "write two different buckets",
            )
        )
    if settings.protected:
        faults.append(
            Fault(
                sync.place,
                f"a bucket sync into `{sync.environment}`, a protected environment",
                "remove it: nothing is mirrored into a protected environment",
            )
        )
    if "destination_bucket" not in unread and (owner := _owner(sync, others)) is not None:
        faults.append(
            Fault(
                places["destination_bucket"],
                f"`destination_bucket` is `{sync.destination_bucket}`, by its name of `{owner}`",
                f"write a bucket of `{sync.environment}`: a bucket sync comes down into its own environment",
            )
        )
    for field, bucket in buckets.items():
        # Mirroring dumps would carry them down as they are, past every transformation.
        if field not in unread and (bucket in dump_buckets or is_dump_bucket(settings, bucket)):
            faults.append(
                Fault(
                    places[field],
                    f"`{field}` is `{bucket}`, a bucket of dumps",
                    "dumps are never mirrored: push and pull the databases",
                )
            )
    return tuple(faults)


def _owner(sync: BucketSync, others: Set[str]) -> str | None:
    """The other environment whose name is in the destination's; None where this one's is, or none is."""

    def named(environment: str) -> bool:
        word = rf"(?<![a-z0-9]){re.escape(environment.lower())}(?![a-z0-9])"
        return re.search(word, sync.destination_bucket.lower()) is not None

    if named(sync.environment):
        return None
    return next((name for name in sorted(others) if named(name)), None)


def is_recovery(ensure: Ensure, action: Action, url: str, environment: str, settings: Settings) -> bool:
    """Tell whether this is a disabled pull into a protected environment from its own bucket."""
    return (
        settings.protected
        and ensure is Ensure.DISABLED
        and action is Action.PULL
        and url == own_bucket(settings, environment)
    )


def bad_name(name: str, place: Place) -> Iterator[Fault]:
    """Yield a fault if the name cannot name a task group."""
    if GROUP_NAME.fullmatch(name) is None:
        yield Fault(
            place,
            f"the name `{shorten(name)}` cannot name a task group",
            "use letters, digits, `_` and `-` only, at most 180",
        )
    elif name in RESERVED_NAMES:
        yield Fault(place, f"the name `{name}` is that of a task of Env Sync", "choose another name")
    elif name == EVERY_SYNC:
        yield Fault(place, f"the name `{name}` means every sync in a run by hand", "choose another name")


def _name(checked: Checked) -> Iterator[Fault]:
    return bad_name(checked.sync.name, checked.sync.place)


def _store(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    stores = checked.engine.capabilities.storagebackends
    if sync.storagebackend not in stores:
        yield checked.fault(
            "storagebackend",
            f"`storagebackend` is `{sync.storagebackend}` for `{sync.dbms}`",
            f"write `storagebackend: {' or '.join(sorted(stores))}`",
        )
    elif sync.storagebackend == "s3" and "path" not in checked.places:
        yield Fault(sync.place, "`path` is missing", "add it: the folder of the bucket for these dumps")


def _bucket(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    if sync.storagebackend == "s3" and BUCKET_NAME.fullmatch(sync.url) is None:
        yield checked.fault("url", f"`url` is `{shorten(sync.url)}`", ONE_BUCKET)


def _protected(checked: Checked) -> Iterator[Fault]:
    sync, settings = checked.sync, checked.settings
    if not sync.writes or sync.recovery:
        return
    own = own_bucket(settings, sync.environment)
    if settings.protected:
        kind = f"a {sync.action} from `{sync.url}`"
        if sync.ensure is Ensure.PRESENT:
            kind = f"a scheduled {sync.action}"
        yield checked.fault(
            "ensure" if sync.ensure is Ensure.PRESENT else "url",
            f"{kind} into `{sync.environment}`, a protected environment",
            f"only a recovery sync may write there: `ensure: disabled` and `url: {own}`",
        )
    elif sync.url == own and sync.storagebackend == "s3":
        yield checked.fault(
            "url",
            f"a pull from `{own}`, the bucket of `{sync.environment}` itself",
            "write the bucket of the environment that the data comes from; only a disabled pull into a "
            "protected environment, to recover it, reads its own bucket",
        )


def _recovery(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    for field in ("transformation_sql_filename", "pre_dump_transformation_sql_filename"):
        if sync.recovery and field in checked.places and _transformation(sync, field):
            yield checked.fault(
                field, f"`{field}` on a recovery sync", "remove it: what is recovered must be as it was"
            )


def _push(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    own = own_bucket(checked.settings, sync.environment)
    if sync.action is Action.PUSH and sync.storagebackend == "s3" and sync.url != own:
        yield checked.fault(
            "url",
            f"a push to `{sync.url}`, which is not the bucket of `{sync.environment}`",
            f"write `url: {own}`, or set `govuk_env_sync::bucket` if that is not its name",
        )


def _transformations(checked: Checked) -> Iterator[Fault]:
    # A transformation that is never run would let a sync look sanitised that is not.
    sync = checked.sync
    wrong, instead = (
        ("transformation_sql_filename", "pre_dump_transformation_sql_filename")
        if sync.action is Action.PUSH
        else ("pre_dump_transformation_sql_filename", "transformation_sql_filename")
    )
    if _transformation(sync, wrong) and not sync.recovery:
        yield checked.fault(wrong, f"`{wrong}` on a {sync.action}, which never runs it", f"write `{instead}`")
    elif _transformation(sync, instead) and not checked.engine.capabilities.transformation:
        yield checked.fault(
            instead,
            f"`{instead}` for `{sync.dbms}`, which has no transformations",
            f"remove it; only {', '.join(_transforming())} run them",
        )


def _sanitised(checked: Checked) -> Iterator[Fault]:
    sync, places = checked.sync, checked.places
    if sync.action is Action.PUSH:
        if "reason" in places and not sync.says_none:
            yield checked.fault(
                "reason",
                f"`reason` on a push without `{PUSH_SANITISED_BY}: {NO_TRANSFORMATION}`",
                f"remove it, or, where its dumps need no transformation any more, write {SAY_NONE_OF_PUSH}",
            )
    elif sync.recovery:
        if "reason" in places:
            yield checked.fault(
                "reason", "`reason` on a recovery sync", "remove it: only what comes down has one"
            )
    elif not checked.settings.protected:
        yield from _unsanitised(sync, checked.settings, places)


def _unsanitised(sync: AnySync, settings: Settings, places: Mapping[str, Place]) -> Iterator[Fault]:
    """Faults where nothing sanitises what comes down, and nobody says that nothing has to."""
    bare = "reason" in places and not sync.says_none
    if bare and "postprocess" not in places:
        yield Fault(
            places["reason"],
            f"`reason` without `{SANITISED_BY}: {NO_TRANSFORMATION}` or `postprocess: {NO_POSTPROCESS}`",
            f"write {SAY_NONE}, or remove it",
        )
        return
    if not settings.must_sanitise or sync.sanitises or sync.none_said:
        return
    place = places.get(SANITISED_BY, sync.place)
    required = f"`{sync.environment}`, where `govuk_env_sync::sanitise` is `{settings.sanitise}`"
    if sync.says_none:
        yield Fault(
            place,
            f"`{SANITISED_BY}: {NO_TRANSFORMATION}` without a `reason` in {required}",
            "write `reason: <why nothing has to be sanitised>` beside it",
        )
        return
    idle = [f"`{one.rule}`" for one in sync.postprocess] if isinstance(sync, Sync) else []
    besides = f" ({', '.join(idle)} does not sanitise)" if idle else ""
    transforms = isinstance(sync, Sync) and sync.dbms in _transforming()
    write = f"write `{SANITISED_BY}: <file>`, or, where" if transforms else "where"
    yield Fault(
        place,
        f"nothing sanitises what comes down into `{shorten(sync.database)}`{besides} in {required}",
        f"{write} nothing has to be sanitised, {SAY_NONE}",
    )


def _in_place(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    if not sync.pre_dump_in_place:
        return
    if sync.pre_dump_transformation is None:
        # Where it stands on a pull, this is all that there is to say of it as well.
        yield checked.fault(
            "pre_dump_in_place",
            "`pre_dump_in_place` without `pre_dump_transformation_sql_filename`",
            "write that as well, or remove it",
        )
    elif checked.settings.protected:
        yield checked.fault(
            "pre_dump_in_place",
            f"`pre_dump_in_place` in `{sync.environment}`, a protected environment, where live would change",
            "remove it: the SQL then runs on a copy",
        )


def _indices(checked: Checked) -> Iterator[Fault]:
    if checked.engine.capabilities.indices:
        return
    those = " and ".join(f"`{name}`" for name, offers in offered().items() if offers.indices)
    for field in INDICES:
        if field in checked.places:
            yield checked.fault(
                field, f"`{field}` for `{checked.sync.dbms}`", f"remove it: only {those} has indices"
            )


def _copy(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    if sync.action is Action.COPY:
        if sync.source_hostname is None:
            yield checked.fault(
                "source_hostname",
                "`source_hostname` is missing",
                "add it: the host of the cluster to copy from",
            )
        elif sync.source_hostname == sync.server:
            yield checked.fault(
                "source_hostname",
                f"`source_hostname` is `{shorten(sync.source_hostname)}`, the target itself",
                "write the host of another cluster",
            )
        elif Action.COPY in checked.engine.capabilities.actions:
            # Its snapshot is called like it.
            yield from _refused_names(checked, "source_hostname", sync.source_hostname, Use.DUMPED)
        return
    for field in OF_COPIES:
        if field in checked.places:
            yield checked.fault(field, f"`{field}` on a {sync.action}", "remove it: only a copy has a source")


def _excluded_tables(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    if sync.excluded_tables and checked.engine.capabilities.indices:
        yield checked.fault(
            "excluded_tables", f"`excluded_tables` for `{sync.dbms}`", "write `excluded_indices`"
        )
    elif sync.action is Action.PULL and sync.excluded_tables:
        yield checked.fault(
            "excluded_tables",
            "`excluded_tables` on a pull, which restores whole dumps",
            "write it on the push that makes the dump",
        )


def _waiting(checked: Checked) -> Iterator[Fault]:
    sync, options = checked.sync, checked.sync.options
    if not sync.pulls_dump:
        what = f"a {sync.action}{' of a cluster' if sync.is_cluster else ''}"
        yield from _waiting_where_nothing_waits(checked.places, what)
        return
    if options.wait_for_dump is None:
        if "wait_for_dump_then" in checked.places:
            yield checked.fault(
                "wait_for_dump_then",
                "`wait_for_dump_then` on a pull that does not wait",
                "write `wait_for_dump` as well, or remove it",
            )
    elif options.wait_for_dump >= options.start_deadline:
        yield checked.fault(
            "wait_for_dump" if "wait_for_dump" in checked.places else "start_deadline",
            f"`wait_for_dump` is {format_duration(options.wait_for_dump)} and `start_deadline` "
            f"{format_duration(options.start_deadline)}: at the wait's end it would be too late to start",
            "make `wait_for_dump` shorter than `start_deadline`, or that longer",
        )


def _waiting_where_nothing_waits(places: Mapping[str, Place], what: str) -> Iterator[Fault]:
    for field in WAITING:
        if field in places:
            yield Fault(
                places[field], f"`{field}` on {what}", "remove it: only a pull of a dump waits for it"
            )


def _database(checked: Checked) -> Iterator[Fault]:
    sync = checked.sync
    yield from _refused_names(checked, "database", sync.database, use_of(sync))


def _refused_names(checked: Checked, field: str, name: str, use: Use) -> Iterator[Fault]:
    """Faults for what the engine itself would refuse at night: it asks the same function."""
    for refusal in checked.engine.refusals(name, use):
        size = f", {refusal.size} long" if refusal.size else ""
        yield checked.fault(field, f"`{field}` is `{shorten(name)}`{size}", refusal.right)


def _transforming() -> tuple[str, ...]:
    """The engines that have transformations: of SQL, of database commands, or of statements by query."""
    return tuple(name for name, offers in offered().items() if offers.transformation)


def _transformation(sync: Sync, field: str) -> bool:
    return (
        sync.transformation if field == "transformation_sql_filename" else sync.pre_dump_transformation
    ) is not None


RULES: tuple[tuple[frozenset[str], Callable[[Checked], Iterator[Fault]]], ...] = (
    (frozenset(), _name),
    (frozenset({"dbms", "storagebackend"}), _store),
    (frozenset({"url", "storagebackend"}), _bucket),
    (frozenset({"action", "url", "ensure"}), _protected),
    (frozenset({"action", "url", "ensure"}), _recovery),
    (frozenset({"action", "url", "storagebackend"}), _push),
    (frozenset({"action", "url", "ensure", "dbms"}), _transformations),
    (frozenset({"action", "url", "ensure", "dbms", "database", "postprocess", *SANITISING}), _sanitised),
    (frozenset({"pre_dump_in_place"}), _in_place),
    (frozenset({"action", "dbms"}), _excluded_tables),
    (frozenset({"dbms"}), _indices),
    (frozenset({"action", "dbms", "source_hostname", "database", "database_hostname"}), _copy),
    (frozenset({"action", "storagebackend", *WAITING, "start_deadline"}), _waiting),
    (frozenset({"action", "dbms", "database"}), _database),
)
"""Each rule with the fields that it depends on."""
