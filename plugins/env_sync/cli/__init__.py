"""The command line, env-sync."""
