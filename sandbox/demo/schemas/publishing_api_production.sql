CREATE TABLE documents (
    id bigserial PRIMARY KEY,
    content_id uuid NOT NULL,
    locale text NOT NULL DEFAULT 'en',
    UNIQUE (content_id, locale)
);

CREATE TABLE editions (
    id bigserial PRIMARY KEY,
    document_id bigint NOT NULL REFERENCES documents,
    state text NOT NULL CHECK (state IN ('draft', 'published', 'superseded', 'unpublished')),
    user_facing_version integer NOT NULL DEFAULT 1,
    base_path text,
    title text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    last_edited_by_editor_id uuid,
    auth_bypass_ids text[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (document_id, user_facing_version)
);
CREATE UNIQUE INDEX editions_one_draft ON editions (document_id) WHERE state = 'draft';
CREATE INDEX editions_body ON editions USING gin (to_tsvector('english', title));

CREATE TABLE access_limits (
    id bigserial PRIMARY KEY,
    edition_id bigint NOT NULL UNIQUE REFERENCES editions,
    users jsonb NOT NULL DEFAULT '[]',
    organisations jsonb NOT NULL DEFAULT '[]'
);

CREATE TABLE change_notes (
    id bigserial PRIMARY KEY,
    edition_id bigint NOT NULL REFERENCES editions,
    note text NOT NULL
);

CREATE TABLE link_sets (
    id bigserial PRIMARY KEY,
    content_id uuid NOT NULL UNIQUE
);

CREATE TABLE links (
    id bigserial PRIMARY KEY,
    link_set_id bigint REFERENCES link_sets,
    edition_id bigint REFERENCES editions,
    target_content_id uuid NOT NULL,
    link_type text NOT NULL
);
CREATE INDEX links_target ON links (target_content_id);

-- Rendered ahead of time from editions and their links, drafts included.
CREATE TABLE expanded_links (
    id bigserial PRIMARY KEY,
    content_id uuid NOT NULL,
    with_drafts boolean NOT NULL,
    expanded_links json NOT NULL
);

CREATE TABLE path_reservations (
    id bigserial PRIMARY KEY,
    base_path text NOT NULL UNIQUE,
    publishing_app text NOT NULL
);

-- Each request of a publishing application, with everything that it sent.
CREATE TABLE events (
    id bigserial PRIMARY KEY,
    action text NOT NULL,
    content_id uuid NOT NULL,
    user_uid uuid,
    payload json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_content_id ON events (content_id);
