-- Users of the publishing applications. Their uids stay, since other databases refer to them; nothing that
-- tells who they are, and nothing that lets anybody in, does.
-- Runs in one transaction; any error fails the sync, and live stays as it is.

TRUNCATE event_logs, old_passwords, oauth_access_tokens, batch_invitations;

-- Production's push leaves this table out; a dump that somebody takes by hand may not.
DO $$
BEGIN
    IF to_regclass('sessions') IS NOT NULL THEN
        TRUNCATE sessions;
    END IF;
END
$$;

UPDATE users SET
    name = 'User ' || id,
    email = 'user-' || id || '@example.com',
    unconfirmed_email = NULL,
    -- No password has this as its hash.
    encrypted_password = '!',
    otp_secret_key = NULL,
    reset_password_token = NULL,
    invitation_token = NULL,
    current_sign_in_ip = NULL,
    last_sign_in_ip = NULL,
    reason_for_suspension = CASE WHEN reason_for_suspension IS NULL THEN NULL ELSE 'Reason removed' END;

-- Applications must not speak to each other across environments with production's secrets.
UPDATE oauth_applications SET
    uid = md5('uid' || id || random()::text),
    secret = md5('secret' || id || random()::text);
