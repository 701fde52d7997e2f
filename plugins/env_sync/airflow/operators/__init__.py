"""Operators: thin; each fetches Airflow's context, calls one step, and gives its small result to XCom."""
