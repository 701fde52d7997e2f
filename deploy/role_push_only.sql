-- The role of Env Sync where it only pushes, as in production: it can read everything and write nothing.
-- For PostgreSQL 14 and later. Run it as deploy/role.sql is run.

\set ON_ERROR_STOP on
\getenv password SYNC_ROLE_PASSWORD

CREATE ROLE env_sync LOGIN PASSWORD :'password';
GRANT pg_read_all_data TO env_sync;
