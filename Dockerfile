# Airflow with Env Sync: one image for every component. The packages are those that the tests run with.
FROM python:3.11-slim-bookworm

# pg_dump must be at least as new as the server, and pg_restore fits the server best in its own version: one
# set of client programs for each. 15 also serves 12, 13 and 14.
ARG POSTGRESQL_VERSIONS="15 16 17 18"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates mariadb-client postgresql-common tini \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends \
        $(for version in $POSTGRESQL_VERSIONS; do echo "postgresql-client-$version"; done) \
    && rm -rf /var/lib/apt/lists/*

COPY requirements.txt /tmp/requirements.txt
# A full lock of wheels with their hashes: nothing is resolved or compiled, and no other file is taken for one.
RUN pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

# What is written to belongs to the user of Airflow; the code belongs to root, so no task can change it.
RUN useradd --uid 50000 --home-dir /var/lib/airflow --shell /usr/sbin/nologin airflow \
    && install --directory --owner=airflow --group=airflow --mode=0750 \
        /var/lib/airflow /var/lib/airflow/logs /var/lib/env_sync \
    && install --directory --owner=airflow --group=airflow --mode=0700 /var/lib/env_sync/work

ENV AIRFLOW_HOME=/var/lib/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/env_sync/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/env_sync/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    ENV_SYNC_WORK_FOLDER=/var/lib/env_sync/work \
    PATH=/opt/env_sync/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

COPY bin/env-sync /opt/env_sync/bin/env-sync
COPY deploy/prepare /opt/env_sync/bin/prepare
COPY dags /opt/env_sync/dags
COPY plugins /opt/env_sync/plugins
COPY include /opt/env_sync/include

USER airflow
WORKDIR /var/lib/airflow
# tini passes a signal to Airflow alone, not to its children: a worker that is stopped lets its tasks finish.
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]
