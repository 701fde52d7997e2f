-- The role of Env Sync on a PostgreSQL server: no superuser, nothing that RDS does not have. Run it as the
-- administrator (on RDS: the master user), once a server. The password comes by the environment, so that no
-- list of processes shows it:
--
--   SYNC_ROLE_PASSWORD=... psql --host=... --username=... --dbname=postgres --file=deploy/role.sql

\set ON_ERROR_STOP on
\getenv password SYNC_ROLE_PASSWORD

-- CREATEDB: incoming is a database of its own, and so is the small one that holds the leases.
CREATE ROLE env_sync LOGIN CREATEDB PASSWORD :'password';

-- To end the sessions in live at the moment of the swap.
GRANT pg_signal_backend TO env_sync;

-- And the owner of each database, and of the objects in it, so that they stay the owners:
--
--   GRANT <owner> TO env_sync;
--
-- Never the other way round: who is a member of env_sync could read what is not sanitised yet. The engine
-- looks, and refuses to restore then. From PostgreSQL 16 on, whoever runs this and is no superuser has ADMIN
-- OPTION on env_sync: each pull warns of that until `accepted_readers` in the connection's extra names the role.
