-- What somebody has made below by hand, as the application's account: what comes down is made as whose it is here.
CREATE TABLE added (id int PRIMARY KEY, note varchar(100));
CREATE VIEW added_view AS SELECT id FROM added;
CREATE TRIGGER added_trigger BEFORE UPDATE ON added FOR EACH ROW SET NEW.note = 'changed below';
