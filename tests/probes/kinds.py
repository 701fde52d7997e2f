"""The kinds of attack that are probed, each on every engine where it can be tried.

A test that carries `@pytest.mark.probe("a kind")` probes that kind. A new kind gets an entry here, and tests
that carry its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

POSTGRESQL, MYSQL, MONGODB, ELASTICSEARCH, FILES = (
    *("PostgreSQL", "MySQL, MariaDB", "MongoDB", "Elasticsearch", "Files"),
)
ENGINES: Mapping[str, str] = {
    "postgresql": POSTGRESQL,
    "mysql": MYSQL,
    "mongo": MONGODB,
    "elasticsearch": ELASTICSEARCH,
    "files": FILES,
}
"""The columns of the table, by the folder of the engine."""

NO_DUMP = "clusters read snapshots in a repository of their own; no file is put there"
NO_CODE = "neither pipelines nor stored scripts come down"
NO_ROWS = "files are copied as bytes and never transformed"
ONLY_DOCUMENTS = "a dump holds documents and definitions, none of which is run"


@frozen(kw_only=True)
class Kind:
    """One kind of attack: what somebody tries, and what must hold."""

    name: str
    tries: str
    must_hold: str
    not_applicable: Mapping[str, str] = field(factory=dict)
    """Engines on which it cannot be tried, each with the reason."""
    not_probed: Mapping[str, str] = field(factory=dict)
    """Engines on which nobody has tried it yet, each with the reason."""


KINDS = (
    Kind(
        name="reading the copies during a sync",
        tries="Other users of the server read incoming, previous and outgoing while a sync runs.",
        must_hold="None of them ever sees a row that is not sanitised.",
    ),
    Kind(
        name="a right that reaches the copies",
        tries="Somebody has a grant, role or membership that would cover a copy once it is made.",
        must_hold="The sync stops before any data arrives, and names who it is.",
    ),
    Kind(
        name="a right that is given during a pull",
        tries="Somebody is let into incoming after it was made and before it is promoted.",
        must_hold="Promote refuses.",
        not_applicable={FILES: "one directory keeps all others out, and nothing below it can let them in"},
    ),
    Kind(
        name="a forged proof",
        tries="Incoming carries a proof that was written by hand, came with a dump, or is an old one.",
        must_hold="Promote refuses, and live stays as it was.",
    ),
    Kind(
        name="a step that is marked successful by hand",
        tries="Somebody marks a step as successful whose work was not done.",
        must_hold="Nothing becomes live or is published that was not restored, sanitised and proven.",
    ),
    Kind(
        name="a previous that somebody else made",
        tries="A database or directory that no pull left stands under the name of previous.",
        must_hold="It is neither dropped nor made live.",
        not_applicable={
            MONGODB: "keeps no previous",
            ELASTICSEARCH: "previous is known by a record and not by a name",
        },
    ),
    Kind(
        name="a sync that is a superuser",
        tries="The sync's own account is an administrator of the server, so what comes down may run as one.",
        must_hold="No pull starts until that is accepted, and then each report warns of it.",
        not_applicable={MONGODB: ONLY_DOCUMENTS, ELASTICSEARCH: NO_CODE, FILES: "there is no server"},
    ),
    Kind(
        name="a lock that anybody can take",
        tries="Another user of the server takes the locks that a sync takes, and keeps them.",
        must_hold="A push goes on, with a warning that names who it is.",
        not_applicable={
            MONGODB: "the server has no locks that its users take",
            ELASTICSEARCH: "the cluster has no locks that its users take",
            FILES: "the locked file is in a directory that nobody else can enter",
        },
    ),
    Kind(
        name="a copy that somebody else made",
        tries="A database that Env Sync did not make stands under the name of incoming or of another copy, "
        "where a copy is to be made.",
        must_hold="It is not dropped: the sync stops, and says what to do.",
        not_applicable={FILES: "copies are in a directory that nobody else can enter"},
    ),
    Kind(
        name="leases that somebody else made or may change",
        tries="Somebody makes the database or table of leases first, hangs code on it (triggers, rules, "
        "policies, defaults, a view), or has rights there.",
        must_hold="The sync stops at once, reads and writes nothing there, and says what to do.",
    ),
    Kind(
        name="a damaged or truncated dump",
        tries="A dump is cut off, has flipped bits, is empty, or is not what its manifest says.",
        must_hold="It is refused, and live stays as it was.",
    ),
    Kind(
        name="a dump of another database",
        tries="The dump of one database is put into the bucket under another one's name.",
        must_hold="It is refused, and live stays as it was.",
    ),
    Kind(
        name="a dump of another engine",
        tries="The dump of another kind of server is put into the bucket.",
        must_hold="It is called what it is and refused, and live stays as it was.",
        not_applicable={ELASTICSEARCH: NO_DUMP},
    ),
    Kind(
        name="a gzip bomb",
        tries="A small file unpacks to hundreds of megabytes.",
        must_hold="It is refused without filling a disk or the memory, and live stays as it was.",
        not_applicable={ELASTICSEARCH: NO_DUMP},
    ),
    Kind(
        name="a dump that writes elsewhere",
        tries="A dump holds statements for other databases, accounts or the server.",
        must_hold="None of them is run: the dump is refused, or the object waits until it is live's own.",
        not_applicable={
            MONGODB: ONLY_DOCUMENTS,
            ELASTICSEARCH: NO_DUMP,
            FILES: "see the archive that leaves its directory",
        },
        not_probed={POSTGRESQL: "what code of a dump does while it is restored is not promised"},
    ),
    Kind(
        name="a dump that names whose rights its code has",
        tries="Views, triggers, routines and events of a dump name an administrator, the sync's account, or "
        "one that this server lacks, as the account whose rights they have.",
        must_hold="None of them ever has more rights than who uses it, or than the one database gives.",
        not_applicable={MONGODB: ONLY_DOCUMENTS, ELASTICSEARCH: NO_DUMP, FILES: NO_ROWS},
    ),
    Kind(
        name="an archive that leaves its directory",
        tries="A tar archive holds absolute names, two dots, symlinks, hard links that lead out, or devices.",
        must_hold="It is refused, and nothing is written or read outside of incoming.",
        not_applicable={
            POSTGRESQL: "dumps are no tar archives",
            MYSQL: "dumps are no tar archives",
            MONGODB: "members of a tar are read as documents and never written to disk",
            ELASTICSEARCH: NO_DUMP,
        },
    ),
    Kind(
        name="a dump that points back at its source",
        tries="A dump brings subscriptions, foreign servers, federated tables or their passwords, or "
        "settings of its own cluster.",
        must_hold="None of them is in what becomes live, and no password is in a log.",
        not_applicable={
            MONGODB: "no object of a database holds the address of another server",
            FILES: "no object holds the address of another server",
        },
    ),
    Kind(
        name="names with quotes, percent signs and line breaks",
        tries="Databases and objects are called like SQL, options, URLs, format strings or paths.",
        must_hold="A name is only ever a name: it works or is refused, and nothing else is touched.",
    ),
    Kind(
        name="values that look like SQL or commands",
        tries="Rows hold statements, commands of psql and mysql, and what ends a quote, a COPY or a dump.",
        must_hold="They come down as the same values, and none of them is run.",
    ),
    Kind(
        name="personal values in errors",
        tries="Rows violate constraints, or functions and servers quote them in what they say.",
        must_hold="No value is in an error, a report or a log.",
        not_applicable={FILES: NO_ROWS},
    ),
    Kind(
        name="raw values in logs and profiles",
        tries="The server is set to keep what requests held: slow logs with sources, profiles, images of "
        "before.",
        must_hold="It keeps none of incoming: that is off there, or the sync stops; or it is told (MySQL).",
        not_applicable={FILES: "there is no server"},
        not_probed={POSTGRESQL: "logs are the server's own affair"},
    ),
    Kind(
        name="what the server itself does with a copy",
        tries="A pipeline of the lower server passes on what is written to a copy, or a template gives the "
        "copy another name.",
        must_hold="No pipeline sees a row of a copy, and a copy that has another name is refused.",
        not_applicable={
            POSTGRESQL: "a copy is made from template0, and nothing of the server stands before its tables",
            MYSQL: "nothing of the server stands before a table",
            MONGODB: "nothing of the server stands before a collection",
            FILES: "there is no server",
        },
    ),
    Kind(
        name="passwords in errors and arguments",
        tries="Somebody reads the arguments of running programs, and the errors of a login that fails.",
        must_hold="No password or key is among them.",
        not_applicable={FILES: "there is no login, and no program is run"},
    ),
    Kind(
        name="what a transformation does not reach",
        tries="A statement's condition fits no row, a rule or a trigger turns it into nothing, or a table, "
        "column, collection or index is new and nothing names it.",
        must_hold="The report is a WARNING that names the statement, or what is new. A rule that finds "
        "nothing to look at fails.",
        not_applicable={FILES: NO_ROWS},
    ),
    Kind(
        name="a trigger that undoes a transformation",
        tries="A dump brings triggers or rules that keep what a statement was to change, while the server "
        "counts its rows as changed, or that lead the next statement elsewhere by a setting.",
        must_hold="The report is a WARNING that names trigger and table; what a trigger sets stops the sync.",
        not_applicable={
            MONGODB: ONLY_DOCUMENTS,
            ELASTICSEARCH: "an update by query runs alone",
            FILES: NO_ROWS,
        },
    ),
    Kind(
        name="code of a dump that reaches out of the copy",
        tries="A trigger of a dump changes other databases, roles or settings while a transformation runs.",
        must_hold="The sync stops, and what it changed is undone; or the code is not there yet (MySQL).",
        not_applicable={MONGODB: ONLY_DOCUMENTS, ELASTICSEARCH: NO_DUMP, FILES: NO_ROWS},
    ),
    Kind(
        name="a function that shadows the server's",
        tries="A dump brings a function or operator that is called like the server's and fits the arguments "
        "of a transformation better, so that it runs in place of it.",
        must_hold="The report is a WARNING that names the statement and the function.",
        not_applicable={
            MYSQL: "the server's own functions are always taken first",
            MONGODB: ONLY_DOCUMENTS,
            ELASTICSEARCH: "an update by query holds its own script",
            FILES: NO_ROWS,
        },
    ),
    Kind(
        name="a table in the place of another",
        tries="A dump brings a schema that is called like the sync's role, or a trigger that sets the "
        "search_path, with tables that are called like those that a transformation means; so is a temporary "
        "table of a file before, or of a trigger (MySQL).",
        must_hold="The transformation changes those that it means, and the others are told as new.",
        not_applicable={
            MONGODB: "a transformation works in one database, whose collections have names of their own",
            ELASTICSEARCH: "an update by query names its index",
            FILES: NO_ROWS,
        },
    ),
    Kind(
        name="a transformation that breaks out",
        tries="A transformation commits, rolls back, ends its own session, or never ends.",
        must_hold="There is no proof, so incoming is dropped and live stays as it was.",
        not_applicable={FILES: NO_ROWS},
    ),
    Kind(
        name="raw rows because a line is missing",
        tries="The line of a transformation is deleted, and what came down so is pushed.",
        must_hold="Either is CRITICAL, and nothing is restored or uploaded, until somebody says why.",
    ),
    Kind(
        name="an undo to raw rows",
        tries="Previous holds rows that nobody sanitised, and an undo would make it live again.",
        must_hold="Where sanitising is required it is refused, until somebody types that they know.",
        not_applicable={
            MONGODB: "keeps no previous",
            ELASTICSEARCH: "the aliases are moved back by hand",
        },
    ),
    Kind(
        name="settings that a transformation, live or a role changes",
        tries="What the database, our role or an earlier transformation is set to changes as whom a session "
        "is at work, or which rows it sees; a transformation changes other databases, roles or the server.",
        must_hold="Sessions and transformations begin with our settings; what reaches out is refused.",
        not_applicable={
            ELASTICSEARCH: "requests have no session, and an update by query reaches its index alone",
            FILES: NO_ROWS,
        },
    ),
    Kind(
        name="a raw dump that stays on a worker",
        tries="Steps of one group run on workers that share no disk, fail, are cancelled or killed. Then "
        "somebody reads the disks.",
        must_hold="A dump lies there only while a step may need it, and nothing after the next step on that "
        "worker.",
        not_applicable={ELASTICSEARCH: "clusters hand data to each other; none of it comes to a worker"},
    ),
    Kind(
        name="a connection of another environment",
        tries="A connection leads to another environment's server, or does not say whose it is.",
        must_hold="Nothing on that server is touched.",
    ),
)
