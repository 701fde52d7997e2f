"""What is known of an engine stands in its descriptor, and a line of the registry adds one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.config.reader import read_environment
from env_sync.domain.capabilities import Capabilities
from env_sync.domain.database_name import Refusal, Use
from env_sync.domain.engine_descriptor import DumpFormat, EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines import registry
from env_sync.engines.base import accepted_readers, readers
from env_sync.engines.base.engine_class import engine_class
from env_sync.engines.dump_format import describe_format
from env_sync.engines.registry import DESCRIPTORS, offered
from env_sync.planning.plan import make_plan
from tests.imports import imported, strings
from tests.unit.memory_engine import MemoryEngine

PACKAGE = Path(registry.__file__).parents[1]
POSTPROCESSES = ("redact_last_part", "replace_text", "rewrite_domain")
IN_DOMAIN = {"domain/sync.py", *(f"domain/postprocess/{name}.py" for name in POSTPROCESSES)}
"""What decides by an engine's name although it is not in its package: docs/architecture.md says why."""
SHIPPED = "config/shipped.py"
"""The databases of an example, and what they are."""
FROM_EXTRA = r'extra(?:\.get\(|\[)"(\w+)"'
SHARED = {
    **{
        f"{module.__name__}.{name}": value
        for module in (accepted_readers, readers)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and value.replace("_", "").isalpha()
    },
    f"{readers.__name__}.accepted_by": readers.ACCEPTED,
}
"""What several engines read from an extra, by what is imported for it."""


# An engine that is added


def refusals(database: str, use: Use) -> Iterator[Refusal]:
    """A toy's rule."""
    if use is Use.REPLACED and database == "heap":
        yield Refusal(right="the heap is never replaced", error="heap is reserved.")


MEMORY = EngineDescriptor(
    name="memory",
    label="Memory",
    engine="tests.unit.memory_engine:MemoryEngine",
    capabilities=Capabilities(
        actions=frozenset({Action.PUSH, Action.PULL}),
        storagebackends=frozenset({"s3"}),
        transformation=True,
        postprocess=False,
        pre_dump_transformation=False,
        excluded_tables=False,
        previous=True,
    ),
    refusals=refusals,
    dump_formats=(DumpFormat(begins=b"memory", name="a line of memory"),),
)
HIERADATA = """\
govuk_env_sync::tasks:
  "pull_cache": &pull
    {hour: 3, minute: 30, action: pull, dbms: memory, storagebackend: s3, database: cache,
     url: govuk-staging-database-backups, path: cache, transformation_sql_filename: sanitise.sql}
  "pull_heap":
    <<: *pull
    database: heap
"""


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the registry."""
    monkeypatch.setitem(DESCRIPTORS, MEMORY.name, MEMORY)


@pytest.mark.usefixtures("memory")
def test_an_engine_that_is_added_has_its_place_everywhere(tmp_path: Path) -> None:
    (tmp_path / "integration.yaml").write_text(HIERADATA)
    (tmp_path / "sanitise.sql").write_text("more")
    environment = read_environment(tmp_path, "integration", tmp_path)
    assert [str(problem) for problem in environment.problems] == [
        "integration.yaml:7: `database` is `heap`; the heap is never replaced"
    ]
    plan = make_plan(environment, offered())
    assert [(group.id, group.steps) for group in plan.groups] == [
        ("pull_cache", ("start_gate", "download", "restore", "sanitise", "promote", "report"))
    ]
    assert (plan.left_out, plan.undo) == ((), {"cache": "pull_cache"})
    assert engine_class("memory") is MemoryEngine
    assert describe_format(b"memory of a database") == "a line of memory"


@pytest.mark.usefixtures("memory")
def test_what_it_does_not_offer_is_a_problem_in_its_name(tmp_path: Path) -> None:
    text = HIERADATA.replace("storagebackend: s3", "storagebackend: elasticsearch").replace("heap", "stack")
    (tmp_path / "integration.yaml").write_text(text)
    (tmp_path / "sanitise.sql").write_text("more")
    assert {problem.read for problem in read_environment(tmp_path, "integration", tmp_path).problems} == {
        "`storagebackend` is `elasticsearch` for `memory`"
    }


def test_until_then_nobody_knows_it(tmp_path: Path) -> None:
    (tmp_path / "integration.yaml").write_text(HIERADATA)
    (tmp_path / "sanitise.sql").write_text("more")
    assert {problem.read for problem in read_environment(tmp_path, "integration", tmp_path).problems} == {
        "`dbms` is `memory`"
    }


# Those that there are


def test_nothing_outside_of_engines_decides_by_their_names() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] != "engines"]
    assert {
        str(file.relative_to(PACKAGE)) for file in files if not DESCRIPTORS.keys().isdisjoint(strings(file))
    } == {*IN_DOMAIN, SHIPPED}


@pytest.mark.parametrize("dbms", DESCRIPTORS)
def test_its_class_is_found(dbms: str) -> None:
    assert DESCRIPTORS[dbms].name == dbms
    assert engine_class(dbms).__module__ == DESCRIPTORS[dbms].engine.partition(":")[0]


@pytest.mark.parametrize("dbms", DESCRIPTORS)
def test_it_says_what_it_reads_from_the_extra_of_a_connection(dbms: str) -> None:
    package = PACKAGE / "engines" / DESCRIPTORS[dbms].engine.split(".")[2]
    files = [file for file in package.rglob("*.py") if file.name != "descriptor.py"]
    shared = {SHARED[name] for file in files for name, _ in imported(file) if name in SHARED}
    named = {match[1] for file in files for match in re.finditer(FROM_EXTRA, file.read_text())}
    assert named | shared <= DESCRIPTORS[dbms].extra
    assert DESCRIPTORS[dbms].extra <= shared.union(*map(strings, files))


@pytest.mark.parametrize("dbms", DESCRIPTORS)
def test_the_pages_name_what_it_reads_there(dbms: str) -> None:
    pages = "".join(page.read_text() for page in (PACKAGE.parents[1] / "docs").glob("*.md"))
    assert {field for field in DESCRIPTORS[dbms].extra if not re.search(rf"`\W*{field}\b", pages)} == set()
