-- Rows of other tables, of whatever database.
CREATE TABLE merged (id int NOT NULL AUTO_INCREMENT, note varchar(20), PRIMARY KEY (id))
ENGINE=MERGE UNION=(old_engine) INSERT_METHOD=NO;
