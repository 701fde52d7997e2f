"""Whitehall's database, on MariaDB: editions, who writes them, and what they write to each other."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from sandbox.demo.invented import Invented
from sandbox.demo.seed import APPLICATIONS, SUBJECTS, Row, Rows
from sandbox.mariadb import MariaDBServer

NAME = "whitehall_production"
HOST = "whitehall-mysql"
"""Its server's name in hieradata."""
APPLICATION = "whitehall"
SCHEMA = Path(__file__).with_name("schemas") / f"{NAME}.sql"
USERS = 1_500
EDITIONS = 4_000
AT_ONCE = 500


def rows(invented: Invented) -> Rows:
    """Table -> its columns and rows, in an order that foreign keys allow."""
    random = invented.random
    people = [invented.person() for _ in range(USERS)]
    users = [
        (
            number,
            person.name,
            person.email,
            invented.telephone() if number % 4 == 0 else None,
            invented.token() if number % 3 == 0 else None,
        )
        for number, person in enumerate(people, start=1)
    ]
    editions, remarks, checks = [], [], []
    for number in range(1, EDITIONS + 1):
        subject, limited = random.choice(SUBJECTS), number % 16 == 0
        title = f"{subject}: the {invented.secret_matter()} review" if limited else f"{subject}, {number}"
        asked = random.choice(people)
        editions.append(
            (
                number,
                title,
                f"{title}.\n\nQuestions to {asked.name} ({asked.email}), {random.choice(APPLICATIONS)}.",
                "draft" if limited else "published",
                int(limited),
                random.randint(1, USERS),
            )
        )
        if number % 3 == 0:
            other = random.choice(people)
            remarks.append((number, random.randint(1, USERS), f"{other.name} says: ask {invented.email()}"))
        if number % 10 == 0:
            checks.append((number, invented.email(), f"Fine by me. Call {invented.telephone()}"))
    return {
        "users": (("id", "name", "email", "telephone", "api_token"), users),
        "editions": (("id", "title", "body", "state", "access_limited", "creator_id"), editions),
        "editorial_remarks": (("edition_id", "author_id", "body"), remarks),
        "fact_checks": (("edition_id", "email_address", "comments"), checks),
    }


def make(server: MariaDBServer, passwords: tuple[str, str], filling: Rows | None) -> None:
    """Make the database anew, with these rows or, below production, still empty.

    `passwords` are those of Env Sync's account and of the application's.
    """
    for name in server.databases():
        server.execute(f"DROP DATABASE `{name}`")
    ours, theirs = passwords
    server.create_sync_account(ours)
    granted = NAME.replace("_", "\\_")
    server.create_account(APPLICATION, theirs, f"SELECT, INSERT, UPDATE, DELETE ON `{granted}`.*")
    server.execute(f"CREATE DATABASE `{NAME}`")
    server.run([part for part in SCHEMA.read_text().split(";") if part.strip()], database=NAME)
    with contextlib.closing(server.connect(NAME)) as connection, connection.cursor() as cursor:
        for table, (columns, values) in (filling or {}).items():
            places = ", ".join(["%s"] * len(columns))
            insert = f"INSERT INTO `{table}` ({', '.join(columns)}) VALUES ({places})"
            for part in _parts(values):
                cursor.executemany(insert, part)


def _parts(values: Sequence[Row]) -> list[Sequence[Row]]:
    return [values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE)]
