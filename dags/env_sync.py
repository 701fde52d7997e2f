"""Airflow DAGs of Env Sync: one per environment in hieradata.

ENV_SYNC_ENVIRONMENTS (comma-separated) limits which environments this instance generates;
ENV_SYNC_HIERADATA names another folder of hieradata.
"""

from airflow.sdk import get_parsing_context

from env_sync.airflow.dag_factory import make_dag_or_problem
from env_sync.planning.installation import chosen_environments, read_plan

PREFIX = "env_sync_"

# A worker that runs one task asks for one DAG only: the others need not be read then.
wanted = get_parsing_context().dag_id
for environment in chosen_environments():
    dag_id = f"{PREFIX}{environment}"
    if wanted in (None, dag_id):
        globals()[dag_id] = make_dag_or_problem(read_plan(environment))
