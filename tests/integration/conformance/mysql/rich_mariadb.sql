-- What only MariaDB has.
CREATE TABLE types_of_mariadb (id int PRIMARY KEY, address inet6, number_of_kind uuid) ENGINE=InnoDB;
INSERT INTO types_of_mariadb VALUES (1, '2001:db8::ff00:42:8329', '123e4567-e89b-12d3-a456-426655440000');
CREATE TABLE aria_table (id int PRIMARY KEY) ENGINE=Aria;
INSERT INTO aria_table VALUES (7);
CREATE TABLE versioned (id int PRIMARY KEY, note varchar(20)) ENGINE=InnoDB WITH SYSTEM VERSIONING;
INSERT INTO versioned VALUES (1, 'now');
CREATE SEQUENCE numbers START WITH 100 INCREMENT BY 7 CACHE 3;
DO NEXTVAL(numbers);
