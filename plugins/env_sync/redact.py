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

from env_sync.secret import Secret

WITHHELD = "[withheld: may be a value]"
NAME_WITHHELD = "[name withheld: may be a value]"

_LEVEL = re.compile(r"(pg_\w+): (?:(error|warning|detail): )?(.*)", re.DOTALL)
_FROM_ENTRY = re.compile(r"from TOC entry (\d+); \d+ \d+ (.*)", re.DOTALL)
_SERVER_SAID = "Error message from server: "
_TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*"|'[^']*')|(?P<word>\w+)|(?P<other>[\s.,;:()\[\]/-]+|"|')|(?P<unknown>.)""",
    re.DOTALL,
)
_WORD = re.compile(r"\w+")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62}){0,2}")
_MANY_DIGITS = re.compile(r"\d{5}")
"""A telephone number, a date, an account."""
_ENDINGS = frozenset(
    {"pkey", "fkey", "idx", "excl", "seq", "uq", "uniq", "ck", "chk", "pk", "fk", "ix", "id", "1", "2", "3"}
)
"""With which servers and people end names that they put together."""
_LOGIN_IN_URL = re.compile(r"://[^\s'\"]*@")
_IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')

# Words that PostgreSQL and its programs use in the text of errors that matter here. None of them tells
# anything about a row; a word that is missing here only shortens a message.
_WORDS_TEXT = """
a able aborted aborting abstract accept accepted accepting access accessed accessible acl active actual add
added administrator after again aggregate aggregates algorithm all allocate allocated allow allowed already
also alter always ambiguous an analyze and another any anymore appear appears append application applied
apply archive archiver are argument arguments array as assign assignment at attach attached attempt
attribute attributes authentication authorization automatic automatically autovacuum available backend
background bad base be because been before begin beginning being belonging between bigint binary bit blob
blobs block blocks bool boolean both bound bpchar break buffer build built but by byte bytea bytes cache
call called can cancel canceled canceling cannot cascade case cast catalog certificate change changed
changes channel char character characters check checkpoint checks checksum child cidr citext class clause
clauses client close closed cluster code collation column columns command commands comment commit comparison
compatible complete compressed compression concurrent concurrently condition conditions conf configuration
conflict conflicting conflicts connect connection connections consistent constraint constraints contain
containing contains content contents context control conversion convert copy corrupted could count crash
create created creating creation cross current currently cursor custom cycle daemon data database databases
date daterange datetime dbname deadlock decimal declared default defaults deferrable deferred define defined
definition delete denied depend depended dependent depends descriptor deserialize detach detected
deterministic device dictionary did died different directory disabled disk distinct do does domain done
double down drop dropped due dump dumped dumping duplicate duration during each elapsed element empty enable
enabled encoding encountered encrypted encryption end ended enter entered entries entry enum eof error
errors escape event exactly exceed exceeded exceeds except exclude exclusion exclusive exec execute
executing execution exist existing exists exit exited expected expects explicit expression expressions
extend extended extension extensions external extra failed failure fatal feature field file files find
finished first fix float following for force foreign form format found from full function functions general
generate generated generation geometry get gin given global grant group grouping had handler has hash have
header higher hint host hstore id ident identifier identifiers identify identity if ignored immutable
implemented in include incompatible incomplete inconsistent incorrect index indexes inet information inherit
inheritance inherited initial initialize initially input insert inside instead insufficient int integer
intermittent internal interrupted interval into invalid invalidated invalidates invalidation io is isolation
it item items its join json jsonb jsonpath key keys kind known label language large last latin1 lc least
left length level library limit line list listen lists literal load loaded local locale location lock locked
locks log logged logging logical login logs long longer lookup loop lost lower lsn macaddr made magic main
malformed many mapping marked match matching materialized maximum may member members memory merge message
messages method might minimum mismatch missing mode modified modulus more most move multiple multixact must
name named names near needed nested network new next no non none nor not nothing null number numeric object
objects of off offset oid oids old on once one only open operation operations operator operators option
options or order ordering other out outer output over overflow overlaps owned owner ownership page parallel
parameter parameters parent parse parser parsing part partial partition partitioned partitioning partitions
password path peer pending per perform permanent permission permissions permitted pg_hba pgpipe physical pid
plans points policy polygon port position possible postgresql postmaster preceding precision predicate
prepare prepared prevented previous previously primary prior privilege privileges procedural procedure
process processed processing program promised property protocol provide provider publication publications
publisher queries query queue range ranges read reading ready reason receive received recheck recognized
record recovery recursion recursive redo reference referenced references referencing refresh refused
regclass region registered reindex relation relations release remaining remove removed removing rename
renamed replace replica replication request requested require required requires reserved reset resource
resources response restart restore restored restoring restrict restricted restriction result return returned
returning returns revoke rewrite role roles root routine row rows rule rules running same savepoint scalar
scan schema schemas search security see seek segment select send sequence sequences serial serialize server
session sessions set setting settings shared short should shows shutdown shutting side signal size slot
slots smallint snapshot some sort source space specified specifies specify sql sql_ascii ssl stack standby
start started starting stat state statement statements statistics step still stop storage stored stream
streaming string strings subquery subscript subscription subscriptions subtransaction subtype such superuser
superusers supplied support supported syntax system table tables tablespace tablespaces target temp template
temporary term terminate terminated terminating terminator text than that the their then there this tid time
timed timeout timestamp timestamptz tls to toast toc token too transaction transaction_timeout transactions
transform transition trigger triggers truncate truncated trusted try trying tsquery tsrange tstzrange
tsvector tuple twice two type types unable unaccent unavailable uncompress undefined unexpected unexpectedly
unique unknown unlogged unmatched unrecognized unsupported unterminated until untrusted up updatable update
updated updates upgrade usage use used user users uses using utf8 uuid vacuuming valid validate value values
varchar variable variables varying version versions via view views violate violates violation volatile wait
waiting wal wal_level was were when where whether which while whole will window with within without word
work worker workers would wraparound wrapper write writes writing wrong xid xmin xml yet you zero zone
"""
_WORDS = frozenset(_WORDS_TEXT.split())

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
    that are called like values of rows: see `_is_shown`. DETAIL, CONTEXT and HINT are never told.
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
    named = {name for name in _diagnosed(error).values() if _is_shown(name, known, strict=strict)}
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

    Whoever made an object may have called it like a value of a row: see `_is_shown`.
    """
    return ", ".join(
        f'{kind} "{name}"' if _is_shown(name, known, strict=strict) else f"{kind} {NAME_WITHHELD}"
        for kind, name in _diagnosed(error).items()
    )


def shown_name(name: str, known: Collection[str] = ()) -> str:
    """The name of an object, unless it may be a value of a row: a constraint called like an e-mail address.

    It is shown where it is `known`, or where it is written as people write names of tables and columns.
    """
    return name if _is_shown(name, known, strict=False) else NAME_WITHHELD


def _is_shown(name: str, known: Collection[str], *, strict: bool) -> bool:
    """Whether a name is known, or one that people give to tables, columns and constraints.

    `strict` takes only those of the latter that are put together of known words, as `people_email_key` is: a
    statement that is put together at run time can call an object `Ann`.
    """
    if name in known:
        return True
    if _PLAIN_NAME.fullmatch(name) is None or _MANY_DIGITS.search(name):
        return False
    if not strict:
        return True
    words = {part for each in known for part in _parts(each)}
    return all(part in words or part in _WORDS or part in _ENDINGS for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[^A-Za-z0-9]+", name.lower()) if part]


def without_credentials(text: str, *secrets: Secret) -> str:
    """A text that may quote a connection, without these secrets and without the login in any URL."""
    for secret in secrets:
        if secret.reveal():
            text = text.replace(secret.reveal(), "***")
    return _LOGIN_IN_URL.sub("://***@", text)


def _is_known(word: str, known: Collection[str]) -> bool:
    return word in known or word.lower() in _WORDS


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
        shown = key is not None and _is_shown(key[1], known, strict=strict)
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
