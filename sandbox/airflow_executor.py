"""The executor of the sandbox's Airflow: a LocalExecutor whose workers have imported what tasks need.

A task runs in a process that is forked from its worker, and imports there whatever the worker has not: the
DAG's own package, boto3, the drivers. That takes a second of a core for each task, most of what a short one
takes. Nothing else is different, except that no task imports the package in an order of its own: what only
fails in some order shows where the DAG processor imports it, and in the tests of the DAGs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from airflow.executors.local_executor import LocalExecutor

AIRFLOW = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.amazon.aws.hooks.s3",
)
PACKAGE = "env_sync"
ONLY_OF_THE_API_SERVER = ("env_sync.board", "env_sync.cli")


class PreloadingExecutor(LocalExecutor):
    """Imports before it forks its workers."""

    def start(self) -> None:
        """Import, then start the workers."""
        for name in (*AIRFLOW, *_modules()):
            importlib.import_module(name)
        super().start()


def _modules() -> Iterator[str]:
    """The modules of the package that the DAGs are made with; none where this Airflow runs other DAGs."""
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        return
    for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not module.name.startswith(ONLY_OF_THE_API_SERVER):
            yield module.name
