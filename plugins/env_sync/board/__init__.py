"""The board: the page, its API, and what both read. It runs in Airflow's api-server."""
