"""Elasticsearch clusters of one node, of 7.17 and of 8.19, put together from Maven Central.

Both lack most of what is not the core: no security, no ingest, no Painless; 8.19 has neither reindex nor
update and delete by query.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from attrs import frozen
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from env_sync.engines.elasticsearch.quiet_node import QuietNode
from sandbox import process
from sandbox.process import Process, SandboxError, ServerMissing
from sandbox.server import Server

RECIPE = Path(__file__).with_name("elasticsearch_build")
OLDER = "7.17.29"
NEWER = "8.19.21"
VERSIONS = (OLDER, NEWER)
ADVICE = "on Debian: apt-get install openjdk-17-jdk-headless maven"

SETTINGS: Mapping[str, str] = {
    "network.host": "127.0.0.1",
    "discovery.type": "single-node",
    "xpack.security.enabled": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    # Tests take and drop many small indices.
    "cluster.max_shards_per_node": "5000",
}
HEAP = "256m"


@frozen(kw_only=True)
class _Part:
    """A module or plugin that is to be described to its server."""

    folder: str
    name: str
    main: str
    module: bool


class ElasticsearchServer(Server):
    """A cluster of one node with its data in one folder: made by the first start, kept by later ones.

    It listens on 127.0.0.1 alone and asks nobody for a password. Snapshot repositories of the type `fs` may
    lie in `repositories`, a folder that several clusters can share.
    """

    def __init__(
        self,
        folder: Path,
        version: str = NEWER,
        *,
        repositories: Path | None = None,
        name: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are added to those in SETTINGS; ServerMissing where it is not built and cannot be."""
        super().__init__(folder)
        self.version = version
        self.name = name or self.folder.name
        self.port = 0
        self.repositories = (repositories or self.folder / "repositories").resolve()
        self._user = process.unprivileged_user()
        self._distribution = distribution(version)
        self._settings = {**SETTINGS, **(settings or {})}

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> Self:
        """Starts it, and waits until it answers."""
        self.begin()
        self.wait()
        return self

    def begin(self) -> None:
        """Starts it without waiting, so that several can start side by side; `wait` then waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        self.port = process.choose_port(self.folder, self.port)
        for each in ("data", "config", "logs", "tmp"):
            process.give_folder(self.folder / each, self._user)
        process.give_folder(self.repositories, self._user)
        self._configure()
        programs = process.readable_copy(
            self._distribution.parent,
            [self._distribution.name],
            self._distribution.parent.name,
            self._user,
        )
        java = java_home()
        self._process = Process(
            f"Elasticsearch {self.name}",
            [programs / self._distribution.name / "bin" / "elasticsearch"],
            log=self.log,
            env={
                "PATH": os.defpath,
                "HOME": str(self.folder / "tmp"),
                "ES_JAVA_HOME": str(java),
                "ES_PATH_CONF": str(self.folder / "config"),
                "ES_TMPDIR": str(self.folder / "tmp"),
                "ES_JAVA_OPTS": f"-Xms{HEAP} -Xmx{HEAP} -XX:TieredStopAtLevel=1 -XX:-AlwaysPreTouch",
                "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -Xmx64m",
            },
            cwd=self.folder / "tmp" if self._user is None else Path("/"),
            user=self._user,
            grace=30,
        )
        self._process.start()

    def wait(self, indices: str = "*") -> None:
        """Waits until it answers, and has every shard of these indices."""
        if self._process is None:
            raise SandboxError(f"Elasticsearch {self.name} was not started")
        self._process.wait_until(lambda: self._answers(indices))

    def client(self) -> Elasticsearch:
        """A client, for the caller to close."""
        return Elasticsearch(self.url, node_class=QuietNode, request_timeout=30, max_retries=0)

    def airflow_connection(self, **extra: object) -> dict[str, object]:
        """An Airflow connection to this server, as Airflow reads it from JSON."""
        return {
            "conn_type": "elasticsearch",
            "host": self.host,
            "port": self.port,
            "login": "",
            "password": "",
            "extra": {"scheme": "http", **extra},
        }

    def register_repository(
        self, name: str, folder: str | None = None, *, verify: bool = True, **settings: object
    ) -> None:
        """Registers a snapshot repository in a folder below `repositories`, its own name unless said.

        Where one of that name is registered, it gets these settings. With `verify` the cluster looks whether
        it can use it, by writing there.
        """
        place = self.repositories / (folder or name)
        body = {"type": "fs", "settings": {"location": str(place), **settings}}
        with self.client() as client:
            client.snapshot.create_repository(name=name, verify=verify, body=body)

    def clear(self) -> None:
        """Removes all indices, templates and repositories."""
        with self.client() as client:
            for name in client.indices.get(index="*", expand_wildcards="all"):
                client.indices.delete(index=name)
            for template in client.indices.get_index_template()["index_templates"]:
                client.indices.delete_index_template(name=template["name"])
            for name in client.snapshot.get_repository():
                client.snapshot.delete_repository(name=name)

    def _configure(self) -> None:
        """Writes its configuration anew, for the ports may be others."""
        given = self._distribution / "config"
        ours = self.folder / "config"
        # A heap dump or a log of the collector would land in the distribution.
        kept = [
            line
            for line in (given / "jvm.options").read_text().splitlines()
            if not any(word in line for word in ("gc*", "HeapDump", "ErrorFile"))
        ]
        # A range: another process may take a free port before this one does.
        transport = process.free_port()
        settings = {
            "cluster.name": self.name,
            "node.name": self.name,
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "path.repo": str(self.repositories),
            "http.port": str(self.port),
            "transport.port": f"{transport}-{min(transport + 100, 65535)}",
            **self._settings,
        }
        texts = {
            "elasticsearch.yml": "".join(f"{name}: {value}\n" for name, value in settings.items()),
            "jvm.options": "\n".join(kept) + "\n",
            "log4j2.properties": (given / "log4j2.properties").read_text(),
        }
        for name, text in texts.items():
            (ours / name).write_text(text)
            if self._user is not None:
                os.chown(ours / name, self._user.pw_uid, self._user.pw_gid)

    def _answers(self, indices: str) -> bool:
        try:
            with self.client() as client:
                health: Any = client.cluster.health(
                    index=indices, expand_wildcards="all", wait_for_status="yellow", timeout="1s"
                )
        except (ApiError, TransportError):
            return False
        return not health["timed_out"]


def distribution(version: str) -> Path:
    """The folder of a version, put together on first use (a minute for both) and then kept in the cache.

    ServerMissing where it is not built and there is no Java or Maven to build it with.
    """
    home = _kept(version)
    if not home.exists():
        _build()
    return home / f"elasticsearch-{version}"


def java_home() -> Path:
    """The JDK that runs it and builds its plugins. ServerMissing, with what to install, where none is."""
    compiler = shutil.which("javac")
    if compiler is None:
        raise ServerMissing(f"Elasticsearch needs a JDK of 17 or later, and there is no javac; {ADVICE}")
    return Path(compiler).resolve().parent.parent


def can_start() -> bool:
    """Whether it is built, for all versions, and there is a JDK to run it with."""
    return shutil.which("javac") is not None and all(_kept(version).exists() for version in VERSIONS)


def _kept(version: str) -> Path:
    """Where a version is kept; built from another recipe it would be another place."""
    recipe = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(RECIPE.iterdir())))
    return process.cache_folder() / f"elasticsearch-{version}-{recipe.hexdigest()[:12]}"


def _build() -> None:
    """Builds both versions, each whole or not at all."""
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerMissing(f"Elasticsearch is not built yet, and there is no Maven (mvn) to do it; {ADVICE}")
    tools = java_home() / "bin"
    cache = process.cache_folder()
    making = Path(tempfile.mkdtemp(prefix="elasticsearch.", dir=cache))
    try:
        for file in RECIPE.iterdir():
            shutil.copy(file, making)
        process.run([maven, "-q", "-B", "package"], cwd=making, seconds=1200)
        target = making / "target"
        older, newer = (target / f"elasticsearch-{version}" for version in VERSIONS)
        parts = {
            older: [
                _Part(
                    folder="modules/reindex",
                    name="reindex",
                    main="org.elasticsearch.reindex.ReindexPlugin",
                    module=True,
                ),
                _Part(
                    folder="modules/mapper-extras",
                    name="mapper-extras",
                    main="org.elasticsearch.index.mapper.MapperExtrasPlugin",
                    module=True,
                ),
                _Part(
                    folder="plugins/set-field", name="set-field", main="sandbox.SetFieldPlugin", module=False
                ),
            ],
            newer: [_Part(folder="plugins/root", name="root", main="sandbox.RootPlugin", module=False)],
        }
        for home, version in zip((older, newer), VERSIONS, strict=True):
            for part in parts[home]:
                folder = home / part.folder
                folder.mkdir(parents=True, exist_ok=True)
                if not part.module:
                    _compile(tools, home, part, making)
                (folder / "plugin-descriptor.properties").write_text(_descriptor(part, version))
        shutil.copy(RECIPE / "reindex.policy", older / "modules" / "reindex" / "plugin-security.policy")
        for home, version in zip((older, newer), VERSIONS, strict=True):
            _open_to_all(home)
            place = making / version
            place.mkdir(mode=0o755)
            home.rename(place / home.name)
            if not _kept(version).exists():
                place.rename(_kept(version))
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _compile(tools: Path, home: Path, part: _Part, making: Path) -> None:
    source = making / f"{part.main.rpartition('.')[2]}.java"
    classes = making / part.name
    libraries = home / "lib" / "*"
    process.run(
        [tools / "javac", "-nowarn", "-d", classes, "-cp", libraries, source], cwd=making, seconds=120
    )
    archive = home / part.folder / f"{part.name}.jar"
    process.run([tools / "jar", "cf", archive, "-C", classes, "."], cwd=making, seconds=60)


def _descriptor(part: _Part, version: str) -> str:
    """What a server reads about a module or plugin before it loads it."""
    lines = {
        "type": "isolated",
        "name": part.name,
        "description": part.name,
        "version": version,
        "elasticsearch.version": version,
        "java.version": "17" if version == NEWER else "1.8",
        "classname": part.main,
    }
    if version == NEWER:
        del lines["type"]
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _open_to_all(folder: Path) -> None:
    """Lets every user read a folder, and run what its owner may run."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


if __name__ == "__main__":
    if "--built" in sys.argv[1:]:
        sys.exit(not can_start())
    try:
        sys.stdout.write("".join(f"{distribution(version)}\n" for version in VERSIONS))
    except SandboxError as problem:
        sys.exit(str(problem))
