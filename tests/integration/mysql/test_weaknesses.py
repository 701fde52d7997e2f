"""All weaknesses of a server at once: the look before the night names each."""

from __future__ import annotations

from pathlib import Path

import pytest

from env_sync.domain.finding import Finding
from env_sync.engines.mysql.lease import MAKE_TABLES
from tests.integration.mysql.stage import SECRET, Stage
from tests.integration.weaknesses import are_named

RAN = "INSERT INTO env_sync.seen VALUES (1)"
IN_LEASES = (
    *MAKE_TABLES,
    "CREATE TABLE seen (id int)",
    f"CREATE TRIGGER on_lease BEFORE INSERT ON lease FOR EACH ROW {RAN}",
    f"CREATE TRIGGER on_journal AFTER DELETE ON journal FOR EACH ROW {RAN}",
    f"CREATE PROCEDURE own() {RAN}",
    f"CREATE EVENT each_day ON SCHEDULE EVERY 1 DAY DO {RAN}",
    "ALTER TABLE journal ADD COLUMN more int",
    "ALTER TABLE was_live ENGINE=MyISAM",
)
GRANTS = {
    "dev": "ALL ON `env%`.*",
    "reads_all": "SELECT ON *.*",
    "reads_some": "SELECT ON `{}%`.*",
    "reads_a_table": "SELECT ON `{}__incoming`.users",
    "guesses": "INDEX ON `%`.*",
}

WATCHING = {
    "acts": "SET USER ON *.*",
    "sets": "CONNECTION ADMIN ON *.*",
    "writes": "INSERT ON mysql.db",
    "proxy": "USAGE ON *.*",
    "sees": "PROCESS ON *.*",
    "files": "FILE ON *.*",
}


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.probe("leases that somebody else made or may change")
def test_each_of_all_weaknesses_is_named(stage: Stage) -> None:
    server, live = stage.server, stage.database
    file = stage.transformation("UPDATE users SET id = 2;")
    before = {each.what for each in found(stage, file)}
    server.execute("GRANT CREATE USER ON *.* TO env_sync")
    server.execute("CREATE DATABASE env_sync CHARACTER SET utf8mb4")
    server.run(IN_LEASES, database="env_sync")
    copies = [f"{live}__{copy}" for copy in ("incoming", "outgoing", "previous", "replaced")]
    for copy in copies:
        server.execute(f"CREATE DATABASE `{copy}`")
        server.execute("CREATE TABLE users (id int)", database=copy)
    server.execute("CREATE DATABASE refers")
    server.execute(
        f"CREATE TABLE more (id int, FOREIGN KEY refer (id) REFERENCES `{live}`.users (id))",
        database="refers",
    )
    for name, grant in WATCHING.items():
        server.create_account(name, SECRET, grant)
    server.execute(
        "REPLACE INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, Grantor) "
        "VALUES ('%', 'proxy', '%', 'env_sync', '')"
    )
    for name, grant in GRANTS.items():
        server.create_account(name, SECRET, grant.format(live))
    elsewhere = stage.transformation("DELETE FROM refers.more;", "elsewhere.sql")
    server.execute(f"GRANT SELECT ON `{live}__incoming`.* TO acts")
    staying = server.connect(f"{live}__incoming", "acts", SECRET)
    server.execute(f"REVOKE SELECT ON `{live}__incoming`.* FROM acts")
    server.execute("SET GLOBAL init_connect = 'DO 1'")
    try:
        looked = [each for each in found(stage, elsewhere) if each.what not in before]
    finally:
        server.execute("SET GLOBAL init_connect = ''")
        staying.close()
        # What it refers to cannot be dropped before it.
        server.execute("DROP DATABASE refers")
    lease = "problem: Database env_sync on .*"

    def reader(name: str) -> str:
        return f"problem: {name}@% could read {live}__incoming before it is sanitised"

    are_named(
        {
            "CREATE USER": r"problem: .*env_sync is an administrator of .*\(CREATE USER ON",
            **{name: reader(name) for name in GRANTS if name != "dev"},
            "acts as anybody": r"problem: .*acts@% \(by SET USER\).*can read what is put into a copy",
            "sets what runs as us": r"problem: .*sets@% \(by CONNECTION ADMIN\).*can read what is put",
            "writes grants": r"problem: .*writes@% \(by writing the tables of grants\).*can read what is put",
            "is in incoming": rf"problem: .*acts@127\.0\.0\.1 \(by session \d+ in {live}__incoming\)",
            "runs as us": "problem: The setting init_connect of .*run as account env_sync",
            "logs in for us": r"problem: .*proxy@% \(by PROXY\).*can read what is put into a copy",
            "sees statements": r"note: .*sees@% \(by PROCESS\).*may see rows",
            "reads files": r"problem: .*files@% \(by FILE\).*can read what is put into a copy",
            "dev writes leases": rf"{lease}dev@% by a grant ON `env%`",
            "guesses writes leases": rf"{lease}guesses@% by a grant ON `%`",
            "a trigger": f"{lease}trigger on_lease on lease is there",
            "a trigger of the journal": f"{lease}trigger on_journal on journal is there",
            "a procedure": f"{lease}procedure own is there",
            "an event": f"{lease}event each_day is there",
            "another column": f"{lease}table journal has not the columns",
            "another engine": f"{lease}was_live is no plain table",
            **{
                f"{copy} in the way": f"problem: There is a database {live}__{copy} .*{why}"
                for copy, why in (
                    ("incoming", "Env Sync did not make"),
                    ("outgoing", "Env Sync did not make"),
                    ("previous", "does not say that it was ever live"),
                    ("replaced", "does not say that it was ever live"),
                )
            },
            "a key of another database": "problem: Foreign keys of other databases .*refers.more",
            "a transformation of another database": "problem: .*elsewhere.sql.*refers",
        },
        looked,
    )
    # Dropping the account leaves this.
    server.execute("DELETE FROM mysql.proxies_priv WHERE User = 'proxy'")


def found(stage: Stage, file: Path) -> list[Finding]:
    engine = stage.engine()
    return [*engine.preflight_server(), *engine.preflight([file], None).findings]
