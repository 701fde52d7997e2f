-- What only MySQL has, from 8.0.
CREATE TABLE keys_of_mysql (
    id int PRIMARY KEY, email varchar(100) COLLATE utf8mb4_0900_as_cs, document json, until date DEFAULT (CURDATE()),
    spot point NOT NULL SRID 4326, many int CHECK (many > 0) NOT ENFORCED,
    KEY by_low ((LOWER(email))), KEY by_tag ((CAST(document->'$.tags' AS UNSIGNED ARRAY))),
    KEY down (many DESC, id), KEY unseen (many) INVISIBLE, SPATIAL KEY spot (spot)
) ENGINE=InnoDB;
INSERT INTO keys_of_mysql VALUES
    (1, 'Person', '{"tags": [1, 2], "word": "ü\\"\\\\"}', '2030-01-01', ST_GeomFromText('POINT(51.5 -0.12)', 4326), -3),
    (2, 'person', '{"tags": []}', '2031-01-01', ST_GeomFromText('POINT(-33.9 18.4)', 4326), 7);
CREATE TABLE key_of_its_own (my_row_id bigint unsigned NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY, a int) ENGINE=InnoDB;
INSERT INTO key_of_its_own (a) VALUES (5), (6);
