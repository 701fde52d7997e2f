"""Takes the values of rows out of what database programs and drivers say, before it is logged or raised.

Servers quote rows in DETAIL, CONTEXT and HINT, in the text of an error itself (`invalid input syntax for
type integer: "alice@example.com"`), and functions written by users say what they like. So text is kept only
as far as it consists of words of the server's own and of names that are known: of objects, roles, databases.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import psycopg

WITHHELD = "[withheld: may be a value]"

_LEVEL = re.compile(r"(pg_\w+): (?:(error|warning|detail): )?(.*)", re.DOTALL)
_FROM_ENTRY = re.compile(r"from TOC entry (\d+); \d+ \d+ (.*)", re.DOTALL)
_SERVER_SAID = "Error message from server: "
_TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*"|'[^']*')|(?P<word>\w+)|(?P<other>[\s.,;:()\[\]/-]+|"|')|(?P<unknown>.)""",
    re.DOTALL,
)
_IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')

# Words that PostgreSQL and its programs use in the text of errors that matter here. None of them tells
# anything about a row; a word that is missing here only shortens a message.
_WORDS_TEXT = """
a able aborted aborting abstract accept accepted accepting access accessed accessible acl active actual add
administrator after again aggregate algorithm all allocate allocated allow allowed already also alter always
ambiguous an and another any append application apply archive archiver are argument arguments array as
assign at attach attached attempt attribute attributes authentication authorization automatically available
backend bad base be because been before begin beginning being between bigint binary bit blob blobs block
blocks bool boolean both bpchar break buffer but by byte bytea bytes cache called can cancel canceled
canceling cannot cascade case cast catalog certificate change changed changes char character characters
check checkpoint child cidr citext class clause client close closed cluster code collation column columns
command commands comment commit compatible complete compressed compression concurrent concurrently conf
configuration conflict connect connection connections constraint constraints contain contains content
contents context control conversion convert copy corrupted could count crash create created creating cross
current currently cursor custom cycle daemon data database databases date daterange deadlock decimal
declared default deferred definition delete denied depend dependent depends descriptor detected
deterministic device dictionary did died different directory disabled disk do does domain done double down
drop dropped due dump dumped dumping duplicate during each element empty enabled encoding encountered
encrypted end ended enter entered entries entry enum error errors event exceed exceeded exceeds except
exclusion exclusive exec execute executing execution exist existing exists exit exited expected expects
expression extend extended extension extensions extra failed failure fatal feature field file finished fix
float following for force foreign form format found from full function functions general generated geometry
get gin given global grant group had handler has hash have header hint host hstore id identifier identity if
ignored immutable implemented in incomplete inconsistent incorrect index indexes inet inherit inherited
initialize initially input insert insufficient int integer intermittent internal interrupted interval into
invalid invalidated invalidation io is isolation it item items its json jsonb jsonpath key keys kind known
label language large last latin1 lc least left length level library limit line list load loaded local locale
location lock locked locks log login long lookup loop lost macaddr made main many mapping match matching
materialized maximum may member memory merge message messages method missing mode more most multiple must
name named names nested network new next no non none not nothing null number numeric object objects of off
offset oid oids old on one only open operation operator operators option options or order other out outer
over overflow overlaps owned owner page parallel parameter parameters parent parse parser part partial
partition partitioned password path peer pending permission permitted pg_hba policy polygon port position
precision prepared prevented primary privilege privileges procedural procedure process processed processing
program promised property protocol publication publications queries query range ranges read reading ready
reason receive received record recovery recursion reference referenced references referencing refresh
refused regclass region relation relations release remaining rename replace replication request requested
require required requires reserved reset resource resources restart restore restored restoring restrict
restricted restriction result return returned returning returns revoke role roles root routine row rows rule
running same savepoint schema schemas search security segment select send sequence sequences serial
serialize server session set setting settings shared shutdown shutting signal size slots smallint snapshot
some space specified specify sql sql_ascii ssl stack standby start started starting state statement
statements statistics step storage stored stream string strings subscription subscriptions subtransaction
such supplied support supported syntax system table tables tablespace target template temporary terminate
terminated terminating terminator text than that the their there this tid time timed timeout timestamp
timestamptz tls to toc token too transaction transaction_timeout transactions transform trigger triggers
truncate truncated trusted try trying tsquery tsrange tstzrange tsvector tuple two type types unable
unaccent unavailable undefined unexpected unexpectedly unique unknown unlogged unmatched unrecognized
unsupported until untrusted update updated upgrade usage use used user users using utf8 uuid valid validate
value values varchar variable varying version versions via view views violate violates violation volatile
wait waiting was were when where which while with within without work worker would wrapper write writing
wrong xid xmin xml yet you zero zone
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


def describe_database_error(error: psycopg.Error, known: Collection[str] = ()) -> str:
    """What happened, without any value of a row: the condition, and the names that the server gives for it.

    The text of the error is added where it speaks of no values, as `redact_text` does; `known` are names
    that it may hold, such as `names_in` the statement. DETAIL, CONTEXT and HINT are never told.
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
    names = _names(error)
    if state[:2] not in _SPEAKS_OF_NO_VALUES:
        return f"{condition}{f': {names}' if names else '; its text is withheld, for it quotes values'}"
    text = (diagnosis.message_primary or "").replace("\n", " ")
    # With a position the parser found it, in the statement as it was sent: before any row was read.
    parsed = diagnosis.statement_position is not None and diagnosis.internal_query is None
    if not parsed:
        text = redact_text(text, {*known, *_diagnosed(error).values()})
    return f"{condition}: {text}"


def _describe_own_error(error: psycopg.Error) -> str:
    """An error without a code: the driver's own, or the failure to connect."""
    name = type(error).__name__
    if type(error) is psycopg.OperationalError or isinstance(error, psycopg.InterfaceError):
        # Of the session: no row is in it. Its later lines are advice, one for each address that was tried.
        return f"{name}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no text'}"
    return f"{name}; its text is withheld, for it may quote values"


def _condition(state: str) -> str:
    """The name of an error's condition, e.g. unique_violation."""
    try:
        name = psycopg.errors.lookup(state).__name__
    except KeyError:
        return "error"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


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


def _names(error: psycopg.Error) -> str:
    """The names that came with an error, e.g. `constraint "people_pkey", table "people", schema "public"`."""
    return ", ".join(f'{kind} "{name}"' for kind, name in _diagnosed(error).items())


def _is_known(word: str, known: Collection[str]) -> bool:
    return word in known or word.lower() in _WORDS


def _is_known_name(name: str, known: Collection[str]) -> bool:
    """Whether a quoted name is known, as a whole or part by part (`public.people`)."""
    return name in known or _all_known(re.split(r"[.\s]+", name), known)


def _all_known(words: Iterable[str], known: Collection[str]) -> bool:
    return all(word == "" or _is_known(word, known) for word in words)
