"""Engines: one or more `dbms` in each package, whose `descriptor` says as data what it is and can do."""
