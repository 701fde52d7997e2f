"""Sanitising a copy: the transformations, the proof, and what cannot move set aside for the promotion."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pymysql
from attrs import evolve

from env_sync.core.errors import ProofMissing, TransformationFailed
from env_sync.core.redact import names_in
from env_sync.domain.changed_rows import Changed, ChangedRows, statement_name, temporary_tables
from env_sync.engines.base.contract import CopyState, Stamp
from env_sync.engines.mysql.client import described, server_is_gone
from env_sync.engines.mysql.client_settings import (
    changed_settings,
    check_beginning,
    read_beginning,
    read_settings,
    set_as_client,
)
from env_sync.engines.mysql.existing_triggers import StandingBefore, read_standing
from env_sync.engines.mysql.identifiers import quoted
from env_sync.engines.mysql.lexer import meaning
from env_sync.engines.mysql.metadata import read_dumped, read_objects, read_told, write_objects, write_stamp
from env_sync.engines.mysql.objects import drop_object, read_objects_of
from env_sync.engines.mysql.session import Server, Session
from env_sync.engines.mysql.transformation import INCOMING, Place, Script, Step

COUNTED = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})


def run_transformations(
    server: Server,
    copy: str,
    scripts: Sequence[Script],
    proof: Callable[[Session], Stamp],
    changed_rows: ChangedRows,
    place: Place = INCOMING,
) -> Stamp:
    """Run each in a session and a transaction of its own, with the proof at the end of the last; gives that.

    So none inherits what another set, or a temporary table in the place of one of the copy's. `changed_rows`
    is told what each statement changed. A statement that changes a definition commits what is before it, as
    MySQL has it: until the proof is there the copy counts as half done. Raises TransformationFailed, and
    MySQLError where the server went away; the caller drops the database.
    """
    standing: StandingBefore | None = None
    for script in scripts[:-1]:
        with server.session(copy) as session:
            standing = standing or read_standing(session, copy)
            _run_alone(session, script, place, changed_rows, standing)
            session.execute("COMMIT")
    with server.session(copy) as session:
        began = read_beginning(session)
        for script in scripts[-1:]:
            _run_alone(session, script, place, changed_rows, standing or read_standing(session, copy))
        session.reset()
        if scripts:
            forget_history(session, copy, place)
        stamp = proof(session)
        # In the transaction of the last rows that were changed.
        write_stamp(session, copy, stamp)
        check_beginning(session, began, place.aftermath)
        session.execute("COMMIT")
    return stamp


def _run_alone(
    session: Session, script: Script, place: Place, changed_rows: ChangedRows, standing: StandingBefore
) -> None:
    """Run one in a session that is new."""
    set_as_client(session, read_beginning(session), place.aftermath)
    session.execute("START TRANSACTION")
    run_script(session, script, place, changed_rows, standing)


def forget_history(session: Session, copy: str, place: Place) -> None:
    """Delete the earlier versions of rows, which whoever may read a table may read with FOR SYSTEM_TIME.

    MariaDB keeps them of a table WITH SYSTEM VERSIONING: the transformations' own UPDATE makes them
    (https://mariadb.com/docs/server/reference/sql-structure/temporal-tables/system-versioned-tables).
    Raises TransformationFailed where the account may not, and MySQLError where the server went away.
    """
    tables = session.execute(
        "SELECT TABLE_NAME FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'SYSTEM VERSIONED' ORDER BY 1",
        [copy],
    )
    for (table,) in tables:
        try:
            session.execute(f"DELETE HISTORY FROM {quoted(copy)}.{quoted(table)}")
        except pymysql.err.MySQLError as error:
            if server_is_gone(error):
                raise
            raise TransformationFailed(
                f"Table {table} keeps the rows as they were before the transformations, and they could not "
                f"be deleted: {described(error, {copy, table})}. {place.aftermath}; GRANT DELETE HISTORY ON "
                "*.* to the sync's account and run the group again."
            ) from None


def run_script(
    session: Session, script: Script, place: Place, changed_rows: ChangedRows, standing: StandingBefore
) -> None:
    """Run one in the session's database. Raises TransformationFailed, and MySQLError as above."""
    began = read_beginning(session)
    database = began.database
    parts = (one for step in script.steps for one in meaning(step.text.encode()))
    words = b" ".join(one.text for one in parts if one.kind in ("word", "name"))
    temporary = temporary_tables(words.decode(errors="replace"))
    # Only code that came with the data could change them unseen.
    settings = read_settings(session) if standing.is_code else {}
    for step in script.steps:
        try:
            rows = session.send(step.text.encode())
        except pymysql.err.MySQLError as error:
            if server_is_gone(error):
                raise
            said = described(error, {database, *names_in(script.text)}, strict=True)
            raise TransformationFailed(
                f"Transformation {script.name}, line {step.line}: {said}. {place.aftermath}; correct the "
                "transformation and run the group again."
            ) from None
        changed: Changed | None = None
        if (what := _changing(step)) is not None:
            free = script.is_rule or what.rpartition(" ")[2] in temporary
            changed = Changed(file=script.name, line=step.line, what=what, rows=rows, may_find_none=free)
            changed_rows.add(changed)
        if standing.is_code:
            before, settings = settings, read_settings(session)
            if other := changed_settings(before, settings, step.text):
                raise TransformationFailed(
                    f"Transformation {script.name}, line {step.line}: a trigger or routine set "
                    f"{', '.join(other)} while it ran, so the next statement would do something else than it "
                    f"says. {place.aftermath}; drop that before the statement and make it again after it."
                )
        changed_rows.warn(standing.warnings(session, f"{script.name}:{step.line}", step.text, changed))
    # With a limit of none it could not be asked.
    session.execute("SET SESSION sql_select_limit = DEFAULT")
    if (now := read_beginning(session)).database != database:
        raise TransformationFailed(
            f"Transformation {script.name} left {database} for another database. {place.aftermath}; take "
            "that out of it."
        )
    if now != began:
        raise TransformationFailed(
            f"Transformation {script.name} began as {began} and ended as {now}. {place.aftermath}; take that "
            "out of it."
        )


def _changing(step: Step) -> str | None:
    """What a statement that changes rows is called; None for any other."""
    parts = [
        one.text.strip(b"`").decode(errors="replace")
        for one in meaning(step.text.encode())
        if one.kind in ("word", "name") or one.text == b"."
    ]
    verb = next((part.upper() for part in parts if part.upper() in COUNTED), None)
    begins = parts[0].upper() if parts else ""
    return statement_name(parts, verb) if verb and begins in (verb, "WITH") else None


def set_aside(session: Session, copy: str, transformed: Stamp, now: Callable[[], Stamp]) -> Stamp:
    """Take views, triggers and routines out of a copy, keep how they are made, and write the proof.

    A table that has a trigger cannot change its database, nor can a view. Gives the proof.
    """
    definers = {one.key: one.definer for one in read_dumped(session, copy)}
    there = [evolve(one, definer=definers.get(one.key, "")) for one in read_objects_of(session, copy)]
    waiting = read_objects(session, copy)
    write_objects(session, copy, [*there, *waiting])
    for one in there:
        drop_object(session, copy, one)
    if read_told(session, copy).stamp != transformed:
        raise ProofMissing(
            f"{copy} on {session.where} no longer says what the transformations wrote into it: something "
            "else works on it. Run the group again; live is untouched."
        )
    stamp = evolve(now(), state=CopyState.SANITISED)
    write_stamp(session, copy, stamp)
    return stamp
