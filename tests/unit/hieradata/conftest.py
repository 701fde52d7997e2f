from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import frozen

from env_sync.config.reader import read_environment
from env_sync.domain.environment import Environment
from env_sync.domain.problem import Problem

PULL = {
    "hour": "3",
    "minute": "30",
    "action": "pull",
    "dbms": "postgresql",
    "storagebackend": "s3",
    "database": "content_production",
    "database_hostname": "content-postgres",
    "url": "govuk-staging-database-backups",
    "path": "content-postgres",
}
PUSH = {**PULL, "action": "push", "url": "govuk-integration-database-backups", "hour": "5"}
MIRROR = {
    "hour": "0",
    "minute": "45",
    "source_bucket": "govuk-staging-assets",
    "destination_bucket": "govuk-integration-assets",
    "delete": "true",
}


@frozen
class Hieradata:
    """A folder of hieradata in the making."""

    folder: Path
    transformations: Path

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def read(self, environment: str = "integration") -> Environment:
        return read_environment(self.folder, environment, self.transformations)

    def syncs(
        self,
        syncs: Mapping[str, Mapping[str, str]],
        *,
        environment: str = "integration",
        top: str = "",
        key: str = "tasks",
    ) -> Environment:
        """Write one file with these syncs, values as YAML text, and read its environment."""
        lines = [top, f"govuk_env_sync::{key}:"] if top else [f"govuk_env_sync::{key}:"]
        for name, fields in syncs.items():
            lines.append(f"  {name}:")
            lines.extend(f"    {field}: {value}" for field, value in fields.items())
        self.write(f"{environment}.yaml", "\n".join(lines) + "\n")
        return self.read(environment)

    def one(self, fields: Mapping[str, str], **more: str) -> Problem:
        """Return the only problem of an environment with one sync, which it takes away."""
        environment = self.syncs({"one": fields}, **more)
        assert environment.syncs == ()
        assert environment.bucket_syncs == ()
        (problem,) = environment.problems
        assert problem.sync == "one"
        return problem


@pytest.fixture
def hieradata(tmp_path: Path) -> Hieradata:
    folder, transformations = tmp_path / "hieradata", tmp_path / "transformation_sql"
    folder.mkdir()
    transformations.mkdir()
    (transformations / "sanitise.sql").write_text("DELETE FROM emails;\n")
    return Hieradata(folder, transformations)


@pytest.fixture
def pull() -> dict[str, str]:
    return dict(PULL)


@pytest.fixture
def push() -> dict[str, str]:
    return dict(PUSH)


@pytest.fixture
def mirror() -> dict[str, str]:
    return dict(MIRROR)
