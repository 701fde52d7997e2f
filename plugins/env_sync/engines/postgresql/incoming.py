"""Incoming: made closed to everybody else, kept so, and dropped."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import psycopg
from attrs import evolve, frozen
from psycopg import errors, sql

from env_sync.core.errors import EnvSyncError
from env_sync.core.redact import describe_database_error
from env_sync.engines.base.contract import Stamp
from env_sync.engines.postgresql.access.readers import Look, check_closed
from env_sync.engines.postgresql.archive import Locale
from env_sync.engines.postgresql.copy_ownership import is_our_copy
from env_sync.engines.postgresql.metadata import Comment, write_comment
from env_sync.engines.postgresql.session import Server, Session


@frozen(kw_only=True)
class Storage:
    """How and where a database is made. `tablespace` is "" for the server's default."""

    locale: Locale
    tablespace: str


def storage_of(session: Session, database: str) -> Storage | None:
    """How a database was made; None where there is none. The columns that tell differ by version."""
    provider, locale, rules = "'c'", "NULL", "NULL"
    if session.version >= 15:
        provider, locale = "d.datlocprovider", "d.daticulocale"
    if session.version >= 16:
        rules = "d.daticurules"
    if session.version >= 17:
        locale = "d.datlocale"
    rows = session.execute(
        sql.SQL(
            "SELECT pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, {}, {}, {}, "
            "CASE WHEN t.spcname = 'pg_default' THEN '' ELSE t.spcname END FROM pg_catalog.pg_database d "
            "JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = %s"
        ).format(sql.SQL(provider), sql.SQL(locale), sql.SQL(rules)),
        [database],
    )
    if not rows:
        return None
    encoding, collate, ctype, letter, provider_locale, icu_rules, tablespace = rows[0]
    return Storage(
        locale=Locale(
            encoding=encoding,
            collate=collate,
            ctype=ctype,
            provider={"c": "libc", "i": "icu", "b": "builtin"}[_text(letter)],
            provider_locale=provider_locale or "",
            icu_rules=icu_rules or "",
        ),
        tablespace=tablespace,
    )


def make_closed(session: Session, database: str, storage: Storage, *, exact: bool) -> tuple[str, ...]:
    """Make an empty database that refuses every connection; gives warnings.

    Where `exact` is off (the locale comes from another server) the nearest that this server has is taken.
    """
    warning = ""
    choices = list(_choices(session.version, storage.locale)) if not exact else [storage.locale]
    for number, locale in enumerate(choices):
        try:
            _make(session, database, evolve(storage, locale=locale))
        except (errors.WrongObjectType, errors.InvalidParameterValue, errors.FeatureNotSupported) as error:
            if number + 1 == len(choices):
                raise
            warning = (
                f"This server has no locale like the dump's ({describe_database_error(error)}): text may be "
                "sorted and matched differently. Install the locale, or make the live database by hand first."
            )
        else:
            break
    return (warning,) if warning else ()


def open_for_us(
    session: Session, server: Server, database: str, stamp: Stamp, error: type[EnvSyncError]
) -> Look:
    """Stamp a database that was just made, and let its owner, and no other role, connect to it.

    Gives how it is then, with warnings of who could let himself in. Raises psycopg.Error; `error` where
    another role could connect.
    """
    name = sql.Identifier(database)
    with session.transaction():
        session.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        session.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        look = check_closed(session, server, database, error, new=True)
        write_comment(session, database, Comment(person="", stamp=stamp, closed=look.closed))
    return look


def drop_database(session: Session, database: str) -> bool:
    """Drop a database and end the sessions in it; False where there is none."""
    name = sql.Identifier(database)
    if not session.value("SELECT count(*) FROM pg_catalog.pg_database WHERE datname = %s", [database]):
        return False
    if session.version >= 13:
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        return True
    session.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
    end_sessions(session, database)
    session.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
    return True


def drop_copy(session: Session, database: str) -> bool:
    """Drop incoming or outgoing; False where there is none, or one that we did not make."""
    return is_our_copy(session, database) and drop_database(session, database)


def drop_after_failure(session: Session, database: str, log: logging.Logger) -> None:
    """Drop the copy that an error left; where that fails too it is logged, and the clean-up does it."""
    try:
        with session.uninterrupted():
            drop_copy(session, database)
    except psycopg.Error as error:
        log.error(
            "Database %s could not be dropped after a failure: %s. The end of the group tries again; nobody "
            "else can connect to it.",
            database,
            describe_database_error(error),
        )


def end_sessions(session: Session, database: str) -> None:
    """End all sessions in a database that are not ours; raises psycopg.Error where we may not."""
    session.execute(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
        "WHERE datname = %s AND usesysid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()",
        [database],
    )


def _make(session: Session, database: str, storage: Storage) -> None:
    locale = storage.locale
    options = [("ENCODING", locale.encoding), ("LC_COLLATE", locale.collate), ("LC_CTYPE", locale.ctype)]
    if session.version >= 15:
        options.append(("LOCALE_PROVIDER", locale.provider))
    if locale.provider == "icu":
        options += [("ICU_LOCALE", locale.provider_locale), ("ICU_RULES", locale.icu_rules)]
    elif locale.provider == "builtin":
        options.append(("BUILTIN_LOCALE", locale.provider_locale))
    parts = [
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ALLOW_CONNECTIONS false").format(
            sql.Identifier(database)
        )
    ]
    parts += [
        sql.SQL("{} {}").format(sql.SQL(option), sql.Literal(value)) for option, value in options if value
    ]
    if storage.tablespace:
        parts.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(storage.tablespace)))
    session.execute(sql.SQL(" ").join(parts))


def _choices(version: int, locale: Locale) -> Iterator[Locale]:
    """The locale as it is, as far as a server of this version knows it, and then what comes near it."""
    libc = evolve(locale, provider="libc", provider_locale="", icu_rules="")
    since = {"icu": 15, "builtin": 17}.get(locale.provider, 0)
    if version >= since:
        yield locale if version >= 16 else evolve(locale, icu_rules="")
    yield libc
    # The server's own, which need not fit the encoding; C fits any.
    yield evolve(libc, collate="", ctype="", provider="")
    yield evolve(libc, collate="C", ctype="C")


def _text(letter: str | bytes) -> str:
    """A value of the type "char", which psycopg may give as bytes."""
    return letter.decode() if isinstance(letter, bytes) else letter
