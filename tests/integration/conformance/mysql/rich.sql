-- Everything that a database can hold, as the application's account makes it.
SET sql_mode = 'NO_ENGINE_SUBSTITUTION';
CREATE TABLE every_type (
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    tiny tinyint, small smallint, medium mediumint, whole int, big bigint, yes boolean,
    exact decimal(65,30), single_float float, double_float double, bits bit(64), one_bit bit(1),
    day date, at_time time(6), moment datetime(6), stamped timestamp(6) NULL, in_year year,
    fixed char(10), text_up_to varchar(500), fixed_bytes binary(16), bytes_up_to varbinary(300),
    tiny_text tinytext, some_text text, medium_text mediumtext, long_text longtext,
    tiny_blob tinyblob, some_blob blob, medium_blob mediumblob, long_blob longblob,
    choice enum('first', 'se''cond', 'th,ird', 'vierte Ärger'), several set('a', 'b', 'c d'),
    document json, place point, way linestring, area polygon, many geometrycollection
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='a ''quoted'' comment; with a semicolon';
INSERT INTO every_type (id) VALUES (1);
INSERT INTO every_type VALUES (
    2, -128, -32768, -8388608, -2147483648, -9223372036854775808, 1,
    12345678901234567890123456789012345.123456789012345678901234567891, 1.5e-10, -1.7976931348623157e308,
    b'1111111111111111111111111111111111111111111111111111111111111111', b'1',
    '0000-00-00', '-838:59:59.000000', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999', 2155,
    'pad', 'back\\slash \'quote\' "double" `tick` \n line \r return \t tab \0 nul \Z sub % _ ;', x'00FF5C27220A0D1A0000000000000000', x'5C00275C',
    '', 'ünïcödé 漢字 😀', REPEAT('ab;''\\', 20000), REPEAT('long \n', 100000),
    x'00', x'275C27', REPEAT(x'00FF5C', 30000), REPEAT(x'DEADBEEF275C3B0A', 60000),
    'vierte Ärger', 'a,c d', '{"a": [1, 2.5, null, "q\\"uote"]}', ST_GeomFromText('POINT(1 -2.5)'),
    ST_GeomFromText('LINESTRING(0 0, 1 1, 2 3)'), ST_GeomFromText('POLYGON((0 0, 4 0, 4 4, 0 0))'),
    ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))'));
INSERT INTO every_type (id, day, moment, choice, several, single_float)
VALUES (3, '2024-00-00', '0000-00-00 00:00:00', 'no such', '', 3.4028e38);
INSERT INTO every_type (id, some_text, some_blob) VALUES (4, 'INSERT INTO `x` VALUES (1);\n-- Dump completed\nUSE mysql;', 'DELIMITER ;;\n');

-- Latin letters of long ago: bytes that are no UTF-8, in a table that says latin1.
CREATE TABLE old_latin (id int PRIMARY KEY, name varchar(50)) ENGINE=InnoDB DEFAULT CHARSET=latin1;
INSERT INTO old_latin VALUES (1, CONVERT(x'C3A4' USING latin1)), (2, CONVERT(x'E9FF80' USING latin1)), (3, 'plain');

CREATE TABLE authors (
    id int AUTO_INCREMENT PRIMARY KEY, email varchar(200) NOT NULL, name varchar(100) NOT NULL DEFAULT 'nobody',
    domain varchar(200) AS (SUBSTRING_INDEX(email, '@', -1)) VIRTUAL,
    lower_email varchar(200) AS (LOWER(email)) STORED,
    created timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    UNIQUE KEY email (email), KEY by_name (name(10)), KEY by_domain (domain), FULLTEXT KEY words (name),
    CONSTRAINT has_at CHECK (email LIKE '%@%')
) ENGINE=InnoDB AUTO_INCREMENT=5000 DEFAULT CHARSET=utf8mb4;
INSERT INTO authors (email, name)
SELECT CONCAT('person-', seq, '@zq-private.example'), CONCAT('zq-private name ', seq) FROM JSON_TABLE(CONCAT('[0', REPEAT(',0', 2999), ']'), '$[*]' COLUMNS (seq FOR ORDINALITY)) AS numbers;
CREATE TABLE books (
    id int AUTO_INCREMENT PRIMARY KEY, author_id int, parent_id int, title varchar(100),
    CONSTRAINT by_author FOREIGN KEY (author_id) REFERENCES authors (id) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT in_series FOREIGN KEY (parent_id) REFERENCES books (id) ON DELETE SET NULL
) ENGINE=InnoDB;
INSERT INTO books (author_id, title) SELECT id, CONCAT('Book of ', id) FROM authors;
UPDATE books SET parent_id = id + 1 WHERE id < 100;
-- Two tables that point at each other.
CREATE TABLE hens (id int PRIMARY KEY, egg int) ENGINE=InnoDB;
CREATE TABLE eggs (id int PRIMARY KEY, hen int, FOREIGN KEY (hen) REFERENCES hens (id)) ENGINE=InnoDB;
ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs (id);
INSERT INTO hens VALUES (1, NULL);
INSERT INTO eggs VALUES (1, 1);
UPDATE hens SET egg = 1;

CREATE TABLE visits (id int NOT NULL, day date NOT NULL, ip varchar(50), PRIMARY KEY (id, day)) ENGINE=InnoDB
PARTITION BY RANGE (YEAR(day)) (
    PARTITION before_2020 VALUES LESS THAN (2020), PARTITION in_2020 VALUES LESS THAN (2021),
    PARTITION later VALUES LESS THAN MAXVALUE);
INSERT INTO visits VALUES (1, '2019-05-05', '10.0.0.1'), (2, '2020-06-06', '10.0.0.2'), (3, '2030-01-01', '10.0.0.3');
CREATE TABLE places (id int PRIMARY KEY, spot point NOT NULL, SPATIAL KEY spot (spot)) ENGINE=InnoDB;
INSERT INTO places VALUES (1, ST_GeomFromText('POINT(3 4)'));
CREATE TABLE old_engine (id int AUTO_INCREMENT PRIMARY KEY, note varchar(20)) ENGINE=MyISAM;
INSERT INTO old_engine (note) VALUES ('one'), ('two');
CREATE TABLE squeezed (id int PRIMARY KEY, note text) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;
INSERT INTO squeezed VALUES (1, REPEAT('x', 5000));
CREATE TABLE without_key (a int, b int) ENGINE=InnoDB;
INSERT INTO without_key VALUES (1, 1), (1, 1), (NULL, NULL);
CREATE TABLE without_rows (a int) ENGINE=InnoDB;
CREATE TABLE hidden (id int PRIMARY KEY, secret int INVISIBLE DEFAULT 5) ENGINE=InnoDB;
INSERT INTO hidden (id, secret) VALUES (1, 9);

CREATE TABLE `odd.name $1 -- "quoted" ``ticked`` Ärger` (`a column; with "all"` int, `select` int, `日本` int) ENGINE=InnoDB;
INSERT INTO `odd.name $1 -- "quoted" ``ticked`` Ärger` VALUES (1, 2, 3);
CREATE TABLE `UPPER` (id int) ENGINE=InnoDB;
CREATE TABLE `order` (`group` int) ENGINE=InnoDB;

CREATE VIEW z_view AS SELECT a.id, a.name, COUNT(b.id) AS books FROM authors a LEFT JOIN books b ON b.author_id = a.id
GROUP BY a.id, a.name;
-- Made after what it stands on, and comes before it in every list.
CREATE VIEW a_view AS SELECT z.id, z.name, z.books FROM z_view z WHERE z.books > 0;
CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW `odd view's` AS SELECT id AS `the "id"` FROM authors WHERE name <> 'a;b'
WITH CASCADED CHECK OPTION;

DELIMITER ;;
CREATE FUNCTION shout(said varchar(100)) RETURNS varchar(110) CHARSET utf8mb4 DETERMINISTIC
COMMENT 'shouts; loudly'
BEGIN
    -- A comment with a ; and a ' in it
    IF said IS NULL THEN RETURN '!;'; END IF;
    RETURN CONCAT(UPPER(said), '!'); /* another ;; */
END;;
CREATE PROCEDURE `count books`(IN author int, OUT number int)
BEGIN
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET number = 0;
    SELECT COUNT(*) INTO number FROM books WHERE author_id = author;
END;;
SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';;
CREATE PROCEDURE "in another mode"() BEGIN SELECT 'a\', "id" FROM "authors" LIMIT 1; END;;
SET sql_mode = 'NO_ENGINE_SUBSTITUTION';;
CREATE TRIGGER before_book BEFORE INSERT ON books FOR EACH ROW BEGIN
    IF NEW.title IS NULL THEN SET NEW.title = 'untitled; yet'; END IF;
END;;
CREATE TRIGGER second_before_book BEFORE INSERT ON books FOR EACH ROW FOLLOWS before_book
    SET NEW.title = TRIM(NEW.title);;
CREATE TRIGGER after_author AFTER DELETE ON authors FOR EACH ROW
    INSERT INTO without_key VALUES (OLD.id, 0);;
CREATE EVENT tidy_up ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' ON COMPLETION PRESERVE
COMMENT 'every day; at midnight' DO BEGIN DELETE FROM visits WHERE day < '2000-01-01'; END;;
CREATE EVENT switched_off ON SCHEDULE EVERY 5 MINUTE DISABLE DO DELETE FROM without_key WHERE a = -1;;
DELIMITER ;
