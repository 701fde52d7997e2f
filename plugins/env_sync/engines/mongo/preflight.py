"""What would stop syncs, found before the night: the server, the role's rights, live, the transformations."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen
from pymongo.errors import OperationFailure

from env_sync.core.errors import NameRefused, TransformationFailed
from env_sync.domain.finding import Finding, note, problem
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.sync import Action
from env_sync.engines.base.accepted_readers import UNSEEN, accepts
from env_sync.engines.base.contract import DumpHead, Preflight
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.base.readers import Readers, listed
from env_sync.engines.dump_format import describe_format
from env_sync.engines.mongo.access.readers import (
    UNPROFILED,
    accepting,
    advice_for,
    open_to_anybody,
    other_readers,
    other_writers,
    profiled,
    take_away,
    unseen,
)
from env_sync.engines.mongo.definitions import Kind, described, shown
from env_sync.engines.mongo.descriptor import MAGIC
from env_sync.engines.mongo.errors import REFUSED, describe
from env_sync.engines.mongo.incoming import check_ours
from env_sync.engines.mongo.lease_database import JOURNAL, LEASES, oddities, refusal
from env_sync.engines.mongo.names import OURS, STAGED, Copies
from env_sync.engines.mongo.session import Server, Session
from env_sync.engines.mongo.transformation import read_transformations, unknown_collections

CONNECT_TIMEOUT = 5.0
"""Seconds that a server is given to answer: it is only looked at, and there may be many."""


@frozen(kw_only=True)
class Looking:
    """What a look at one sync works with."""

    server: Server
    action: Action
    copies: Copies
    transformations: Sequence[Path]
    postprocess: Sequence[Postprocess]
    excluded: tuple[str, ...]
    head: DumpHead | None
    guards: bool
    """Whether a pull sanitises, and stops where somebody else could read incoming."""
    must_be_seen: bool
    """Whether a pull stops where the server does not tell who could read incoming."""

    @property
    def where(self) -> str:
        """Live, and where it is."""
        return f"{self.copies.live} on {self.server}"


def look_at_server(server: Server, action: Action) -> Iterator[Finding]:
    """Look at the server as whoever pushes from it or pulls into it. Raises EnvSyncError."""
    with server.session() as session, server.errors("Looking around"):
        hello = session.hello()
        if not hello.get("isWritablePrimary"):
            yield problem(
                f"{server} is no primary, and nothing can be written to it.",
                f"Name the primary, or leave `direct_connection` out of connection "
                f"{server.connection.connection_id}.",
            )
        if action is Action.PUSH:
            yield from _secondaries(server, session)
            if not server.features.snapshot or not hello.get("setName"):
                yield note(
                    f"{server} cannot be read as of one moment: each collection is dumped as it is when it "
                    "is read, and the manifest says so."
                )
        yield from _may_use_leases(server, session)


def _secondaries(server: Server, session: Session) -> Iterator[Finding]:
    if server.read_preference != "primary" and not session.secondaries():
        finding = problem if server.read_preference == "secondary" else note
        yield finding(
            f"The replica set of {server} has no secondary that answers, and connection "
            f"{server.connection.connection_id} wants dumps from one.",
            "Look at the replica set, or take `read_preference` out of the connection's extra.",
        )


def _may_use_leases(server: Server, session: Session) -> Iterator[Finding]:
    for collection in (LEASES, JOURNAL):
        try:
            session.find_one(server.lease_database, collection, "none")
        except OperationFailure as error:
            if error.code not in REFUSED:
                raise
            yield problem(
                f"{server.connection.login} may not read database {server.lease_database} on {server}, "
                "where Env Sync keeps who may touch which database.",
                f"Give it the role readWrite on {server.lease_database}.",
            )
            return
    if found := tuple(oddities(session)):
        yield problem(refusal(session, found))
    for each in other_writers(session):
        yield problem(
            f"{each} could change who may touch which database, in {server.lease_database} on {server}.",
            take_away(server),
        )


def look_at_sync(looking: Looking) -> Preflight:
    """Look at live, at what an earlier sync left, and at the transformations. Raises EnvSyncError."""
    findings: list[Finding] = []
    said = ""
    with looking.server.session() as session, looking.server.errors(f"Looking at {looking.copies.live}"):
        listed = session.collections(looking.copies.live)
        ours = [str(each["name"]) for each in listed if str(each["name"]).startswith(OURS)]
        live = [described(each, ()) for each in listed if not str(each["name"]).startswith((OURS, "system."))]
        size = _size(session, looking.copies.live) if live else None
        names = {each.name for each in live if each.kind is Kind.COLLECTION}
        if looking.action is Action.PUSH:
            findings += _push(looking, {each.name for each in live})
        else:
            findings += _head(looking)
            findings += _transformations(looking, names)
            if looking.guards:
                # What a dump brings is known when it is restored; until then it is taken for what live has.
                readers = other_readers(
                    session,
                    looking.copies.alone.database,
                    looking.copies.live,
                    {each.name for each in live} or None,
                )
                findings += _readers(looking, session, readers)
                said = readers.said
            if looking.transformations or looking.postprocess:
                findings += _may_look_into_incoming(looking, session)
            findings += _in_the_way(looking, session)
            findings += _leftovers(looking, session, ours)
            if not live:
                findings.append(note(f"There is no database {looking.where}: the first pull makes it."))
            findings += [
                note(
                    f"Time series {shown(each.name)} of {looking.where} is emptied and filled again by a "
                    "pull."
                )
                for each in live
                if each.kind is Kind.TIMESERIES
            ]
    return Preflight(findings=tuple(findings), live_size=size, said=said)


def _size(session: Session, database: str) -> int | None:
    try:
        return int(session.command(database, {"dbStats": 1})["dataSize"])
    except OperationFailure:
        # A look does not fail for what is only worth knowing.
        return None


def _push(looking: Looking, names: set[str]) -> Iterator[Finding]:
    if not names:
        yield problem(f"There is no database {looking.where}, or nothing in it, so there is nothing to push.")
        return
    for pattern in looking.excluded:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            yield problem(
                f"{excludes_nothing(shown(pattern), looking.where)}.",
                "Correct it. Names are case sensitive; `*` and `?` stand for any text and any character.",
            )


def _head(looking: Looking) -> Iterator[Finding]:
    if looking.head is None:
        return
    what = describe_format(looking.head.first)
    if looking.head.first.startswith(MAGIC) or what.startswith(("an archive of mongodump", "a tar archive")):
        return
    yield problem(
        f"{looking.head.key} is no dump of MongoDB{f', but {what}' if what else ''}.",
        "Push it again, or take away what was put there.",
    )


def _transformations(looking: Looking, names: set[str]) -> Iterator[Finding]:
    try:
        read = read_transformations(looking.transformations)
    except TransformationFailed as failed:
        yield problem(str(failed))
        return
    if not names:
        if read:
            yield note("The transformations could not be compared with live: there is none.")
        return
    for command, name in unknown_collections(read, names):
        yield problem(
            f"{command}: there is no collection {shown(name)} in {looking.where}.",
            "Correct the transformation, unless the next dump brings that collection.",
        )


def _readers(looking: Looking, session: Session, readers: Readers) -> Iterator[Finding]:
    database = looking.copies.alone.database
    for warning in open_to_anybody(looking.server, database, readers):
        yield note(f"{warning}.", "Give the server access control, and the application a role of its own.")
    on = profiled(session, database)
    for each in unseen(looking.server, database, readers, on):
        if looking.must_be_seen and not accepts(looking.server.connection, UNSEEN):
            yield problem(f"{each.what}, so a pull refuses to start.", accepting(looking.server, each.give))
        else:
            yield note(f"{each.what}, so each pull warns of it.", f"{each.give}.")
    if readers.refused:
        yield problem(
            f"{listed(readers.refused, len(readers.refused))} could read {database} on {looking.server}, "
            "where a dump is before it is sanitised, so a pull refuses to start.",
            advice_for(looking.server, readers),
        )
    yield from readers.findings(looking.server.connection)
    if on:
        yield problem(f"{on}, so a pull refuses to start.", UNPROFILED.format(database))
    if not looking.server.features.profiler:
        yield note(
            f"Whether a profiler of {looking.server} logs slow operations with their values cannot be asked.",
            "See that its parameter group has profiler disabled, or who reads those logs.",
        )


def _may_look_into_incoming(looking: Looking, session: Session) -> Iterator[Finding]:
    database = looking.copies.alone.database
    try:
        session.collections(database)
    except OperationFailure as error:
        yield problem(
            f"{looking.server.connection.login} may not look into {database} on {looking.server} "
            f"({describe(error)}).",
            f"Give it the roles readWrite and dbAdmin on {database}.",
        )


def _in_the_way(looking: Looking, session: Session) -> Iterator[Finding]:
    try:
        check_ours(session, looking.copies)
    except NameRefused as refused:
        yield problem(str(refused))
    except OperationFailure as error:
        if error.code not in REFUSED:
            raise


def _leftovers(looking: Looking, session: Session, ours: Sequence[str]) -> Iterator[Finding]:
    if any(name.startswith(STAGED) for name in ours):
        yield note(f"An earlier pull left its incoming in {looking.where}; the next one removes it.")
    if session.find_one(looking.server.lease_database, JOURNAL, looking.copies.live) is not None:
        yield note(
            f"A promotion of {looking.where} did not end; the next sync of it, or the report of its group, "
            "brings it to its end."
        )
