CREATE TABLE local_authorities (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    slug text NOT NULL UNIQUE,
    gss text NOT NULL UNIQUE,
    tier text NOT NULL,
    parent_id bigint REFERENCES local_authorities,
    homepage_url text
);

CREATE TABLE services (
    id bigserial PRIMARY KEY,
    lgsl_code integer NOT NULL UNIQUE,
    label text NOT NULL
);

CREATE TABLE links (
    id bigserial PRIMARY KEY,
    local_authority_id bigint NOT NULL REFERENCES local_authorities,
    service_id bigint NOT NULL REFERENCES services,
    url text,
    status text,
    UNIQUE (local_authority_id, service_id)
);
