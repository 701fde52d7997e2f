-- What it did not have.
CREATE TABLE added (id int PRIMARY KEY, author_id int, note varchar(100), FOREIGN KEY (author_id) REFERENCES authors (id));
INSERT INTO added SELECT 1, MAX(id), 'zq-private note' FROM authors;
ALTER TABLE books ADD COLUMN pages int DEFAULT 100, ADD KEY by_title (title);
CREATE OR REPLACE VIEW a_view AS SELECT z.id, z.books FROM z_view z;
CREATE VIEW added_view AS SELECT id FROM added;
CREATE TRIGGER added_trigger BEFORE UPDATE ON added FOR EACH ROW SET NEW.note = CONCAT(NEW.note, '.');
DROP FUNCTION shout;
CREATE FUNCTION shout(said varchar(50)) RETURNS varchar(60) DETERMINISTIC RETURN CONCAT(said, '!!');
