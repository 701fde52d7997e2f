"""Telling others that data is about to be replaced, or that it was: a command, or a POST to a URL."""

from __future__ import annotations

import json
import logging
import re
import shlex
from enum import StrEnum
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from attrs import frozen

from env_sync.core.addresses import host_of, is_web_address
from env_sync.core.cancellation import Cancellation
from env_sync.core.command import run
from env_sync.core.errors import ServerUnreachable, ToolMissing

PATIENCE = 30.0
"""How many seconds a URL has to answer."""
PROGRAM = re.compile(r"[A-Za-z0-9._/+-]+")
"""What is told as the name of a program: anything else may be a mistyped URL, with a secret in it."""


class Event(StrEnum):
    """What is told."""

    BEGINS = "replacing_begins"
    ENDS = "replacing_ends"


@frozen(kw_only=True)
class Announcement:
    """What is told of a run: which databases of which environment it replaces."""

    event: Event
    environment: str
    run: str
    databases: tuple[str, ...]


def announce(
    hook: str, announcement: Announcement, *, cancellation: Cancellation, log: logging.Logger
) -> None:
    """Run a command, or send a URL a POST. Raises ToolMissing, ToolFailed, ServerUnreachable, Cancelled.

    A command is given the same in its environment. What follows the host in a URL may be a secret, and so
    may all of what is no URL and no name of a program: it is told nowhere.
    """
    if not is_web_address(hook):
        argv = shlex.split(hook)
        tellable = PROGRAM.fullmatch(argv[0]) is not None
        log.info("%s: running %s", announcement.event, argv[0] if tellable else "a command")
        try:
            run(argv, cancellation=cancellation, log=log, env=_environment(announcement))
        except ToolMissing:
            if tellable:
                raise
            raise ToolMissing(
                "The first word of a command is not a program on this worker. It is not shown, as it may be "
                "a mistyped URL: check `before_replacing` and `after_replacing`."
            ) from None
        return
    host = host_of(hook)
    log.info("%s: POST to %s", announcement.event, host)
    told = {
        "event": announcement.event,
        "environment": announcement.environment,
        "run": announcement.run,
        "databases": list(announcement.databases),
    }
    # Not httpx, which logs whole URLs.
    request = Request(hook, json.dumps(told).encode(), {"Content-Type": "application/json"}, method="POST")
    try:
        with urlopen(request, timeout=PATIENCE):
            return
    except HTTPError as answer:
        raise ServerUnreachable(f"{host} answered {answer.code}") from None
    except (OSError, HTTPException, ValueError) as problem:
        raise ServerUnreachable(f"{host} did not answer ({type(problem).__name__})") from None


def _environment(announcement: Announcement) -> dict[str, str]:
    return {
        "ENV_SYNC_EVENT": announcement.event,
        "ENV_SYNC_ENVIRONMENT": announcement.environment,
        "ENV_SYNC_RUN": announcement.run,
        "ENV_SYNC_REPLACED_DATABASES": ",".join(announcement.databases),
    }
