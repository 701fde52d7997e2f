"""Who may do what with a database: grants, privileges, roles, and who could read a copy."""
