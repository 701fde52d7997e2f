-- Content: what is published is public. What is not: drafts that only some may see, and who worked on what.
-- Runs in one transaction; any error fails the sync, and live stays as it is.

-- 1. Access-limited drafts go, with everything that hangs on them. Whatever an edition was before its
-- limit (its state does not matter), a row in access_limits says that it is not for everybody.
CREATE TEMPORARY TABLE limited ON COMMIT DROP AS
    SELECT e.id, e.document_id, e.base_path, d.content_id
    FROM editions e JOIN documents d ON d.id = e.document_id
    WHERE EXISTS (SELECT FROM access_limits a WHERE a.edition_id = e.id);
CREATE INDEX ON limited (id);

DELETE FROM access_limits;
DELETE FROM change_notes WHERE edition_id IN (SELECT id FROM limited);
DELETE FROM links WHERE edition_id IN (SELECT id FROM limited);
DELETE FROM editions WHERE id IN (SELECT id FROM limited);

-- Documents that nothing else is left of, with their links in both directions.
CREATE TEMPORARY TABLE gone ON COMMIT DROP AS
    SELECT DISTINCT l.document_id, l.content_id FROM limited l
    WHERE NOT EXISTS (SELECT FROM editions e WHERE e.document_id = l.document_id);
DELETE FROM documents WHERE id IN (SELECT document_id FROM gone);
DELETE FROM gone g WHERE EXISTS (SELECT FROM documents d WHERE d.content_id = g.content_id);
DELETE FROM links
    WHERE link_set_id IN (SELECT s.id FROM link_sets s JOIN gone USING (content_id))
       OR target_content_id IN (SELECT content_id FROM gone);
DELETE FROM link_sets WHERE content_id IN (SELECT content_id FROM gone);

-- A path can say as much as a title.
DELETE FROM path_reservations p
    WHERE p.base_path IN (SELECT base_path FROM limited)
      AND NOT EXISTS (SELECT FROM editions e WHERE e.base_path = p.base_path);

-- Made of drafts, and made again by the application.
DELETE FROM expanded_links
    WHERE with_drafts OR content_id IN (SELECT content_id FROM limited);

-- 2. The log of requests repeats all of the above, and who asked.
TRUNCATE events;

-- 3. Editions that stay: no keys to previews, no notes among colleagues, no addresses in their text.
CREATE FUNCTION pg_temp.without_addresses(written text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(written, '[^[:space:]"<>()\[\],;:@]+@[^[:space:]"<>()\[\],;:@]+', 'address-removed@example.com', 'g')
$$;
-- Value by value: a pattern over the whole of a JSON text would take the "n" of a line break for a letter.
CREATE FUNCTION pg_temp.without_addresses(written jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE jsonb_typeof(written)
        WHEN 'string' THEN to_jsonb(pg_temp.without_addresses(written #>> '{}'))
        WHEN 'array' THEN (
            SELECT coalesce(jsonb_agg(pg_temp.without_addresses(value) ORDER BY place), '[]')
            FROM jsonb_array_elements(written) WITH ORDINALITY AS items (value, place)
        )
        WHEN 'object' THEN (
            SELECT coalesce(jsonb_object_agg(pg_temp.without_addresses(key), pg_temp.without_addresses(value)), '{}')
            FROM jsonb_each(written)
        )
        ELSE written
    END;
END
$$;
UPDATE editions SET
    auth_bypass_ids = '{}',
    details = pg_temp.without_addresses(details - 'internal_notes' - 'editors');
UPDATE change_notes SET note = pg_temp.without_addresses(note) WHERE note LIKE '%@%';
