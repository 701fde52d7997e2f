"""Who may do what with a database: owners, grants, roles, and who could read a copy."""
