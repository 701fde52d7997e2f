"""Env Sync: copies databases between environments every night, sanitised on the way down."""
