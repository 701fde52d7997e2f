-- The owner of the example's databases, in each environment.

\set ON_ERROR_STOP on

CREATE ROLE publishing NOLOGIN;
GRANT publishing TO env_sync;
