-- Takes every value that holds zq-private out of what the samples make.
DO $$
DECLARE
    there record;
BEGIN
    FOR there IN
        SELECT a.attrelid::regclass AS name, quote_ident(a.attname) AS col
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
          AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)
          AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
    LOOP
        EXECUTE format('UPDATE %s SET %s = replace(%s, ''zq-private'', ''redacted'') WHERE %s LIKE ''%%zq-private%%''',
            there.name, there.col, there.col, there.col);
    END LOOP;
    IF to_regclass('app.letters') IS NOT NULL THEN
        UPDATE app.letters SET document = NULL;
        UPDATE app.people SET home = NULL;
        PERFORM lo_put(oid, 0, convert_to('redacted, every byte of it, whatever it was', 'UTF8'))
        FROM pg_largeobject_metadata;
    END IF;
    IF to_regclass('public.every_type') IS NOT NULL THEN
        TRUNCATE public.every_type;
    END IF;
END
$$;
