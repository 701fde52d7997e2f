-- Editions of Whitehall: who wrote them, who may see a draft, and the drafts that not everybody may.
-- Each statement must succeed; any error fails the sync, and live stays as it was.

-- Their notes and authors go with them, by their foreign keys.
DELETE FROM editions WHERE access_limited = 1;

UPDATE users SET
    name = CONCAT('User ', id),
    email = CONCAT('user-', id, '@example.com'),
    telephone = NULL,
    api_token = NULL;

UPDATE editions SET
    body = CONCAT('Body removed (', CHAR_LENGTH(body), ' characters).');

-- What people wrote to each other may hold anything.
DELETE FROM editorial_remarks;
DELETE FROM fact_checks;
