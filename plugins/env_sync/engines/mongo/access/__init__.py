"""Who may do what on a server, and who could read a copy."""
