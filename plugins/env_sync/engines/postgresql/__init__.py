"""The PostgreSQL engine: copies databases with pg_dump and pg_restore, and swaps them by renaming."""
