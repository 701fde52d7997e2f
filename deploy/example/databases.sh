#!/bin/sh
# The example's databases in production, with no rows: by the image's own start, while the server is new.
set -eu
for file in /schemas/*.sql; do
    database=$(basename "$file" .sql)
    createdb --username="$POSTGRES_USER" --owner=publishing "$database"
    # As their owner, so that the tables are the owner's as well.
    PGOPTIONS="-c role=publishing" psql --username="$POSTGRES_USER" --dbname="$database" --no-psqlrc --quiet \
        --set=ON_ERROR_STOP=1 --single-transaction --file="$file"
done
