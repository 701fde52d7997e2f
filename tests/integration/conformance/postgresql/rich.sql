-- Everything that PostgreSQL has and that a role without superuser rights can restore. Run as a superuser in
-- an empty database that conf_owner owns. Every personal value holds zq-private.

CREATE SCHEMA app AUTHORIZATION conf_owner;
CREATE SCHEMA "Odd schema; -- ""x""" AUTHORIZATION conf_second_owner;
SET ROLE conf_owner;
SET search_path = app, public;

-- Types of our own

CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'it''s "fine"', 'grün');
CREATE DOMAIN app.percent AS numeric(5, 2) DEFAULT 0 NOT NULL CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN app.percent_list AS app.percent[] CHECK (cardinality(VALUE) < 5);
CREATE TYPE app.address AS (street text, "post code" varchar(10), mood app.mood);
CREATE TYPE app.floats AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE COLLATION app.by_bytes (LOCALE = 'C');

-- Functions, procedures, aggregates, operators, casts

CREATE FUNCTION app.half(n numeric, OUT result numeric) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS 'SELECT n / 2';
CREATE FUNCTION app.half(t text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT substr(t, 1, length(t) / 2) $$;
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = app
    AS $body$ BEGIN NEW.changed := timestamptz '2026-01-01'; RETURN NEW; END $body$;
CREATE FUNCTION app.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION app.many(VARIADIC list int[]) RETURNS SETOF int LANGUAGE sql ROWS 7 COST 3
    AS 'SELECT unnest(list)';
CREATE FUNCTION app.body_of_sql(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + 1; END; -- since 14
CREATE PROCEDURE app.tidy(INOUT n int DEFAULT 5) LANGUAGE plpgsql AS 'BEGIN n := n * 2; END';
CREATE AGGREGATE app.product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');
CREATE FUNCTION app.same_mood(a app.mood, b app.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a = b';
CREATE OPERATOR app.=~= (FUNCTION = app.same_mood, LEFTARG = app.mood, RIGHTARG = app.mood);
CREATE FUNCTION app.to_mood(int) RETURNS app.mood LANGUAGE sql IMMUTABLE AS $$ SELECT 'ok'::app.mood $$;
CREATE CAST (int AS app.mood) WITH FUNCTION app.to_mood(int) AS ASSIGNMENT;
COMMENT ON FUNCTION app.half(numeric) IS 'Half of it; with '' and " and \ in the comment';

-- Text search

CREATE TEXT SEARCH CONFIGURATION app.plain (COPY = simple);
CREATE TEXT SEARCH DICTIONARY app.stopless (TEMPLATE = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION app.plain ALTER MAPPING FOR word WITH app.stopless;

-- Sequences

CREATE SEQUENCE app.countdown AS smallint INCREMENT -3 MINVALUE -900 MAXVALUE 900 START 800 CACHE 4 CYCLE;
SELECT nextval('app.countdown'), nextval('app.countdown');
CREATE SEQUENCE app.never_called START 77;

-- Tables

CREATE TABLE app.people (
    id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 2) PRIMARY KEY,
    name text NOT NULL COLLATE app.by_bytes,
    email text NOT NULL,
    changed timestamptz,
    mood app.mood DEFAULT 'ok',
    home app.address,
    shares app.percent_list,
    name_length int GENERATED ALWAYS AS (length(name)) STORED,
    span app.floats,
    manager bigint REFERENCES app.people (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT email_shape CHECK (email ~ '@') ,
    CONSTRAINT "odd name ""of"" a constraint" UNIQUE (email, id) DEFERRABLE
);
ALTER TABLE app.people ALTER COLUMN name SET STATISTICS 500, ALTER COLUMN email SET STORAGE EXTERNAL;
INSERT INTO app.people (name, email, home, shares, span)
SELECT 'zq-private ' || n, 'p' || n || '@zq-private.example', ROW ('zq-private road ' || n, 'AB1', 'sad')::app.address,
       ARRAY [n % 100, 0.5]::app.percent_list, app.floats(n, n + 0.5)
FROM generate_series(1, 300) n;
UPDATE app.people SET manager = 10 WHERE id > 500;
SET CONSTRAINTS ALL IMMEDIATE;
CREATE TABLE app.letters (
    person bigint REFERENCES app.people ON UPDATE CASCADE ON DELETE CASCADE,
    number int,
    body text,
    raw bytea,
    document jsonb,
    PRIMARY KEY (person, number) INCLUDE (body)
);
INSERT INTO app.letters
SELECT id, 1, 'Dear zq-private, ' || repeat('x', 50) || E'\t\n\r\\ "quoted" ''single'' \\N ' || chr(128512),
       decode(md5(id::text), 'hex'), jsonb_build_object('email', email, 'list', jsonb_build_array(1, NULL, 'é'))
FROM app.people;
ALTER TABLE app.letters ADD CONSTRAINT not_checked CHECK (number > 0) NOT VALID;
ALTER TABLE app.letters ADD CONSTRAINT "FK not valid" FOREIGN KEY (person) REFERENCES app.people NOT VALID;

CREATE TABLE app.large (id serial PRIMARY KEY, content text, bytes bytea);
INSERT INTO app.large (content, bytes) VALUES
    (repeat('zq-private ', 300000), NULL),
    (NULL, decode(repeat('00ff5c0a', 500000), 'hex')),
    ('', ''::bytea);

CREATE TABLE app.bookings (
    room int,
    during tsrange,
    EXCLUDE USING gist (during WITH &&) WHERE (room = 1)
);
INSERT INTO app.bookings SELECT 1, tsrange(timestamp '2026-01-01' + n * interval '1 day',
    timestamp '2026-01-01' + (n + 1) * interval '1 day') FROM generate_series(1, 50) n;

-- Many rows, and an index of every method

CREATE TABLE app.many_rows (
    id int PRIMARY KEY, kind int NOT NULL, words text, spot point, tags int[], doc jsonb, seen timestamptz, gap numeric
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.1);
INSERT INTO app.many_rows
SELECT n, n % 17, 'word' || n % 1000, point(n % 100, n / 100), ARRAY [n, n % 7], jsonb_build_object('n', n % 50),
       timestamptz '2026-01-01' + n * interval '1 minute', CASE WHEN n % 3 = 0 THEN NULL ELSE n / 7.0 END
FROM generate_series(1, :many_rows) n;
CREATE INDEX by_tree ON app.many_rows (kind DESC NULLS LAST, words text_pattern_ops) INCLUDE (seen);
CREATE INDEX by_hash ON app.many_rows USING hash (words);
CREATE INDEX by_gist ON app.many_rows USING gist (spot);
CREATE INDEX by_spgist ON app.many_rows USING spgist (spot);
CREATE INDEX by_gin ON app.many_rows USING gin (tags, doc jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX by_brin ON app.many_rows USING brin (seen) WITH (pages_per_range = 16);
CREATE INDEX "By expression; partial" ON app.many_rows (lower(words), (id % 3)) WHERE kind > 3;
CREATE UNIQUE INDEX by_unique ON app.many_rows (id, kind);
CREATE UNIQUE INDEX nulls_together ON app.many_rows (id, gap) ;
CREATE STATISTICS app.kinds (dependencies, ndistinct, mcv) ON kind, words FROM app.many_rows;
ALTER TABLE app.many_rows CLUSTER ON by_tree;
ALTER TABLE app.many_rows REPLICA IDENTITY USING INDEX by_unique;

-- Partitions of each kind, several levels, and inheritance

CREATE TABLE app.visits (id int, at date, place text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE app.visits_2025 PARTITION OF app.visits FOR VALUES FROM (MINVALUE) TO ('2026-01-01')
    PARTITION BY LIST (at);
CREATE TABLE app.visits_2025_rest PARTITION OF app.visits_2025 DEFAULT;
CREATE TABLE app.visits_2026 PARTITION OF app.visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE app.visits_rest PARTITION OF app.visits DEFAULT;
CREATE INDEX ON app.visits (place);
INSERT INTO app.visits SELECT n, date '2025-06-01' + n, 'zq-private place ' || n % 9 FROM generate_series(1, 900) n;
CREATE TABLE app.hashed (id int PRIMARY KEY, note text) PARTITION BY HASH (id);
CREATE TABLE app.hashed_0 PARTITION OF app.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.hashed_1 PARTITION OF app.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO app.hashed SELECT n, 'note ' || n FROM generate_series(1, 100) n;
CREATE TABLE app.parent (id int, kind text DEFAULT 'parent');
CREATE TABLE app.child (extra int NOT NULL, CHECK (id > 0)) INHERITS (app.parent);
INSERT INTO app.parent VALUES (1), (2);
INSERT INTO app.child VALUES (3, 'child', 4);

-- Views, materialised views, rules, triggers

CREATE VIEW app.names (who) WITH (security_barrier) AS SELECT name FROM app.people WHERE id > 20;
CREATE VIEW app.changeable AS SELECT id, name FROM app.people WHERE id < 50 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW app.numbers (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 5;
CREATE MATERIALIZED VIEW app.counted AS SELECT kind, count(*) AS rows FROM app.many_rows GROUP BY kind;
CREATE UNIQUE INDEX ON app.counted (kind);
CREATE MATERIALIZED VIEW app.on_top AS SELECT sum(rows) AS all_rows FROM app.counted;
CREATE MATERIALIZED VIEW app.not_filled AS SELECT 1 AS one WITH NO DATA;
CREATE RULE no_delete AS ON DELETE TO app.letters WHERE OLD.number = 99 DO INSTEAD NOTHING;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE OF name ON app.people FOR EACH ROW EXECUTE FUNCTION app.stamp();
CREATE TRIGGER off BEFORE INSERT ON app.people FOR EACH ROW EXECUTE FUNCTION app.stamp();
ALTER TABLE app.people DISABLE TRIGGER off;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.child DEFERRABLE FOR EACH ROW EXECUTE FUNCTION app.nothing();

-- Row security

ALTER TABLE app.letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_letters ON app.letters FOR SELECT TO "conf reader" USING (number = 1);
CREATE POLICY "restrictive one" ON app.letters AS RESTRICTIVE USING (true) WITH CHECK (number < 1000);

-- Awkward names, several owners

CREATE TABLE app."select; DROP TABLE people; --" ("from" int, "a ""b"" c" text, "ünïcode 😀" text DEFAULT E'x\\y');
INSERT INTO app."select; DROP TABLE people; --" VALUES (1, 'zq-private', E'tab\there');
CREATE TABLE app.sixty_three_bytes_long_name_0123456789012345678901234567890123 (id int);
CREATE TABLE app.no_columns ();
INSERT INTO app.no_columns DEFAULT VALUES;
CREATE TABLE app.unlogged_one (id int);
ALTER TABLE app.unlogged_one SET UNLOGGED;
INSERT INTO app.unlogged_one VALUES (1);
RESET ROLE;
SET ROLE conf_second_owner;
CREATE TABLE "Odd schema; -- ""x""".theirs (id int PRIMARY KEY, who text);
INSERT INTO "Odd schema; -- ""x""".theirs VALUES (1, 'zq-private');
RESET ROLE;
SET ROLE conf_owner;

-- Large objects

SELECT lo_from_bytea(4242, 'zq-private in a large object');
COMMENT ON LARGE OBJECT 4242 IS 'a large object';

-- Grants and default privileges

GRANT USAGE ON SCHEMA app TO "conf reader";
GRANT SELECT ON app.names, app.counted, app.many_rows TO "conf reader" WITH GRANT OPTION;
GRANT SELECT (id, name), UPDATE (name) ON app.people TO "conf reader";
GRANT ALL ON app.letters TO "conf reader";
GRANT USAGE, SELECT ON SEQUENCE app.countdown TO "conf reader";
REVOKE EXECUTE ON FUNCTION app.half(numeric) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.half(numeric) TO "conf reader";
GRANT USAGE ON TYPE app.mood TO "conf reader";
GRANT SELECT ON LARGE OBJECT 4242 TO "conf reader";
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO "conf reader";
ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;

-- Comments

COMMENT ON SCHEMA app IS 'the application';
COMMENT ON TABLE app.people IS E'people,\nin two lines';
COMMENT ON COLUMN app.people.email IS 'an email address';
COMMENT ON INDEX app.by_brin IS 'an index';
COMMENT ON CONSTRAINT email_shape ON app.people IS 'a constraint';
COMMENT ON TRIGGER stamp ON app.people IS 'a trigger';
COMMENT ON TYPE app.mood IS 'a type';
COMMENT ON DOMAIN app.percent IS 'a domain';
COMMENT ON POLICY own_letters ON app.letters IS 'a policy';
COMMENT ON VIEW app.names IS 'a view';
COMMENT ON RULE no_delete ON app.letters IS 'a rule';
COMMENT ON STATISTICS app.kinds IS 'statistics';
COMMENT ON PROCEDURE app.tidy(int) IS 'a procedure';

RESET ROLE;
