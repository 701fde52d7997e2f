CREATE TYPE frequency AS ENUM ('immediately', 'daily', 'weekly');

CREATE TABLE subscriber_lists (
    id bigserial PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    title text NOT NULL,
    links jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE subscribers (
    id bigserial PRIMARY KEY,
    address text,
    name text,
    telephone text,
    -- What the sign-up form was told: postcode, notes, how to write to them.
    preferences jsonb NOT NULL DEFAULT '{}',
    deactivated_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX subscribers_address ON subscribers (lower(address));

CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subscriber_id bigint NOT NULL REFERENCES subscribers,
    subscriber_list_id bigint NOT NULL REFERENCES subscriber_lists,
    frequency frequency NOT NULL,
    ended_at timestamptz,
    UNIQUE (subscriber_id, subscriber_list_id)
);

CREATE TABLE emails (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subscriber_id bigint REFERENCES subscribers ON DELETE SET NULL,
    address text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    status text NOT NULL,
    sent_at timestamptz
);
CREATE INDEX emails_address ON emails (address);
CREATE INDEX emails_subscriber_id ON emails (subscriber_id);

CREATE TABLE login_links (
    id bigserial PRIMARY KEY,
    subscriber_id bigint NOT NULL REFERENCES subscribers ON DELETE CASCADE,
    token text NOT NULL UNIQUE,
    ip_address inet,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Every change of a subscriber keeps what was there before: whoever overwrites an address writes the old one here.
CREATE TABLE versions (
    id bigserial PRIMARY KEY,
    item_id bigint NOT NULL,
    object jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.versions (item_id, object) VALUES (OLD.id, to_jsonb(OLD));
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_version AFTER UPDATE ON subscribers FOR EACH ROW EXECUTE FUNCTION keep_version();

CREATE VIEW subscribers_per_list AS
    SELECT l.slug, s.frequency, count(*) AS subscribers
    FROM subscriber_lists l JOIN subscriptions s ON s.subscriber_list_id = l.id
    WHERE s.ended_at IS NULL
    GROUP BY l.slug, s.frequency;

CREATE MATERIALIZED VIEW busiest_subscribers AS
    SELECT r.address, count(*) AS emails
    FROM emails e JOIN subscribers r ON r.id = e.subscriber_id
    GROUP BY r.address ORDER BY count(*) DESC, r.address LIMIT 100;
