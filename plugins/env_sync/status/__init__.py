"""How an environment and its syncs are right now: values for the board, the command line, the monitoring."""
