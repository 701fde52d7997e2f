"""Locks of leases that other accounts hold: anybody may take one, so it counts for nothing."""

from __future__ import annotations

import logging


def warn_of_strange_lock(warnings: list[str], log: logging.Logger, held: str) -> None:
    """Tell once of a lock that another account holds; `held` says in words which, and who that is."""
    warning = f"{held}, so it does not count. Find out what for it was taken, and end that session."
    if warning not in warnings:
        warnings.append(warning)
        log.warning("%s", warning)
