"""Swapping two copies: all tables change their databases in one RENAME, and what cannot move is made anew.

A journal in the lease database says what was begun. Whether the RENAME took place is told by the copies
themselves: a token stands in the stamp of the copy that is to be live, and moves with it. So whoever has the
lease next knows whether to go on or to put back.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Callable

import pymysql
from attrs import evolve, frozen

from env_sync.core.errors import PromoteFailed
from env_sync.core.serialization import from_plain, to_plain
from env_sync.core.shown_names import shown_name
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.history import Promoted, Returned
from env_sync.engines.base.promotion import Swapped
from env_sync.engines.mysql.client import LOCKED, REFUSED, code_of, described, server_is_gone
from env_sync.engines.mysql.definers import cannot_be_made_again, decide, drop_ours, some
from env_sync.engines.mysql.identifiers import qualified, quoted
from env_sync.engines.mysql.metadata import (
    Told,
    WasLive,
    forget,
    make_table,
    read_token,
    read_told,
    write_objects,
    write_token,
    write_told,
)
from env_sync.engines.mysql.names import Copies, copies_of
from env_sync.engines.mysql.objects import Kind, Object, drop_object, make_all, read_objects_of
from env_sync.engines.mysql.renaming import (
    Mixed,
    Route,
    Tables,
    both_tables,
    complete,
    moves,
    rename_text,
    tables_of,
    take_back,
)
from env_sync.engines.mysql.session import Server, Session, clock, drop_database, exists

LOCK_WAIT = 1
"""Seconds for which a RENAME may wait for others, and so make those that come after it wait as well."""
BETWEEN_TRIES = 1.0
"""Seconds in which those go on before it is tried again."""


@frozen(kw_only=True)
class Plan:
    """A swap, as the journal has it. `other` is to be live; what live is goes to `previous`."""

    holder: Holder
    environment: str
    live: str
    other: str
    previous: str
    token: str
    first: bool
    began: dt.datetime
    undo: bool
    old: tuple[Object, ...]
    """What live has beside its tables."""
    new: tuple[Object, ...]
    """What it is to have."""
    tables: Tables | None = None
    """What the RENAME moves; None in the journals of versions that did not write it down."""


def objects_of(server: Server, database: str) -> tuple[Object, ...]:
    """The views, triggers, routines and events of a database."""
    with server.session(database) as session:
        return read_objects_of(session, database)


def begin(session: Session, plan: Plan) -> None:
    """Write down what is begun; live is untouched."""
    write_token(session, plan.other, plan.token)
    _write_down(session, plan)


def _write_down(session: Session, plan: Plan) -> None:
    session.execute(
        "INSERT INTO journal (`database`, promotion) VALUES (%s, %s) ON DUPLICATE KEY UPDATE promotion = "
        "VALUES(promotion)",
        [plan.live, json.dumps(to_plain(plan))],
    )


def rename(
    session: Session, server: Server, plan: Plan, wait: dt.timedelta, check: Callable[[], None]
) -> float:
    """Move all tables in one statement, trying until `wait` is over; gives the seconds that it took.

    `check` is called before each try. Raises PromoteFailed, MySQLError; live has its triggers again then,
    unless the server went away.
    """
    deadline = time.monotonic() + wait.total_seconds()
    triggers = [one for one in plan.old if one.kind is Kind.TRIGGER]
    lost = cannot_be_made_again(session, triggers)
    session.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}, foreign_key_checks = 0")
    try:
        while True:
            check()
            # The server looks at every table for it: not while live has no triggers.
            plan = _with_tables(session, plan)
            statement = _statement(plan)
            began = time.monotonic()
            try:
                if lost:
                    _wait_until_free(session, plan.live)
                for one in triggers:
                    drop_object(session, plan.live, one)
                session.execute(statement)
            except pymysql.err.MySQLError as error:
                if server_is_gone(error):
                    raise
                with session.uninterrupted():
                    _give_triggers_back(server, plan)
                if code_of(error) not in LOCKED:
                    raise
                if time.monotonic() > deadline:
                    raise PromoteFailed(
                        f"{plan.live} on {server} could not be swapped within {wait.total_seconds():.0f} s "
                        "(promote_wait): a transaction holds a lock on one of its tables "
                        f"({described(error)}). Find it in information_schema.INNODB_TRX and end it, or run "
                        "the step again later. Live is as it was."
                    ) from None
                time.sleep(BETWEEN_TRIES)
            else:
                return time.monotonic() - began
    finally:
        if session.usable:
            with session.uninterrupted():
                session.execute("SET SESSION lock_wait_timeout = 60, foreign_key_checks = 1")


def _wait_until_free(session: Session, live: str) -> None:
    """Wait for the locks that a RENAME takes, before triggers are dropped that could not be given back.

    So what most often stops it costs live nothing. Raises MySQLError where somebody else has one.
    """
    try:
        session.execute(
            "LOCK TABLES " + ", ".join(f"{qualified(live, name)} WRITE" for name in tables_of(session, live))
        )
    except pymysql.err.MySQLError as error:
        # A trigger may name a table that is not there, or the account may not lock: the RENAME will tell.
        if code_of(error) in LOCKED or server_is_gone(error):
            raise
    finally:
        if session.usable:
            with session.uninterrupted():
                session.execute("UNLOCK TABLES")


def renamed(session: Session, plan: Plan) -> bool:
    """Whether the RENAME of this plan took place."""
    return exists(session, plan.live) and read_token(session, plan.live) == plan.token


def finish(session: Session, server: Server, plan: Plan, seconds: float | None) -> Swapped:
    """After the RENAME: give live what stands beside its tables, tell both copies what they are now.

    Can be done again. `seconds` is how long the RENAME took; None where nobody knows, after a kill.
    """
    began = time.monotonic()
    warnings = _make_new(server, plan)
    now = clock(session)
    took = (now - plan.began).total_seconds() if seconds is None else seconds + time.monotonic() - began
    live = read_told(session, plan.live)
    before = Told() if plan.first else read_told(session, plan.previous)
    if plan.undo:
        returned = Returned(holder=plan.holder, at=now, unavailable=took)
        write_told(session, plan.live, evolve(live, was_live=None, returned=returned))
    else:
        promoted = Promoted(at=now, unavailable=0.0 if plan.first else took, first=plan.first)
        write_told(session, plan.live, evolve(live, promoted=promoted))
    if not plan.first:
        make_table(session, plan.previous)
        write_objects(session, plan.previous, plan.old)
        was = WasLive(database=plan.live, token=plan.token, environment=plan.environment, until=now)
        write_told(session, plan.previous, evolve(before, returned=None, was_live=was))
        session.execute(
            "INSERT INTO was_live (`database`, token) VALUES (%s, %s) ON DUPLICATE KEY UPDATE token = "
            "VALUES(token)",
            [plan.live, plan.token],
        )
    with session.transaction():
        forget(session, plan.live)
        session.execute("DELETE FROM journal WHERE `database` = %s", [plan.live])
    return Swapped(unavailable=took, warnings=warnings)


def recover(session: Session, server: Server, copies: Copies, log: logging.Logger) -> str:
    """End what the journal says was begun and not ended: go on, or put back; gives what was done, or "".

    Raises PromoteFailed where the journal cannot be read, MySQLError.
    """
    rows = session.execute("SELECT promotion FROM journal WHERE `database` = %s", [copies.live])
    if not rows:
        return ""
    try:
        plan = from_plain(Plan, json.loads(rows[0][0]))
    except ValueError:
        raise PromoteFailed(
            f"A swap of {copies.live} on {server} did not end, and its journal, in table journal of database "
            f"{server.lease_database}, cannot be read: another version of Env Sync wrote it. Bring it to its "
            "end with that version; live has all tables of the old data or all of the new, and may lack "
            "views, triggers, routines and events."
        ) from None
    if renamed(session, plan):
        _whole(server, plan, lambda route: complete(session, route))
        swapped = finish(session, server, plan, None)
        for warning in swapped.warnings:
            log.warning("%s", warning)
        return (
            f"{plan.live} was swapped by a step that was ended before its views, triggers and routines were "
            "made; they are there now"
        )
    crashed = _whole(server, plan, lambda route: take_back(session, route))
    if plan.first and exists(session, plan.live) and not tables_of(session, plan.live):
        drop_database(session, plan.live)
    if not plan.first:
        _give_triggers_back(server, plan)
    session.execute("DELETE FROM journal WHERE `database` = %s", [copies.live])
    said = "tables that a crash of the server had moved are back, and " if crashed else ""
    return f"{plan.live} was about to be swapped by a step that was ended; {said}it is as it was"


def check_no_swap(session: Session, server: Server, live: str) -> None:
    """For an account that may not recover. Raises PromoteFailed where a swap of live did not end.

    As far as the account may see that. Raises MySQLError.
    """
    # To read a view would run what somebody else may have put there.
    plain = session.execute(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'journal' "
        "AND TABLE_TYPE = 'BASE TABLE'",
        [server.lease_database],
    )
    journal = qualified(server.lease_database, "journal").replace("%", "%%")
    try:
        begun = plain and session.execute(f"SELECT 1 FROM {journal} WHERE `database` = %s", [live])
    except pymysql.err.MySQLError as error:
        if code_of(error) in REFUSED:
            return
        raise
    if begun:
        raise PromoteFailed(
            f"A swap of {live} on {server} was begun and did not end, so live may lack tables or triggers, "
            f"and account {server.connection.login} may not end it: nothing was dumped. The next step or "
            f"report of a pull into {live} ends it; run the group again then."
        )


def _whole(server: Server, plan: Plan, put_right: Callable[[Route], bool]) -> bool:
    """Put right what a RENAME that was cut short moved; False where it was not.

    Raises PromoteFailed, MySQLError.
    """
    route = _route(plan)
    try:
        return put_right(route)
    except Mixed:
        raise PromoteFailed(
            f"A swap of {plan.live} on {server} did not end, as in a crash of the server, and which tables "
            f"its RENAME moved cannot be told, or others are in their way: {plan.live}, {route.aside} and "
            f"{route.other} may each have some of the old data and some of the new. Nothing was touched; "
            "drop none of them. Move tables by hand, so that live has all of the old data or all of the new, "
            f"then DELETE FROM journal WHERE `database` = '{plan.live}' in database {server.lease_database}, "
            "and run the step again."
        ) from None


def _with_tables(session: Session, plan: Plan) -> Plan:
    """The plan with what is there now: somebody may have made tables of live, or dropped some, since."""
    tables = both_tables(session, plan.live, plan.other)
    if tables == plan.tables:
        return plan
    now = evolve(plan, tables=tables)
    _write_down(session, now)
    return now


def _statement(plan: Plan) -> str:
    """The RENAME of a plan that names the tables."""
    return rename_text(moves(_route(plan), plan.tables or Tables(old=(), new=())))


def _route(plan: Plan) -> Route:
    aside = copies_of(plan.live).replaced if plan.undo else plan.previous
    return Route(
        live=plan.live, other=plan.other, aside=aside, undo=plan.undo, first=plan.first, tables=plan.tables
    )


def _give_triggers_back(server: Server, plan: Plan) -> None:
    """Make the triggers of live that are missing. Raises PromoteFailed where one cannot be made."""
    triggers = [one for one in plan.old if one.kind is Kind.TRIGGER]
    if not triggers:
        return
    there = {one.key for one in objects_of(server, plan.live)}
    with server.session(plan.live) as session, session.uninterrupted():
        missing = [one for one in triggers if one.key not in there]
        ours = str(session.value("SELECT CURRENT_USER()"))
        # They are live's own: as whom they ran, they run again.
        definers = {one.key: one.definer for one in missing if one.definer != ours}
        failed = make_all(session, missing, definers)
    if failed:
        lacking = "; ".join(f"{one} of {one.definer}: {why}" for one, why in failed.items())
        raise PromoteFailed(
            f"{plan.live} on {server} was not swapped, and lacks triggers that were dropped for that and "
            f"could not be made again: {lacking}. Make them by hand, and run the step again."
        )


def _make_new(server: Server, plan: Plan) -> tuple[str, ...]:
    """Make what differs from what is there; views and routines that are the same stay as they are."""
    there = {one.key: one for one in objects_of(server, plan.live)}
    decided = decide(server, plan.live, before=plan.old, new=plan.new, there=there, undo=plan.undo)
    wanted = {one.key: one for one in decided.objects}
    warnings = list(decided.warnings)
    # Somebody may have made an object while the promotion was prepared: what is there now is dropped as well.
    kept: dict[Object, str] = {}
    with server.session(plan.live) as session:
        changed = wanted.keys() - decided.as_they_are
        granted = _granted(session, plan.live)
        for key, one in there.items():
            if key not in wanted or key in changed:
                try:
                    drop_object(session, plan.live, one)
                except pymysql.err.MySQLError as error:
                    if server_is_gone(error):
                        raise
                    # MySQL lets nobody drop what a mightier account made.
                    kept[one] = described(error, {one.name})
        left = {one.key for one in kept}
        todo = [one for key, one in wanted.items() if key in changed - left]
        failed = make_all(session, todo, {one.key: one.definer for one in todo})
        ours = drop_ours(session, plan.live)
    warnings += [
        f"The {one} could not be made in {plan.live}: {why}. Make it by hand." for one, why in failed.items()
    ]
    warnings += [
        f"The {one} of {plan.live} is still what it was before, for it could not be dropped: {why}. Drop it "
        f"by hand{', and make it as the dump has it' if one.key in wanted else ''}."
        for one, why in kept.items()
    ]
    if ours:
        warnings.append(
            f"Dropped from {plan.live}, for whoever uses them would have had the rights of "
            f"{server.connection.login}: {some(ours)}. Make them by hand as an account of {plan.live}."
        )
    # The server takes them away with the routine.
    anew = {(kind, name.casefold()) for kind, name in changed - left if (kind, name) in there}
    lost = [
        f"{account} on {kind.lower()} {shown_name(name)}"
        for kind, name, account in granted
        if (kind, name) in anew
    ]
    if lost:
        warnings.append(
            f"Grants on routines of {plan.live} that changed are gone: {some(lost)}. Grant them again; "
            "GRANT EXECUTE on the database would stay."
        )
    return tuple(warnings)


def _granted(session: Session, database: str) -> list[tuple[str, str, str]]:
    """Kind and name, in lower case, of each routine of a database with grants of its own, and whose."""
    rows = session.execute(
        "SELECT Routine_type, Routine_name, User, Host FROM mysql.procs_priv WHERE Db = %s ORDER BY 1, 2, 3",
        [database],
    )
    return [(str(kind), str(name).casefold(), f"{user}@{host}") for kind, name, user, host in rows]


def make_like(session: Session, database: str, like: str) -> None:
    """Make an empty database with the character set and collation of another, where that is there."""
    rows = session.execute(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA "
        "WHERE SCHEMA_NAME = %s",
        [like],
    )
    said = f" CHARACTER SET {rows[0][0]} COLLATE {rows[0][1]}" if rows else ""
    session.execute(f"CREATE DATABASE {quoted(database)}{said}")
