-- Subscribers of email alerts: whom they are, where they live, what they were sent.
-- Runs in one transaction; any error fails the sync, and live stays as it is.

-- What has no use below but to be read: the emails' text is rebuilt by the application when it sends.
TRUNCATE login_links;

-- Every value that tells who somebody is gets overwritten, not searched for patterns in it. The id keeps
-- each address its own, as the unique index asks, and the same in both tables.
UPDATE subscribers SET
    address = CASE WHEN address IS NULL THEN NULL ELSE 'subscriber-' || id || '@example.com' END,
    name = CASE WHEN name IS NULL THEN NULL ELSE 'Subscriber ' || id END,
    telephone = NULL,
    -- Only what is known to be harmless stays: a key that somebody adds next year does not.
    preferences = jsonb_strip_nulls(jsonb_build_object(
        'format', CASE WHEN preferences ->> 'format' IN ('html', 'plain') THEN preferences -> 'format' END,
        'language', CASE WHEN preferences ->> 'language' IN ('en', 'cy') THEN preferences -> 'language' END
    ));

UPDATE emails SET
    address = CASE
        WHEN subscriber_id IS NULL THEN 'former-subscriber@example.com'
        ELSE 'subscriber-' || subscriber_id || '@example.com'
    END,
    subject = 'Subject removed',
    body = 'Body removed (' || length(body) || ' characters).';

-- Now, not before: the trigger on subscribers has just put every old row in here.
TRUNCATE versions RESTART IDENTITY;

REFRESH MATERIALIZED VIEW busiest_subscribers;
