"""Who may do what on a cluster, and who could read a copy."""
