"""Elasticsearch for the conformance suite: two clusters, with a login before each, and a repository."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from attrs import frozen
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from env_sync.engines.elasticsearch.names import STATE
from env_sync.engines.elasticsearch.session import quoted
from sandbox.elasticsearch import ElasticsearchServer
from sandbox.elasticsearch_gate import ElasticsearchGate
from tests.integration.conformance.drivers.elasticsearch import ElasticClient
from tests.integration.conformance.dumps import Dumps
from tests.integration.conformance.elasticsearch.bad_snapshots import bad_snapshots
from tests.integration.conformance.elasticsearch.rich import (
    add_rich,
    add_what_never_comes_down,
    ask,
    change_rich,
    fill_rich,
    fill_small,
)
from tests.integration.conformance.elasticsearch.snapshots import SnapshotDumps
from tests.integration.conformance.subject import (
    PRIVATE,
    SOURCE,
    TARGET,
    BadDump,
    BadTransformation,
    Reading,
    Subject,
)

SECRET = "a password of the conformance suite"  # of logins at clusters of this suite alone
SYNC, POWERLESS = "env_sync", "conf_powerless"
PASSWORDS = {SYNC: SECRET, POWERLESS: SECRET}
COPY = re.compile(r"env-sync-[0-9a-f]{12}-(.+)")
TRANSFORMATION = """\
# Takes every personal value out of what the suite makes.
- update_by_query: "*-people*"
  query: {exists: {field: email}}
  script: {lang: set_field, source: email, params: {value: nobody@example.com}}
- delete_by_query: "*-people*"
  query: {term: {kind: letter}}
"""
OF_PEOPLE = (
    '- {update_by_query: "*-people*", query: {match_all: {}}, script: {lang: set_field, source: seen}}',
    '- {delete_by_query: "*-people*", query: {match_none: {}}}',
)
OF_ITS_CLUSTER = ("index.blocks.", "index.lifecycle.", "index.routing.allocation.")
"""How settings begin that mean something on the cluster that they come from alone."""
OF_EACH = (
    *("creation_date", "history.uuid", "number_of_replicas", "provided_name", "uuid"),
    *("verified_before_close", "version.created", "version.upgraded"),
)
"""Settings that each cluster gives, or that depend on how many nodes it has."""
PATTERNS = ("*", "_all", "*{database}*", "env-sync*", "env-*,{database}*", ".*", "*,-nothing")
"""What applications ask for, that know no full name of an index of Env Sync."""
WRITING = "*reindex,*byquery"
"""The actions of tasks that write."""
BEGINS = re.compile(r"(PUT|POST) /_snapshot/|POST \S+/_(reindex|update_by_query|delete_by_query)\b")
"""How requests begin whose answer comes before what they ask for is done."""
BUCKET = "there is no bucket: the cluster writes a snapshot into its repository, and reads it, by itself"


class NothingThereError(Exception):
    """What an application looks for is not there."""


@frozen
class Standing:
    """An index as it stands on a cluster: its name there, by which applications know it, and the rest."""

    index: str
    name: str
    body: Mapping[str, Any]

    @property
    def aliases(self) -> Mapping[str, Any]:
        """Those that it has, with what belongs to each."""
        aliases: Mapping[str, Any] = self.body["aliases"]
        return aliases

    @property
    def settings(self) -> Mapping[str, str]:
        """With their full names."""
        settings: Mapping[str, str] = self.body["settings"]
        return settings

    @property
    def hidden(self) -> bool:
        """Whether wildcards do not find it."""
        return self.settings.get("index.hidden") == "true"

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self.settings.get("index.verified_before_close") == "true"

    @property
    def is_copy(self) -> bool:
        """Whether Env Sync made it."""
        return COPY.fullmatch(self.index) is not None


class ElasticsearchSubject(Subject):
    """Clusters of one node each. A database is the indices whose names begin with its name."""

    dbms = "elasticsearch"
    refusals = (ApiError, TransportError, NothingThereError)
    driver = ElasticClient()
    has_store = False
    steps = {"dump": "snapshot"}
    lacks_steps = {"upload": BUCKET, "download": BUCKET}
    # Each takes some hundred milliseconds from the push to the end of the pull.
    many = 60
    # Whoever may read an index by its name may do so before it is there.
    closed_at_first = False
    warns_at_first = False
    # Without security it does not tell who else could read incoming.
    warns_of_pulls = True
    cut_after = 1_500
    slow_rate = 200_000
    statements_of_people = OF_PEOPLE
    not_applicable = {
        "test_a_dump_that_is_not_its_manifests": "a snapshot tells of itself what it holds",
        "test_a_push_tells_of_an_exclusion_that_excludes_nothing": "`excluded_indices` are patterns for "
        "indices that may come later",
        **dict.fromkeys(
            (
                "test_a_full_disk",
                "test_what_one_worker_fetched_and_another_restored",
                "test_what_one_worker_dumped_and_another_uploaded",
                "test_one_worker_fetches_and_dumps_once",
                "test_what_a_killed_step_left",
                "test_what_a_run_left_that_is_over_without_a_report",
                "test_a_step_that_fails_for_good_leaves_nothing",
            ),
            "nothing is kept on a worker's disk",
        ),
    }

    def __init__(
        self,
        name: str,
        source: ElasticsearchServer,
        target: ElasticsearchServer,
        gates: Mapping[str, ElasticsearchGate],
    ) -> None:
        self.name = name
        self.servers = {SOURCE: source, TARGET: target}
        self.gates = gates

    # Servers

    def connection(self, environment: str) -> dict[str, object]:
        return self._connection(environment, SYNC)

    def connection_without_rights(self, environment: str, database: str) -> dict[str, object]:
        return self._connection(environment, POWERLESS)

    def _connection(self, environment: str, user: str) -> dict[str, object]:
        connection = self.servers[environment].airflow_connection(timeout=20)
        return {**connection, "port": self.gates[environment].port, "login": user, "password": SECRET}

    def stop(self, environment: str) -> None:
        self.servers[environment].kill()

    def start(self, environment: str) -> None:
        server = self.servers[environment]
        if server.running:
            return
        server.begin()
        # A copy that was being made may never be whole again.
        server.wait("*,-env-sync-*")
        with self._client(environment) as client:
            wanted = [index for index, body in _all(client).items() if body["aliases"]]
        server.wait(",".join(map(quoted, wanted)) or "*,-env-sync-*")

    def dumps(self, database: str) -> Dumps:
        # A folder as well: not every name of a database is one.
        repository = f"conf-{hashlib.sha256(database.encode()).hexdigest()[:12]}"
        return SnapshotDumps(
            self.servers,
            database,
            repository,
            {
                "storagebackend": "elasticsearch",
                "url": repository,
                "indices": [f"{database}-*", f"{database}-named-hidden"],
            },
        )

    # Databases

    def fill(self, environment: str, database: str, generation: str, rows: int, *, private: bool) -> None:
        domain = f"{PRIVATE}.example" if private else "example.com"
        people = {
            str(number): {
                "generation": generation,
                "email": f"{generation}-{number}@{domain}",
                "noise": hashlib.sha256(f"{generation}{number}".encode()).hexdigest(),
            }
            for number in range(1, rows + 1)
        }
        if private:
            # The transformation deletes it.
            people["letter"] = {"kind": "letter", "email": f"letter@{PRIVATE}.example"}
        with self._client(environment) as client:
            fill_small(client, database, generation, people)

    def fill_rich(self, environment: str, database: str) -> None:
        with self._client(environment) as client:
            fill_rich(client, database)
            if environment == SOURCE:
                add_what_never_comes_down(client, database)

    def change_rich(self, environment: str, database: str) -> None:
        with self._client(environment) as client:
            change_rich(client, database)

    def add_rich(self, environment: str, database: str) -> None:
        with self._client(environment) as client:
            add_rich(client, database)

    def fill_empty(self, environment: str, database: str) -> None:
        # A cluster without an index of the name has no such database.
        with self._client(environment) as client:
            client.indices.create(index=f"{database}-empty", settings={"index.number_of_replicas": 0})

    def fill_tables(self, environment: str, database: str, count: int) -> None:
        with self._client(environment) as client:
            for number in range(count):
                settings = {"index.number_of_shards": 1, "index.number_of_replicas": 0}
                client.indices.create(index=f"{database}-index-{number}", settings=settings)
                client.index(index=f"{database}-index-{number}", id="1", document={"note": "note"})
            client.indices.refresh(index=f"{database}-index-*")

    def drop(self, environment: str, database: str) -> None:
        with self._client(environment) as client:
            for each in self._standing(client, database):
                _delete(client, each.index)
            for kind in ("_index_template", "_component_template", "_template"):
                for name in _templates(client, kind, database):
                    ask(client, "DELETE", f"/{kind}/{name}")
            for record in ("incoming-pull", "live-pull", "taking-push"):
                ask(client, "DELETE", f"/{STATE}/_doc/{record}?refresh=true", ignoring=404)

    def picture(self, environment: str, database: str) -> Mapping[str, str]:
        return dict(self._picture(environment, database))

    def never_comes_down(self, environment: str, database: str) -> list[str]:
        found = []
        with self._client(environment) as client:
            for each in self._live(client, database):
                if not self._is_about(each):
                    found.append(each.name)
                found += [f"{each.name}: {name}" for name in each.settings if name.startswith(OF_ITS_CLUSTER)]
        return found

    def whole_text(self, environment: str, database: str) -> bytes:
        with self._client(environment) as client:
            live = [each for each in self._live(client, database) if not each.closed]
            found = [(each.name, each.body, list(_documents(client, each))) for each in live]
        return json.dumps(found).encode()

    def transformation(self) -> str:
        return TRANSFORMATION

    def bad_transformations(self) -> Mapping[str, BadTransformation]:
        good = (
            '- {update_by_query: "*-people*", query: {match_all: {}}, script: {lang: set_field, source: x}}\n'
        )
        wrong = good.replace("set_field", "no_such_language")
        # The field is a number, and the error of the server quotes the document.
        number = "{lang: set_field, source: number, params: {value: no number}}"
        row = f'- {{update_by_query: "*-people*", query: {{match_all: {{}}}}, script: {number}}}\n'
        stored = '- {update_by_query: "*-people*", query: {match_all: {}}, script: {id: stored}}\n'
        return {
            "first": BadTransformation(text=wrong + good + good, says="line 1 .*failed on .*: "),
            "middle": BadTransformation(text=good + wrong + good, says="line 2 .*failed on .*: "),
            "last": BadTransformation(text=good + good + wrong, says="line 3 .*failed on .*: "),
            "row": BadTransformation(text=good + row, says="line 2 .*failed on .*: mapper_parsing_exception"),
            "raise": BadTransformation(
                text=good + "- {delete_by_query: '*-people*', query: {nonsense: {}}}\n",
                says="line 2 .*failed on .*: parsing_exception",
            ),
            "not closed": BadTransformation(
                text=good + "- {delete_by_query: [", says="line 2: it is no YAML"
            ),
            "commit": BadTransformation(
                text=good + "- {reindex: people}\n", says="line 2: .*must begin with"
            ),
            "copy": BadTransformation(text=good + stored, says="line 2: `script` needs its text"),
            "missing table": BadTransformation(
                text=good + "- {delete_by_query: '*-pepole*', query: {match_all: {}}}\n",
                says=r"line 2 \(delete_by_query \*-pepole\*\): incoming has no index of this name",
            ),
        }

    def bad_dumps(self, good: bytes, other: bytes) -> Mapping[str, BadDump]:
        return bad_snapshots(good, other)

    # Watching

    def read(self, environment: str, database: str) -> Reading:
        return self.reader(environment, database)()

    def reader(self, environment: str, database: str) -> Callable[[], Reading]:
        client = self._client(environment)
        query = {
            "size": 0,
            "track_total_hits": True,
            "aggs": {
                "generations": {"terms": {"field": "generation"}},
                "private": {"filter": {"wildcard": {"email": f"*{PRIVATE}*"}}},
            },
        }

        def read() -> Reading:
            found = ask(client, "POST", f"/{database}-people/_search", query)
            assert not found["_shards"]["failed"], found
            generations = sorted(each["key"] for each in found["aggregations"]["generations"]["buckets"])
            rows = found["hits"]["total"]["value"]
            return Reading("+".join(generations), rows, found["aggregations"]["private"]["doc_count"])

        return read

    def write(self, environment: str, database: str) -> None:
        with self._client(environment) as client:
            client.index(index=f"{database}-notes", document={"note": "written"})

    def intruders(self, environment: str, database: str) -> Mapping[str, Callable[[], None]]:
        client = self._client(environment)
        query = {"size": 1000, "_source": False, "query": {"wildcard": {"email": f"*{PRIVATE}*"}}}

        def look(pattern: str) -> Callable[[], None]:
            def attempt() -> None:
                found = ask(client, "POST", f"/{pattern}/_search?ignore_unavailable=true", query)
                if not any(database in hit["_index"] for hit in found["hits"]["hits"]):
                    raise NothingThereError

            return attempt

        patterns = [pattern.format(database=database) for pattern in PATTERNS]
        return {f"a search in {pattern}": look(pattern) for pattern in patterns}

    def copies(self, environment: str, database: str) -> set[str]:
        with self._client(environment) as client:
            told = self._told(client)
            return {_copy(each, told) for each in self._standing(client, database)}

    def is_open(self, environment: str, database: str) -> bool:
        return True

    def sessions(self, environment: str, database: str) -> list[str]:
        with self._client(environment) as client:
            nodes = ask(client, "GET", f"/_tasks?detailed=true&actions={WRITING}")["nodes"]
        tasks = [task for node in nodes.values() for task in node["tasks"].values()]
        return [task["description"] for task in tasks if f"-{database}-" in task["description"]]

    def forge_proof(self, environment: str, database: str) -> None:
        with self._client(environment) as client:
            document = client.get(index=STATE, id="incoming-pull")["_source"]
            stamp = document["record"]["stamp"]
            assert stamp["state"] == "raw"
            stamp |= {"state": "sanitised", "holder": {**stamp["holder"], "attempt": "another"}}
            client.index(index=STATE, id="incoming-pull", document=document, refresh=True)

    def break_stamp(self, environment: str, database: str) -> None:
        with self._client(environment) as client:
            document = client.get(index=STATE, id="live-pull")["_source"]
            del document["record"]["stamp"]["state"]
            client.index(index=STATE, id="live-pull", document=document, refresh=True)

    def forget_leases(self, environment: str) -> None:
        with self._client(environment) as client:
            ask(client, "DELETE", f"/{STATE}", ignoring=404)
            # Of these nobody knows any more whose they were: the next copy would drop them.
            for index, body in _all(client).items():
                if COPY.fullmatch(index) and not body["aliases"]:
                    _delete(client, index)

    def is_done(self, begun: str) -> bool:
        return not BEGINS.match(begun) or all(map(self._is_at_rest, self.servers))

    # Parts

    def _is_at_rest(self, environment: str) -> bool:
        """Whether a cluster takes or restores no snapshot, and has no task that writes."""
        with self._client(environment) as client:
            taken = ask(client, "GET", "/_snapshot/_status")["snapshots"]
            health = ask(client, "GET", "/_cluster/health/env-sync-*?expand_wildcards=all")
            nodes = ask(client, "GET", f"/_tasks?actions={WRITING}")["nodes"]
        return not (taken or health["initializing_shards"] or health["status"] == "red" or nodes)

    def _client(self, environment: str) -> Elasticsearch:
        return self.servers[environment].client()

    def _standing(self, client: Elasticsearch, database: str) -> Iterator[Standing]:
        """All indices of a database, whatever they are."""
        for index, body in sorted(_all(client).items()):
            copy = COPY.fullmatch(index)
            name = copy[1] if copy else index
            if name.startswith(f"{database}-"):
                yield Standing(index, name, body)

    def _live(self, client: Elasticsearch, database: str) -> list[Standing]:
        told = self._told(client)
        return [each for each in self._standing(client, database) if _copy(each, told) == "live"]

    def _told(self, client: Elasticsearch) -> dict[str, str]:
        """What Env Sync says of indices that are live no more."""
        found = ask(client, "GET", f"/{STATE}/_doc/live-pull", ignoring=404)
        record = found.get("_source", {}).get("record", {})
        told = dict.fromkeys(record.get("previous", ()), "previous")
        return told | dict.fromkeys(record.get("leaving", ()), "replaced")

    def _is_about(self, index: Standing) -> bool:
        """Whether the syncs of the suite are about an index of live."""
        return not (index.closed or index.hidden) or index.name.endswith("-named-hidden")

    def _picture(self, environment: str, database: str) -> Iterator[tuple[str, str]]:
        with self._client(environment) as client:
            for each in self._live(client, database):
                if not self._is_about(each):
                    continue
                aliases = {name: each.aliases[name] for name in each.aliases if name != each.name}
                settings = {
                    name: value
                    for name, value in each.settings.items()
                    if not name.startswith(OF_ITS_CLUSTER)
                    and name.removeprefix("index.") not in OF_EACH
                    and (name, value) != ("index.hidden", "false")
                }
                said = (each.body["mappings"], sorted(settings.items()), aliases)
                yield f"definition of {each.name}", json.dumps(said, sort_keys=True)
                documents = sorted(json.dumps(one, sort_keys=True) for one in _documents(client, each))
                rows = hashlib.sha256("\n".join(documents).encode()).hexdigest()
                yield f"rows of {each.name}", f"{len(documents)} {rows}"
            for kind in ("_index_template", "_component_template", "_template"):
                for name, template in _templates(client, kind, database).items():
                    if not name.endswith("-other"):
                        text = json.dumps(template, sort_keys=True)
                        # Which some versions tell of all templates, and others of those that have components.
                        yield f"{kind} {name}", text.replace('"composed_of": [], ', "")


class CopyingSubject(ElasticsearchSubject):
    """The same where the target copies straight from the source."""

    steps = {"dump": "snapshot", "restore": "copy"}
    pull_options = {"action": "copy", "source_hostname": "conformance-above"}


class Startable(Protocol):
    """A cluster that has a port."""

    port: int


def make_gate(server: Startable) -> ElasticsearchGate:
    """The login before a cluster."""
    return ElasticsearchGate(server.port, PASSWORDS, [POWERLESS])


def _copy(index: Standing, told: Mapping[str, str]) -> str:
    """Which copy an index belongs to."""
    if index.index in told and not index.aliases:
        return told[index.index]
    return "live" if index.aliases or not index.is_copy else "incoming"


def _all(client: Elasticsearch) -> dict[str, Any]:
    """All indices of a cluster, by name."""
    found: dict[str, Any] = ask(client, "GET", "/*?expand_wildcards=all&flat_settings=true")
    return found


def _documents(client: Elasticsearch, index: Standing) -> Iterator[tuple[object, ...]]:
    """Each document of an index with its routing."""
    query = {"size": 10_000, "query": {"match_all": {}}}
    found = ask(client, "POST", f"/{quoted(index.index)}/_search?expand_wildcards=all", query)
    assert not found["_shards"]["failed"], found
    for hit in found["hits"]["hits"]:
        yield hit["_id"], hit.get("_routing"), hit.get("_source")


def _templates(client: Elasticsearch, kind: str, database: str) -> dict[str, Any]:
    """The templates of a kind that belong to a database."""
    found = ask(client, "GET", f"/{kind}")
    if kind != "_template":
        found = {each["name"]: each for each in found[f"{kind.removeprefix('_')}s"]}
    return {name: template for name, template in found.items() if name.startswith(f"{database}-")}


def _delete(client: Elasticsearch, index: str) -> None:
    """Delete an index, as soon as no snapshot is taken of it."""
    deadline = time.monotonic() + 30
    while "snapshot_in_progress" in str(ask(client, "DELETE", f"/{quoted(index)}", ignoring=400)):
        assert time.monotonic() < deadline, index
        time.sleep(0.05)
