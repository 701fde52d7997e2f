"""How long, and how much memory, it takes to make DAGs of hieradata: real files, 1,000 and 5,000 syncs.

    python benchmarks/dag_factory.py

Reads, plans, makes the DAGs and serialises them, each set of files in a process of its own, and prints a
table: seconds of CPU, the best of three rounds; MB of memory beyond that of Airflow itself, and of the
serialised DAGs. The last columns are time and memory per group, as a ratio to the smallest set of files:
growth must be no worse than linear, and the program exits 1 where time per group grows by more than half.
The real files are those of ENV_SYNC_REFERENCE, measured with the engines that are installed and with every
`dbms` taken as installed; syncs that are absent or without an engine are read but make no group.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = os.environ.get("ENV_SYNC_REFERENCE")
ENVIRONMENTS = ("production", "staging", "integration")
SYNCS_PER_NODE_CLASS = 25
STAGES = ("read", "plan", "make", "serialise")
ROUNDS = 3
WORST_GROWTH = 1.5
MEGABYTE = 1_000_000


def generate(folder: Path, syncs: int) -> None:
    """Write hieradata of about this many syncs in three environments, in the shape of the real files."""
    for number, environment in enumerate(ENVIRONMENTS):
        count = (syncs + number) // len(ENVIRONMENTS)
        (folder / environment).mkdir(parents=True)
        for first in range(0, count, SYNCS_PER_NODE_CLASS):
            last = min(first + SYNCS_PER_NODE_CLASS, count)
            lines = ["govuk_env_sync::tasks:"]
            for each in range(first, last):
                lines += sync_lines(environment, each, number)
            file = folder / environment / f"class_{first // SYNCS_PER_NODE_CLASS}_db_admin.yaml"
            file.write_text("\n".join(lines) + "\n")


def sync_lines(environment: str, number: int, level: int) -> list[str]:
    """One sync: by turns a pull and a push of the same database; pushes alone where nothing is above."""
    database = number // 2
    pull = level > 0 and number % 2 == 0
    source = ENVIRONMENTS[level - 1] if pull else environment
    name = f"{'pull' if pull else 'push'}_database_{database}_{number}"
    lines = [
        f"  {name}:",
        "    ensure: present",
        f'    hour: "{(22 + number % 9) % 24}"',
        f'    minute: "{number * 7 % 60}"',
        f"    action: {'pull' if pull else 'push'}",
        "    dbms: postgresql",
        "    storagebackend: s3",
        f"    database: database_{database}_production",
        f"    database_hostname: database-{database // 5}-postgres",
        "    temppath: /tmp/database",
        f"    url: govuk-{source}-database-backups",
        f"    path: database-{database // 5}-postgres",
    ]
    if not pull and level > 0 and number > 0 and number % 10 == 1 and number % 9:
        lines.append(f"    after: pull_database_{database}_{number - 1}")
    return lines


def measure(hieradata: Path, every_dbms: bool) -> dict[str, Any]:
    """Seconds of each stage, the best of a few rounds; and peak memory in bytes beyond the imports."""
    from airflow.serialization.serialized_objects import DagSerialization

    from env_sync.airflow.dag_factory import make_dag
    from env_sync.config.files import environment_names
    from env_sync.config.reader import read_environment
    from env_sync.domain.capabilities import Capabilities
    from env_sync.domain.sync import Action
    from env_sync.engines.registry import offered
    from env_sync.planning.plan import make_plan

    anything = Capabilities(
        previous=True,
        actions=frozenset(Action),
        storagebackends=frozenset({"s3", "elasticsearch"}),
        transformation=True,
        postprocess=True,
        pre_dump_transformation=True,
        excluded_tables=True,
    )
    transformations = hieradata.parent / "transformation_sql"
    before = peak_memory()
    rounds: list[dict[str, float]] = []
    sizes: dict[str, int] = {}
    for _ in range(ROUNDS):
        stages = dict.fromkeys(STAGES, 0.0)
        sizes = {"syncs": 0, "groups": 0, "tasks": 0, "problems": 0, "bytes": 0}
        for name in environment_names(hieradata):
            clock = time.process_time()
            environment = read_environment(hieradata, name, transformations)
            stages["read"] += -clock + (clock := time.process_time())
            dbms = {sync.dbms for sync in environment.syncs}
            plan = make_plan(environment, dict.fromkeys(dbms, anything) if every_dbms else offered())
            stages["plan"] += -clock + (clock := time.process_time())
            dag = make_dag(plan)
            stages["make"] += -clock + (clock := time.process_time())
            serialised = DagSerialization.to_dict(dag)
            stages["serialise"] += time.process_time() - clock
            sizes["syncs"] += len(environment.syncs) + len(environment.bucket_syncs)
            sizes["groups"] += len(plan.groups)
            sizes["tasks"] += len(dag.task_dict)
            sizes["problems"] += len(plan.problems)
            sizes["bytes"] += len(json.dumps(serialised))
        rounds.append(stages)
    best = min(rounds, key=lambda stages: sum(stages.values()))
    return {**sizes, "stages": best, "memory": peak_memory() - before}


def peak_memory() -> int:
    """The most memory, in bytes, that this process has had so far; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_process(hieradata: Path, home: Path, every_dbms: bool) -> dict[str, Any]:
    """The same in a process of its own, so that no run profits from the memory of the one before."""
    done = subprocess.run(
        [sys.executable, __file__, str(hieradata), "every" if every_dbms else "installed"],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": str(ROOT / "plugins"),
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def row(name: str, measured: dict[str, Any], smallest: dict[str, Any]) -> str:
    """One line of the table."""
    stages = measured["stages"]
    return (
        f"{name:<24}{measured['syncs']:>6}{measured['groups']:>7}{measured['tasks']:>7}"
        + "".join(f"{stages[stage]:>11.3f}" for stage in STAGES)
        + f"{sum(stages.values()):>8.3f}"
        + f"{measured['memory'] / MEGABYTE:>8.1f}{measured['bytes'] / MEGABYTE:>9.2f}"
        + f"{per_group(measured) * 1000:>10.2f}{per_group(measured) / per_group(smallest):>7.2f}"
        + f"{memory_per_group(measured) / memory_per_group(smallest):>8.2f}"
    )


def per_group(measured: dict[str, Any]) -> float:
    """Seconds for each group that is made."""
    return float(sum(measured["stages"].values()) / max(measured["groups"], 1))


def memory_per_group(measured: dict[str, Any]) -> float:
    """Bytes for each group that is made."""
    return float(max(measured["memory"], 1) / max(measured["groups"], 1))


def main() -> int:
    """Print the table; 1 where growth is worse than linear."""
    print(
        f"{'':<24}{'syncs':>6}{'groups':>7}{'tasks':>7}"
        + "".join(f"{stage + ' s':>11}" for stage in STAGES)
        + f"{'all s':>8}{'MB':>8}{'DAGs MB':>9}{'ms/group':>10}{'time x':>7}{'memory x':>8}"
    )
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "airflow"
        if REFERENCE:
            for every in (False, True):
                real = in_process(Path(REFERENCE), home, every)
                print(row(f"real, {'every dbms' if every else 'as installed'}", real, real), flush=True)
        smallest: dict[str, Any] | None = None
        for syncs in (155, 1_000, 5_000):
            hieradata = Path(folder) / f"{syncs}" / "hieradata"
            generate(hieradata, syncs)
            measured = in_process(hieradata, home, every_dbms=False)
            smallest = smallest or measured
            print(row("generated", measured, smallest), flush=True)
            worst = max(worst, per_group(measured) / per_group(smallest))
    return 1 if worst > WORST_GROWTH else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]), every_dbms=sys.argv[2] == "every")))
    else:
        raise SystemExit(main())
