-- Changes in each corner; can be done again.
INSERT INTO authors (email, name) VALUES (CONCAT(UUID(), '@zq-private.example'), 'zq-private newcomer');
UPDATE authors SET name = CONCAT('zq-private ', id, ' again') WHERE id % 100 = 0;
DELETE FROM authors WHERE id = (SELECT id FROM (SELECT MIN(id) AS id FROM authors) first_one);
INSERT INTO books (author_id, title) SELECT MAX(id), NULL FROM authors;
INSERT INTO visits SELECT MAX(id) + 1, '2031-01-01', '10.1.1.1' FROM visits;
UPDATE every_type SET some_text = CONCAT(COALESCE(some_text, ''), 'x') WHERE id = 2;
INSERT INTO old_engine (note) VALUES ('more');
