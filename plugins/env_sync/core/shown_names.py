"""Names of objects in what is told: which may be values of rows, and are withheld.

Imports no driver of a database, as `redact` does: what is read with the DAG file may import this.
"""

from __future__ import annotations

import re
from collections.abc import Collection

NAME_WITHHELD = "[name withheld: may be a value]"

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62}){0,2}")
_MANY_DIGITS = re.compile(r"\d{5}")
"""A telephone number, a date, an account."""
_ENDINGS = frozenset(
    {"pkey", "fkey", "idx", "excl", "seq", "uq", "uniq", "ck", "chk", "pk", "fk", "ix", "id", "1", "2", "3"}
)
"""With which servers and people end names that they put together."""

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
SERVER_WORDS = frozenset(_WORDS_TEXT.split())


def shown_name(name: str, known: Collection[str] = ()) -> str:
    """The name of an object, unless it may be a value of a row: a constraint called like an e-mail address.

    It is shown where it is `known`, or where it is written as people write names of tables and columns.
    """
    return name if name in known or _is_plain(name) else NAME_WITHHELD


def is_shown(name: str, known: Collection[str], *, strict: bool) -> bool:
    """Whether a name is known, or one that people give to tables, columns and constraints.

    `strict` takes only those of the latter that are put together of known words, as `people_email_key` is: a
    statement that is put together at run time can call an object `Ann`.
    """
    if name in known:
        return True
    if not _is_plain(name):
        return False
    if not strict:
        return True
    words = {part for each in known for part in _parts(each)}
    return all(part in words or part in SERVER_WORDS or part in _ENDINGS for part in _parts(name))


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and not _MANY_DIGITS.search(name)


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
