UPDATE keys_of_mysql SET document = JSON_SET(document, '$.more', id) WHERE id = 2;
INSERT INTO key_of_its_own (a) VALUES (7);
