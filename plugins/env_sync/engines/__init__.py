"""Engines: one per `dbms`; what each can do is data (`capabilities`), how it does it is its own module."""
