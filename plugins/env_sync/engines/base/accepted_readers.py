"""What the extra of a connection accepts, of which the engine would stop otherwise."""

from __future__ import annotations

from env_sync.engines.base.contract import ServerConnection

SUPERUSER = "accept_superuser"
"""That the sync's account is an administrator of the server."""
SET_USER = "accept_set_user"
"""That the account may make objects as others, and does so for definers that have rights on live alone."""
DEFINER = "definer"
"""The account, `user@host`, as which what live has no definer for is made, where that is accepted."""
RAW_LOG = "accept_raw_log"
"""That the binary log keeps rows as they were before they were sanitised."""

MEMBERSHIPS = "accept_memberships"
"""That memberships of roles come and go, so that nobody sees who was a member of ours for a while."""

INIT_CONNECT = "accepted_init_connect"
"""What the server may run in each session that the account begins, word for word."""

UNSEEN = "accept_unseen_readers"
"""That the server does not tell who could read what is not sanitised yet, where sanitising is required."""


def accepts(connection: ServerConnection, name: str) -> bool:
    """Whether the extra says `true` to it; a form of Airflow makes text of that."""
    return str(connection.extra.get(name)).strip().lower() == "true"
