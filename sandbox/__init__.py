"""Real servers on this machine for the tests and the demo: PostgreSQL, S3 and Airflow.

Each server is a value with `start`, `stop` and `kill`, is bound to 127.0.0.1 and keeps everything that it
writes in one folder. None outlives the Python process that started it, however that process ends.
"""
