"""Takes the values of rows out of what database programs and drivers say, before it is logged or raised.

Servers quote rows in DETAIL, CONTEXT and HINT, in the text of an error itself (`invalid input syntax for
type integer: "alice@example.com"`), and functions written by users say what they like. So text is kept only
as far as it consists of words of the server's own and of names that are known: of objects, roles, databases.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import psycopg
from pymysql.constants import CR, ER

from env_sync.core.secret import Secret
from env_sync.core.shown_names import NAME_WITHHELD, SERVER_WORDS, is_shown

WITHHELD = "[withheld: may be a value]"

_LEVEL = re.compile(r"(pg_\w+): (?:(error|warning|detail): )?(.*)", re.DOTALL)
_FROM_ENTRY = re.compile(r"from TOC entry (\d+); \d+ \d+ (.*)", re.DOTALL)
_SERVER_SAID = "Error message from server: "
_TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*"|'[^']*')|(?P<word>\w+)|(?P<other>[\s.,;:()\[\]/-]+|"|')|(?P<unknown>.)""",
    re.DOTALL,
)
_WORD = re.compile(r"\w+")
_LOGIN_IN_URL = re.compile(r"://[^\s'\"]*@")
_IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')

# Classes of SQLSTATE whose text speaks of statements, sessions and the server rather than of values.
_SPEAKS_OF_NO_VALUES = frozenset(
    ["08", "0A", "25", "28", "2B", "2D", "3B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"]
)


def names_in(*texts: str) -> frozenset[str]:
    """Every name and word in SQL, or in other text without values of rows: to be given as `known`."""
    found: set[str] = set()
    for text in texts:
        for quoted, plain in _IDENTIFIER.findall(text):
            found.add(quoted.replace('""', '"') if quoted else plain)
    return frozenset(found)


def redact_text(text: str, known: Collection[str] = ()) -> str:
    """One line of an error's text as far as it holds only the server's words and names that are `known`."""
    for token in _TOKEN.finditer(text):
        if token["other"]:
            continue
        if token["word"] and _is_known(token["word"], known):
            continue
        if token["quoted"] and _is_known_name(token["quoted"][1:-1], known):
            continue
        return text[: token.start()] + WITHHELD
    return text


def redact_tool_line(line: str, known: Collection[str] = ()) -> str | None:
    """One line of what pg_dump or pg_restore wrote to stderr; None where nothing of it is to be shown.

    Errors, warnings and the archive's entry that they are about are kept, each as `redact_text` does.
    What has not the program's name before it continues a message (DETAIL, CONTEXT, HINT, LINE, STATEMENT, the
    command itself) and is dropped, and so is progress.
    """
    match = _LEVEL.fullmatch(line)
    if match is None:
        return None
    program, level, text = match[1], match[2], match[3]
    entry = _FROM_ENTRY.fullmatch(text)
    if level is None and entry:
        return f"{program}: from TOC entry {entry[1]}: {redact_text(entry[2], known)}"
    if level == "detail" and text.startswith(_SERVER_SAID):
        text = text.removeprefix(_SERVER_SAID)
    elif level not in ("error", "warning") or text.startswith("errors ignored on restore"):
        return None
    return f"{program}: {level}: {redact_text(text, known)}"


def redact_tool_text(text: str, known: Collection[str] = ()) -> str:
    """Several lines of stderr, each as `redact_tool_line` does."""
    return "\n".join(
        shown for line in text.split("\n") if (shown := redact_tool_line(line, known)) is not None
    )


def describe_database_error(
    error: psycopg.Error, known: Collection[str] = (), *, strict: bool = False
) -> str:
    """What happened, without any value of a row: the condition, and the names that the server gives for it.

    The text of the error is added where it speaks of no values, as `redact_text` does; `known` are names
    that it may hold, such as `names_in` the statement. `strict` where the statement may have made objects
    that are called like values of rows: see `is_shown`. DETAIL, CONTEXT and HINT are never told.
    """
    state = error.sqlstate
    if state is None:
        return _describe_own_error(error)
    diagnosis = error.diag
    condition = f"{_condition(state)} ({state})"
    # A function written by a user chose the code, the text and the names.
    raised = diagnosis.source_function == "exec_stmt_raise"
    if raised or state.startswith(("P0", "XX")):
        return f"{condition}; its text is withheld, for it may quote values of rows"
    names = _names(error, known, strict=strict)
    if state[:2] not in _SPEAKS_OF_NO_VALUES:
        return f"{condition}{f': {names}' if names else '; its text is withheld, for it quotes values'}"
    # Even what the parser found may be part of a value: of one that was cast to regtype, of dynamic SQL.
    named = {name for name in _diagnosed(error).values() if is_shown(name, known, strict=strict)}
    text = redact_text((diagnosis.message_primary or "").replace("\n", " "), {*known, *named})
    return f"{condition}: {text}"


def _describe_own_error(error: psycopg.Error) -> str:
    """An error without a code: the driver's own, or the failure to connect."""
    name = type(error).__name__
    if type(error) is psycopg.OperationalError or isinstance(error, psycopg.InterfaceError):
        # Of the session: no row is in it. Its later lines are advice, one for each address that was tried.
        said = str(error).strip().splitlines()
        return f"{name}: {without_credentials(said[0]) if said else 'no text'}"
    return f"{name}; its text is withheld, for it may quote values"


def _condition(state: str) -> str:
    """The name of an error's condition, e.g. unique_violation."""
    try:
        name = psycopg.errors.lookup(state).__name__
    except KeyError:
        return "error"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().rstrip("_")


def _diagnosed(error: psycopg.Error) -> dict[str, str]:
    diagnosis = error.diag
    named = {
        "constraint": diagnosis.constraint_name,
        "column": diagnosis.column_name,
        "data type": diagnosis.datatype_name,
        "table": diagnosis.table_name,
        "schema": diagnosis.schema_name,
    }
    return {kind: name for kind, name in named.items() if name}


def _names(error: psycopg.Error, known: Collection[str], *, strict: bool) -> str:
    """The names that came with an error, e.g. `constraint "people_pkey", table "people", schema "public"`.

    Whoever made an object may have called it like a value of a row: see `is_shown`.
    """
    return ", ".join(
        f'{kind} "{name}"' if is_shown(name, known, strict=strict) else f"{kind} {NAME_WITHHELD}"
        for kind, name in _diagnosed(error).items()
    )


def without_credentials(text: str, *secrets: Secret) -> str:
    """A text that may quote a connection, without these secrets and without the login in any URL."""
    for secret in secrets:
        if secret.reveal():
            text = text.replace(secret.reveal(), "***")
    return _LOGIN_IN_URL.sub("://***@", text)


def _is_known(word: str, known: Collection[str]) -> bool:
    return word in known or word.lower() in SERVER_WORDS


def _is_known_name(name: str, known: Collection[str]) -> bool:
    """Whether a quoted name is known, as a whole or word by word (`public.people`)."""
    return name in known or (name.isascii() and all(_is_known(word, known) for word in _WORD.findall(name)))


_MYSQL_NUMBERS = {
    number: name.lower()
    for constants in (ER, CR)
    for name, number in vars(constants).items()
    if isinstance(number, int) and not name.startswith("ERROR_")
}
# Errors whose text speaks of accounts, objects, sessions and the server rather than of values.
_MYSQL_QUIET = (
    "1005 1007 1008 1010 1021 1022 1025 1030 1044 1045 1046 1049 1050 1051 1054 1064 1072 "
    "1091 1095 1109 1114 1118 1129 1130 1142 1143 1146 1153 1190 1192 1193 1205 1213 1217 "
    "1222 1227 1235 1242 1273 1286 1290 1304 1305 1317 1318 1347 1356 1359 1360 1370 1410 1418 "
    "1419 1435 1442 1449 1450 1451 1452 1539 1698 1701 1824 1927 1969 3024 3750 3780 "
    "3819 4031 4161 6125"
)
# What the server says is needed, where it denies something.
_MYSQL_PRIVILEGES = frozenset(
    {
        *("need", "s", "SUPER", "PROCESS", "SET", "USER", "SET_USER_ID", "SET_ANY_DEFINER", "SYSTEM_USER"),
        *("ALLOW_NONEXISTENT_DEFINER", "SYSTEM_VARIABLES_ADMIN", "SESSION_VARIABLES_ADMIN"),
        *("CONNECTION_ADMIN", "SHOW_ROUTINE", "RELOAD", "FLUSH_TABLES", "BINLOG"),
    }
)
_MYSQL_SPEAKS_OF_NO_VALUES = frozenset(map(int, _MYSQL_QUIET.split()))
_MYSQL_LINE = re.compile(r" at line (\d+)$")
_MYSQL_KEY = re.compile(r" for key '([^']*)'$")


def describe_mysql_error(
    code: int | None, text: str, known: Collection[str] = (), *, strict: bool = False
) -> str:
    """What MySQL or MariaDB said, without any value of a row: the condition, its number, and known names.

    The text is added where it speaks of no values, as `redact_text` does; of a syntax error only the line,
    for the server quotes the statement from there on; of a duplicate only the key, which stands at the end.
    `strict`: see `describe_database_error`.
    """
    condition = f"{_MYSQL_NUMBERS.get(code or -1, 'error')} ({code if code else 'no number'})"
    if code == ER.PARSE_ERROR:
        line = _MYSQL_LINE.search(text)
        return f"{condition}{f' at line {line[1]} of the statement' if line else ''}"
    if code in (ER.DUP_ENTRY, 1586):
        key = _MYSQL_KEY.search(text)
        shown = key is not None and is_shown(key[1], known, strict=strict)
        return f"{condition}{f' for key {key[1]}' if key and shown else ''}"
    if code == ER.SPECIFIC_ACCESS_DENIED_ERROR:
        known = {*known, *_MYSQL_PRIVILEGES}
    if code in _MYSQL_SPEAKS_OF_NO_VALUES or (code or 0) in vars(CR).values():
        return f"{condition}: {redact_text(text.replace(chr(10), ' '), known)}"
    return f"{condition}; its text is withheld, for it may quote values"


def redact_mysql_line(line: str, known: Collection[str] = ()) -> str | None:
    """One line of what mysqldump wrote to stderr, as `describe_mysql_error` does; None to drop it."""
    match = re.match(r"(mysqldump|mariadb-dump): (?:Error (\d+): |Got error: (\d+): |Error: ')?(.*)", line)
    if match is None:
        return None
    program, text = match[1], match[4]
    code = match[2] or match[3]
    # Couldn't execute 'show create table `people`': what the server said (1146)
    if (executed := re.fullmatch(r"Couldn't execute '.*?': (.*) \((\d+)\)", text)) is not None:
        text, code = executed[1], executed[2]
    if code:
        return f"{program}: {describe_mysql_error(int(code), text.strip(chr(34)), known)}"
    return f"{program}: {redact_text(text, known)}"
