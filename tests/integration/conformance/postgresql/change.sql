-- A day's work in the database that rich.sql made; can be run again.
SET ROLE conf_owner;
SET search_path = app, public;
INSERT INTO people (name, email) SELECT 'zq-private new ' || n, 'n' || n || '@zq-private.example'
FROM generate_series(1, 40) n;
UPDATE people SET name = name || ' again', mood = 'grün' WHERE id % 3 = 0;
DELETE FROM letters WHERE person % 7 = 0;
INSERT INTO visits SELECT count(*) + 5000, '2030-01-01', 'zq-private later' FROM visits;
INSERT INTO visits SELECT count(*) + 9000, '2024-01-01', 'earlier' FROM visits;
UPDATE many_rows SET words = 'changed ' || id WHERE id % 1000 = 0;
SELECT nextval('countdown'), nextval('never_called');
REFRESH MATERIALIZED VIEW counted;
INSERT INTO child VALUES (9, 'more', 1);
SELECT lo_put(4242, 0, 'ZQ');
RESET ROLE;
