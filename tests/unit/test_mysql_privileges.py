"""Who could see rows of a copy without a right on it, by the tables of MySQL 8 and 9."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from env_sync.core.cancellation import Cancellation
from env_sync.core.secret import Secret
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.mysql.access.indirect_readers import Watchers, watchers
from env_sync.engines.mysql.access.init_connect import HARMLESS
from env_sync.engines.mysql.access.readers import accesses, known_accounts
from env_sync.engines.mysql.session import Server
from tests.unit.mysql_memory import Answers, session

COPY = "app__incoming"
NOTHING = ("N", "N", "N", "N")
"""PROCESS, FILE, REPLICATION CLIENT and REPLICATION SLAVE."""
DEV = ("dev", "%", *NOTHING)
SUPER = ("dba", "%", None, "Y", "N", "N", "N", "N")
"""SUPER, CREATE USER, GRANT OPTION, INSERT and UPDATE on everything, after what was revoked of them."""
FILES_OUTSIDE: Answers = {"secure_file_priv": [("/var/lib/mysql-files/", "/var/lib/mysql/")]}
"""Where who has FILE may read and write, and where the server has its own."""
CLONE = {"information_schema.PLUGINS": [(1,)]}


def found(
    answers: Answers,
    *,
    accepted: tuple[str, ...] = (),
    user: Sequence[tuple[str, ...]] = (DEV,),
    mandatory: str = "",
    log: bool = False,
    version: str = "8.4.0",
) -> tuple[list[str], list[str]]:
    """Who stops a pull, and who is a warning."""
    told, _ = looked(answers, accepted, user, mandatory=mandatory, log=log, version=version)
    return [str(each) for each in told.readers.refused], [str(each) for each in told.onlookers.refused]


def wide(answers: Answers, *accepted: str, user: Sequence[tuple[str, ...]] = (DEV,)) -> list[str]:
    """What is said of those who are accepted for more than they have."""
    told, connection = looked(answers, accepted, user)
    return [*told.readers.wide(connection), *told.onlookers.wide(connection)]


def looked(
    answers: Answers,
    accepted: Sequence[str],
    user: Sequence[tuple[str, ...]],
    *,
    mandatory: str = "",
    log: bool = False,
    version: str = "8.4.0",
) -> tuple[Watchers, ServerConnection]:
    connection = ServerConnection(
        connection_id="below",
        environment="integration",
        host="db",
        port=3306,
        login="env_sync",
        password=Secret("x"),
        extra={"accepted_readers": list(accepted)},
    )
    server = Server(connection=connection, group="", cancellation=Cancellation())
    told = watchers(
        session(
            {**FILES_OUTSIDE, **answers, "Process_priv": user},
            version,
            {"mandatory_roles": mandatory, "log_bin": log},
        ),
        server,
        COPY,
    )
    return told, connection


@pytest.mark.parametrize(
    "privilege",
    [
        *("SET_ANY_DEFINER", "SET_USER_ID", "ROLE_ADMIN", "SYSTEM_VARIABLES_ADMIN", "BINLOG_ADMIN"),
        *("REPLICATION_SLAVE_ADMIN", "BACKUP_ADMIN", "CLONE_ADMIN"),
    ],
)
def test_privileges_that_act_as_anybody_stop_a_pull_unless_named(privilege: str) -> None:
    given = [("dev", "%", privilege), ("gone", "%", privilege), ("mysql.session", "localhost", privilege)]
    answers: Answers = {"mysql.global_grants": given, **CLONE}
    there = [DEV, ("mysql.session", "localhost", *NOTHING)]
    assert found(answers, user=there) == ([f"dev@% (by {privilege})"], [])
    assert found(answers, user=there, accepted=("dev@%",)) == ([], [])


@pytest.mark.parametrize(
    ("version", "only", "stops"),
    [
        ("8.4.0", None, False),
        ("8.4.0", "", True),
        ("8.4.0", "/var/lib/mysql-files/", False),
        ("8.4.0", "/var/lib/", True),
        ("8.4.0", "/var/lib/mysql", True),
        ("10.11.6-MariaDB", None, True),
        ("10.11.6-MariaDB", "/srv/", False),
    ],
)
def test_who_may_write_the_servers_own_files_stops_a_pull(
    version: str, only: str | None, *, stops: bool
) -> None:
    there = [("dev", "%", "N", "Y", "N", "N")]
    answers: Answers = {"secure_file_priv": [(only, "/var/lib/mysql/")]}
    told = ["dev@% (by FILE)"]
    assert found(answers, user=there, version=version) == ((told, []) if stops else ([], told))
    assert found(answers, user=there, version=version, accepted=("dev@%: FILE",)) == ([], [])


@pytest.mark.parametrize("privilege", ["BACKUP_ADMIN", "CLONE_ADMIN"])
def test_nothing_is_cloned_without_the_plugin(privilege: str) -> None:
    """An account of backups has it everywhere."""
    assert found({"mysql.global_grants": [("dev", "%", privilege)]}) == ([], [])


def test_who_reads_the_log_of_an_audit_is_a_warning() -> None:
    assert found({"mysql.global_grants": [("dev", "%", "AUDIT_ADMIN")]}) == ([], ["dev@% (by AUDIT_ADMIN)"])


def test_who_has_our_account_as_a_role_stops_a_pull() -> None:
    edges = [("env_sync", "%", "team", "%"), ("team", "%", "dev", "%"), ("dev", "%", "team", "%")]
    there = [(name, "%", *NOTHING) for name in ("dev", "team", "env_sync")]
    stopped, _ = found({"mysql.role_edges": edges}, user=there)
    assert stopped == [f"{name}@% (by the sync's account as a role)" for name in ("dev", "team")]
    # What is mandatory everybody has.
    assert found({}, mandatory="`env_sync`@`%`")[0] == ["dev@% (by the sync's account as a role)"]


@pytest.mark.parametrize(
    ("table", "on_table", "on_columns", "stops"),
    [
        ("db", "Select,Insert", "", True),
        ("user", "", "Update", True),
        ("func", "Insert", "", True),
        ("plugin", "Select", "", False),
        ("backup_history", "Insert,Update", "", False),
    ],
)
def test_who_may_write_a_table_of_grants_stops_a_pull(
    table: str, on_table: str, on_columns: str, *, stops: bool
) -> None:
    stopped, _ = found({"mysql.tables_priv": [("dev", "%", table, on_table, on_columns)]})
    assert stopped == (["dev@% (by writing the tables of grants)"] if stops else [])


def test_a_right_on_everything_that_was_revoked_on_the_copy_is_still_on_the_grants() -> None:
    revoked: dict[str, object] = {"Database": COPY, "Privileges": ["INSERT", "UPDATE"]}

    def stopped(restrictions: list[dict[str, object]]) -> list[str]:
        said = json.dumps({"Restrictions": restrictions})
        return found(
            {"User_attributes IS NOT NULL": [("dev", "%", said, "Y", "Y", "N")], "partial_revokes": [("ON",)]}
        )[0]

    assert stopped([revoked]) == ["dev@% (by writing the tables of grants)"]
    assert stopped([revoked, {"Database": "mysql", "Privileges": ["INSERT", "UPDATE"]}]) == []


def test_of_a_role_it_is_told_who_has_it() -> None:
    """Else who is given the role later would be accepted with it."""
    edges = [("watching", "%", "team", "%"), ("team", "%", "dev", "%"), ("watching", "%", "replica", "%")]
    there = [(name, "%", *NOTHING) for name in ("watching", "team", "dev", "replica", "dba")]
    answers: Answers = {
        "mysql.global_grants": [("watching", "%", "ROLE_ADMIN")],
        "mysql.role_edges": [*edges, ("watching", "%", "dba", "%")],
        "account_locked": [("watching", "%"), ("team", "%")],
        "Super_priv": [SUPER],
    }

    def stopped(*accepted: str, mandatory: str = "") -> list[str]:
        return found(answers, accepted=accepted, user=there, mandatory=mandatory)[0]

    dev, replica = (f"{name}@% (by ROLE_ADMIN of role watching@%)" for name in ("dev", "replica"))
    assert stopped("team@%", "watching@%: ROLE_ADMIN") == [dev, replica]
    assert stopped("replica@%", "dev@%: role_admin") == []
    # As connections had it before: with a warning, which names who has it.
    assert stopped("watching@%") == []
    [warning] = wide(answers, "watching@%", user=there)
    assert f"{dev}, {replica}. Name the accounts" in warning
    assert '"dev@%: ROLE_ADMIN", "replica@%: ROLE_ADMIN"' in warning
    assert wide(answers, "watching@%", "dev@%: ROLE_ADMIN", "replica@%: ROLE_ADMIN", user=there) == []
    # What everybody has cannot be told by names.
    for mandatory in ("watching", "'not to be understood"):
        told = ["watching@% (by ROLE_ADMIN)"]
        assert stopped("replica@%", "dev@%", mandatory=mandatory) == told
    unlocked: Answers = {**answers, "account_locked": []}
    names = ("replica@%", "dev@%", "team@%")
    assert found(unlocked, accepted=names, user=there)[0] == ["watching@% (by ROLE_ADMIN)"]


def test_who_may_log_in_as_somebody_who_is_accepted_is_not() -> None:
    there = [("replica", "%", "N", "N", "N", "Y"), ("exporter", "%", "Y", "N", "N", "N"), DEV]
    proxies = [("dev", "%", "replica"), ("dev", "%", "exporter"), ("gone", "%", "replica")]
    names = ("replica@%", "exporter@%")
    assert found({"proxies_priv": proxies}, log=True, accepted=names, user=there) == (
        ["dev@% (by PROXY on replica@%)"],
        ["dev@% (by PROXY on exporter@%)"],
    )


def test_who_may_log_in_as_a_role_or_a_locked_account_reads_as_it_does() -> None:
    """MySQL lets a proxy do so where the account itself cannot log in."""
    answers: Answers = {
        "proxies_priv": [("dev", "%", "reading")],
        "account_locked": [("reading", "%")],
    }
    there = [("reading", "%", "N", "N", "N", "Y"), DEV]
    assert found(answers, log=True, user=there)[0] == ["dev@% (by PROXY on reading@%)"]
    assert found({"account_locked": [("reading", "%")]}, log=True, user=there)[0] == []


def test_who_is_accepted_for_a_privilege_is_not_for_another() -> None:
    """An exporter that is given more later stops a pull again; by its name alone that is a warning."""
    there = [("exporter", "%", "Y", "N", "N", "N")]
    more: Answers = {
        "mysql.global_grants": [("exporter", "%", "SET_ANY_DEFINER")],
        "PROCESSLIST": [(1, "exporter", "localhost", COPY, "Sleep")],
    }
    exact = ("exporter@%: FILE, process",)
    assert found({}, accepted=exact, user=there) == ([], [])
    acts, stays = "exporter@% (by SET_ANY_DEFINER)", f"exporter@localhost (by session 1 in {COPY})"
    assert found(more, accepted=exact, user=there) == ([acts, stays], [])
    assert wide(more, *exact, user=there) == []
    assert found(more, accepted=("exporter@%",), user=there) == ([], [])
    [warning] = wide(more, "exporter@%", user=there)
    assert f'{acts}. Write "exporter@%: SET_ANY_DEFINER"' in warning
    assert wide({}, "exporter@%", user=there) == []
    assert wide(more, "exporter@%", "exporter@%: SET_ANY_DEFINER", user=there) == []


def test_an_administrator_is_who_has_its_rights_by_a_role_too() -> None:
    edges = [("dba", "%", "boss", "%"), ("boss", "%", "deputy", "%"), ("reading", "%", "dev", "%")]
    known = known_accounts(session({"Super_priv": [SUPER], "mysql.role_edges": edges}))
    assert known.administrators == {"dba@%", "boss@%", "deputy@%"}


@pytest.mark.parametrize(
    ("flags", "revoked", "is_one"),
    [
        ("YNNNN", [], True),
        ("NYNNN", [], True),
        ("NNYNN", [], False),
        ("NNYYN", [], True),
        ("NNYNY", [], True),
        ("NNYYY", ["INSERT"], True),
        ("NNYYY", ["INSERT", "UPDATE"], False),
    ],
)
def test_who_may_write_everything_and_pass_it_on_runs_the_server(
    flags: str, revoked: list[str], *, is_one: bool
) -> None:
    said = json.dumps({"Restrictions": [{"Database": "mysql", "Privileges": revoked}]})
    known = known_accounts(session({"Super_priv": [("deploy", "%", said if revoked else None, *flags)]}))
    assert ("deploy@%" in known.administrators) is is_one


@pytest.mark.parametrize(
    ("mandatory", "by"),
    [
        ("", ()),
        ("team", ()),
        ("gone", ()),
        ("`dba`@`%`", ("dba",)),
        ("team,boss", ("boss",)),
        # Any of them may be what is not understood; as `admin` everybody would have to log in.
        ("'not to be understood", ("boss", "dba")),
    ],
)
def test_a_role_that_everybody_has_makes_all_of_them_administrators(
    mandatory: str, by: Sequence[str]
) -> None:
    answers: Answers = {
        "Super_priv": [SUPER, ("mysql.session", "localhost", *SUPER[2:]), ("admin", "%", *SUPER[2:])],
        "mysql.role_edges": [("dba", "%", "boss", "%"), ("team", "%", "dev", "%"), ("boss", "%", "x", "%")],
        "account_locked": [(name, "%") for name in ("dba", "boss", "team")]
        + [("mysql.session", "localhost")],
    }
    told = [f"everybody (by role {one}@%, which makes administrators)" for one in by]
    assert found(answers, mandatory=mandatory)[0] == told
    named = tuple(f"everybody: role {one}@%" for one in by)
    assert found(answers, mandatory=mandatory, accepted=named)[0] == []


def test_an_administrator_without_a_right_of_its_own_is_listed() -> None:
    answers: Answers = {"Super_priv": [SUPER], "mysql.role_edges": [("dba", "%", "boss", "%")]}
    told = accesses(session({**answers, "account_locked": [("dba", "%")]}), COPY)
    assert [(one.account, one.administrator) for one in told] == [("boss@%", True)]


def test_who_runs_the_server_may_be_named_and_no_role() -> None:
    edges = [("team", "%", "dev", "%")]
    answers: Answers = {"account_locked": [("locked", "%")], "mysql.role_edges": edges}
    named = {"accepted_administrators": ["deploy@%", "team@%", "locked@%"]}
    assert known_accounts(session(answers, accepted=named)).administrators == {"deploy@%"}


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("SET NAMES utf8mb4", True),
        (" set names 'utf8mb4' collate utf8mb4_bin; ", True),
        ("SET collation_connection = utf8mb4_unicode_ci", True),
        ("SET NAMES utf8mb4; SET collation_connection = 'utf8mb4_unicode_ci';", True),
        ("SET SESSION time_zone = 'Europe/London'", True),
        ("SET @@session.time_zone='+00:00', autocommit=1", True),
        ('SET LOCAL sql_mode := "STRICT_TRANS_TABLES,NO_ZERO_DATE", @@wait_timeout = 600', True),
        ("SET CHARACTER SET utf8; SET character_set_results = NULL", True),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;set time_zone=@@global.time_zone", True),
        ("SET time_zone = (SELECT app.x())", False),
        ("SET time_zone = app.x()", False),
        ("SET sql_mode = CONCAT(app.x(), '')", False),
        ("SET time_zone = '+00:00' + app.x()", False),
        ("SET time_zone = '\\', x = app.x(), y = '", False),
        ("SET time_zone = 'a''b'", False),
        ("SET GLOBAL time_zone = '+00:00'", False),
        ("SET @@global.time_zone = '+00:00'", False),
        ("SET PERSIST time_zone = '+00:00'", False),
        ("SET sql_log_bin = 0", False),
        ("SET foreign_key_checks = 0", False),
        ("SET ROLE dba", False),
        ("SET autocommit = 1; CALL app.x()", False),
        ("SET autocommit = 1 /*! , time_zone = app.x() */", False),
        ("SET STATEMENT time_zone = '+00:00' FOR CALL app.x()", False),
        ("SET NAMES utf8mb4; CALL app.x()", False),
        ("SET NAMES utf8mb4, @a = app.x()", False),
        ("SET PASSWORD = 'x'", False),
        ("CALL app.x()", False),
    ],
)
def test_what_each_session_may_begin_with(text: str, *, harmless: bool) -> None:
    assert bool(HARMLESS.fullmatch(text)) is harmless


def test_open_sessions_go_on_with_what_was_taken_away() -> None:
    sessions = [
        # Who may read the log is told of that, whatever it does.
        (1, "replica", "10.0.0.5:4711", None, "Binlog Dump GTID"),
        (2, "dev", "10.0.0.6:4712", None, "Binlog Dump"),
        (3, "dev", "localhost", COPY.upper(), "Sleep"),
        # Of a server that compares names by letter, another one.
        (4, "dev", "10.0.0.6:4714", "äpp__incoming", "Sleep"),
        *((5, user, "localhost", COPY, "Query") for user in ("env_sync", "boss", "system user", "rdsadmin")),
    ]
    answers: Answers = {"PROCESSLIST": sessions, "Super_priv": [("boss", "%", *SUPER[2:])]}
    there = [("replica", "10.%", "N", "N", "N", "Y"), ("boss", "%", *NOTHING), DEV]
    stays = [
        "dev@10.0.0.6 (by session 2, which reads the binary log)",
        f"dev@localhost (by session 3 in {COPY})",
    ]
    assert found(answers, log=True, user=there)[0] == ["replica@10.% (by REPLICATION SLAVE)", *stays]
    # By which of its accounts a session logged in is not told.
    assert found(answers, log=True, user=there, accepted=("replica@10.%", "dev@10.%"))[0] == []
