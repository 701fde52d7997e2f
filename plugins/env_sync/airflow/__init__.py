"""All that imports Airflow: DAGs, operators, and how connections, variables and states are looked up."""
