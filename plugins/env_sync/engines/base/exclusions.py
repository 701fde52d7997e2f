"""What is said of `excluded_tables` that exclude nothing."""

from __future__ import annotations


def excludes_nothing(pattern: str, where: str) -> str:
    """A warning for a pattern by which nothing of `where` is called."""
    return (
        f"excluded_tables has {pattern}, and nothing of {where} is called so: what it was to keep out may "
        "have another name by now, and be in the dump"
    )
