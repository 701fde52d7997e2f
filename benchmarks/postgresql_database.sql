-- The database that benchmarks/postgresql.py copies, made by the server alone and the same each time. "scale" is
-- 1.0 for about 1 GB, 730 MB of it rows: 800,000 email addresses, emails that were sent to them, editions; and 13
-- indexes.

-- Text that compresses as an application's does, about five to one: words out of a small dictionary, and whole
-- sentences that come again.
CREATE TEMPORARY TABLE sentences AS
SELECT n AS number, (
    SELECT string_agg(
        (string_to_array('the of and to in a is that for it as was with be by on not he his but at are this have from '
            'or had an they which one you were her all their there been if more when will would who so no said what '
            'up its about into than them can only other new some could time these two may then do first any my now '
            'such like our over man me even most made after also did many before must through back years where much '
            'your way well down should because each just those people how too little state good very make world '
            'still own see men work long get here between both life being under never day same another know while '
            'last might us great old year off come since against go came right used take three guidance published '
            'updated change page email subscription government service licence passport vehicle tax benefit', ' ')
        )[1 + hashint8(n * 1000 + k) % 89 + 89], ' ')
    FROM generate_series(1, 18) k
) || '.' AS text
FROM generate_series(0, 299) n;
ANALYZE sentences;

CREATE TABLE subscribers (
    id bigint PRIMARY KEY,
    address text NOT NULL,
    signon_user_uuid uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
INSERT INTO subscribers
SELECT n, 'person.' || substr(md5(n::text), 1, 8) || n || '@mail-' || n % 97 || '.example',
    CASE WHEN n % 5 = 0 THEN md5('user' || n)::uuid END,
    timestamptz '2026-01-01' - n * interval '97 seconds', timestamptz '2026-01-01' - n * interval '13 seconds'
FROM generate_series(1, (800000 * {scale})::bigint) n;
CREATE UNIQUE INDEX subscribers_address ON subscribers (address);
CREATE INDEX subscribers_lower_address ON subscribers (lower(address));
CREATE INDEX subscribers_signon_user_uuid ON subscribers (signon_user_uuid);
CREATE INDEX subscribers_created_at ON subscribers (created_at);

CREATE TABLE emails (
    id bigint PRIMARY KEY,
    subscriber_id bigint NOT NULL REFERENCES subscribers ON DELETE CASCADE,
    status int NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL
);
INSERT INTO emails
SELECT n, 1 + n * 7919 % (800000 * {scale})::bigint, n % 4, left(a.text, 60), concat_ws(' ', a.text, b.text, c.text, d.text),
    timestamptz '2026-01-01' - n * interval '61 seconds'
FROM generate_series(1, (900000 * {scale})::bigint) n
JOIN sentences a ON a.number = n * 31 % 300
JOIN sentences b ON b.number = n * 17 % 299
JOIN sentences c ON c.number = n * 101 % 297
JOIN sentences d ON d.number = n * 223 % 293;
CREATE INDEX emails_subscriber_id ON emails (subscriber_id);
CREATE INDEX emails_created_at ON emails (created_at);
CREATE INDEX emails_failed ON emails (status, created_at) WHERE status = 3;

CREATE TABLE editions (
    id bigint PRIMARY KEY,
    content_id uuid NOT NULL,
    base_path text NOT NULL,
    state text NOT NULL,
    details jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (content_id)
);
INSERT INTO editions
SELECT n, md5('edition' || n)::uuid, '/guidance/' || replace(left(a.text, 40), ' ', '-') || n,
    (ARRAY['draft', 'published', 'superseded'])[1 + n % 3],
    jsonb_build_object('title', left(b.text, 80), 'tags', n % 7,
        'body', concat_ws(' ', a.text, b.text, c.text, d.text, c.text, a.text)),
    timestamptz '2026-01-01' - n * interval '301 seconds'
FROM generate_series(1, (350000 * {scale})::bigint) n
JOIN sentences a ON a.number = n * 37 % 300
JOIN sentences b ON b.number = n * 19 % 299
JOIN sentences c ON c.number = n * 103 % 297
JOIN sentences d ON d.number = n * 211 % 293;
CREATE INDEX editions_base_path ON editions (base_path);
CREATE INDEX editions_state_updated_at ON editions (state, updated_at);

DROP TABLE sentences;
