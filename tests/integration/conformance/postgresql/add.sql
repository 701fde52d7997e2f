-- Objects that the database which rich.sql made did not have yet.
SET ROLE conf_owner;
CREATE TABLE app.added (id int PRIMARY KEY, note text UNIQUE);
INSERT INTO app.added VALUES (1, 'zq-private note');
CREATE INDEX added_later ON app.people (changed);
ALTER TABLE app.letters ADD COLUMN opened boolean DEFAULT false;
CREATE VIEW app.added_view AS SELECT note FROM app.added;
CREATE FUNCTION app.added_function() RETURNS int LANGUAGE sql AS 'SELECT 42';
RESET ROLE;
