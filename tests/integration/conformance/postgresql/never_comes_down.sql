-- What points back at where the data is from: it must not be in lower environments.
CREATE PUBLICATION conf_publication FOR TABLE app.people;
CREATE SUBSCRIPTION conf_subscription CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere password=zq-private'
    PUBLICATION conf_publication WITH (connect = false);
CREATE FOREIGN DATA WRAPPER conf_wrapper;
CREATE SERVER conf_server FOREIGN DATA WRAPPER conf_wrapper OPTIONS (host 'above.zq-private.example');
CREATE USER MAPPING FOR conf_owner SERVER conf_server OPTIONS (password 'zq-private');
GRANT USAGE ON FOREIGN SERVER conf_server TO conf_owner;
CREATE FOREIGN TABLE app.foreign_rows (id int) SERVER conf_server;
ALTER FOREIGN TABLE app.foreign_rows OWNER TO conf_owner;
