CREATE TABLE organisations (
    id bigserial PRIMARY KEY,
    content_id uuid NOT NULL UNIQUE,
    name text NOT NULL,
    slug text NOT NULL UNIQUE
);

CREATE TABLE users (
    id bigserial PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    unconfirmed_email text,
    role text NOT NULL DEFAULT 'normal',
    organisation_id bigint REFERENCES organisations,
    encrypted_password text NOT NULL,
    otp_secret_key text,
    reset_password_token text UNIQUE,
    invitation_token text UNIQUE,
    invited_by_id bigint REFERENCES users,
    current_sign_in_ip inet,
    last_sign_in_ip inet,
    sign_in_count integer NOT NULL DEFAULT 0,
    suspended_at timestamptz,
    reason_for_suspension text
);

CREATE TABLE old_passwords (
    id bigserial PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users,
    encrypted_password text NOT NULL
);

CREATE TABLE oauth_applications (
    id bigserial PRIMARY KEY,
    name text NOT NULL UNIQUE,
    uid text NOT NULL UNIQUE,
    secret text NOT NULL,
    redirect_uri text NOT NULL
);

CREATE TABLE oauth_access_tokens (
    id bigserial PRIMARY KEY,
    resource_owner_id bigint NOT NULL REFERENCES users,
    application_id bigint NOT NULL REFERENCES oauth_applications,
    token text NOT NULL UNIQUE,
    revoked_at timestamptz
);

CREATE TABLE user_application_permissions (
    user_id bigint NOT NULL REFERENCES users,
    application_id bigint NOT NULL REFERENCES oauth_applications,
    permission text NOT NULL,
    PRIMARY KEY (user_id, application_id, permission)
);

CREATE TABLE batch_invitations (
    id bigserial PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users,
    invitees jsonb NOT NULL
);

CREATE TABLE event_logs (
    id bigserial PRIMARY KEY,
    uid uuid NOT NULL,
    event text NOT NULL,
    trailing_message text,
    ip_address inet,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_logs_uid ON event_logs (uid);

CREATE TABLE sessions (
    id bigserial PRIMARY KEY,
    session_id text NOT NULL UNIQUE,
    data text NOT NULL
);
