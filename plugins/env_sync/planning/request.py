"""What a run was asked to do: the values of the trigger form, checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen

from env_sync.config.rules import EVERY_SYNC
from env_sync.config.yaml_nodes import shorten
from env_sync.core.errors import InvalidRequest
from env_sync.domain.sync import Action, Sync
from env_sync.planning.plan import Group, Plan
from env_sync.planning.timestamps import parse_timestamp

ALL = EVERY_SYNC
LONGEST = 200
"""Characters of a text in a request."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
FIELDS = ("only", "timestamp", "ignore_pauses", "confirm", "restore_previous")
RAW = "{} NOT SANITISED"
"""What is typed in `confirm`, with the database's name, where an undo may make raw data live."""
UNDO_STEPS = ("start_gate", "promote", "report")
"""The steps of a pull that have something to do where previous is made live again."""


@frozen(kw_only=True)
class Request:
    """The request of one run.

    `nightly` is a scheduled run: every sync that is present, at its time. A run by hand does what
    `only` names (all: every sync that is present), at once. `timestamp` asks for exactly that dump.
    `restore_previous` asks for no sync but for undo: previous of that database is made live again.
    """

    nightly: bool
    only: tuple[str, ...] = ()
    timestamp: str | None = None
    ignore_pauses: bool = False
    confirm: str = ""
    restore_previous: str | None = None

    def confirms(self, database: str) -> bool:
        """Whether this run may replace this database of a protected environment.

        Whoever types of an undo that it may make raw data live has typed the name as well.
        """
        undo = self.restore_previous is not None
        return self.confirm == database or (undo and self.confirm == RAW.format(database))

    def steps(self, group: Group) -> tuple[str, ...]:
        """The steps of a group that have something to do in this run."""
        if self.restore_previous is None:
            return group.steps
        return tuple(step for step in group.steps if step in UNDO_STEPS)

    def asks_for(self, group: Group, plan: Plan) -> bool:
        """Whether the group has anything to say in this run: the night asks for all of them."""
        return self.nightly or self.why_not(group, plan) is None

    def why_not(self, group: Group, plan: Plan) -> str | None:
        """Why the group does not run in this run; None where it does."""
        sync = group.sync
        if self.nightly:
            return f"{sync.name} is disabled: run it by hand" if group.by_hand_only else None
        if self.restore_previous is not None:
            return None if plan.undo.get(self.restore_previous) == group.id else "not selected in this run"
        if not self.only:
            return f"nothing was selected: choose syncs in `only`, or `{ALL}`"
        if sync.name in self.only:
            # A sync with several times a night has a group for each; by hand it runs once.
            first = next(other for other in plan.groups if other.sync.name == sync.name)
            return None if first.id == group.id else f"{sync.name} runs by hand as {first.id}"
        if ALL in self.only:
            return (
                f"{sync.name} is disabled: name it in `only` to run it by hand"
                if group.by_hand_only
                else None
            )
        return "not selected in this run"


NIGHTLY = Request(nightly=True)


def read_request(conf: Mapping[str, Any], plan: Plan) -> Request:
    """The request in a manual run's configuration.

    Raises InvalidRequest for an unknown field (Airflow itself lets those through), an unknown sync,
    a timestamp that does not go with exactly one pull, a database without a previous, anything beside
    that, or what replaces a database of a protected environment and is not confirmed.
    """
    for name in conf:
        if name not in FIELDS:
            raise InvalidRequest(
                f"The run's configuration has the unknown field {_shown(name)}{_meant(name, FIELDS)}; "
                f"known fields: {', '.join(FIELDS)}. Nothing was started."
            )
    only = conf.get("only") or []
    if not isinstance(only, list | tuple) or not all(isinstance(name, str) for name in only):
        raise InvalidRequest(
            f"`only` must be a list of names of syncs, not {_shown(only)}. Nothing was started."
        )
    names = plan.names()
    for name in only:
        if name != ALL and name not in names:
            raise InvalidRequest(
                f"`only`: there is no sync {_shown(name)} in {plan.environment}{_meant(name, names)}. "
                "Nothing was started."
            )
    asked = conf.get("restore_previous")
    # Whatever else it is, it is no database's name.
    undo = (_text(conf, "restore_previous") if isinstance(asked, str | None) else _shown(asked)) or None
    request = Request(
        nightly=False,
        only=tuple(dict.fromkeys(only)),
        timestamp=_text(conf, "timestamp") or None,
        # A pause keeps pulls away; whoever asks for an undo by hand may well have paused them first.
        ignore_pauses=_yes(conf.get("ignore_pauses", False)) or undo is not None,
        confirm=_text(conf, "confirm"),
        restore_previous=undo,
    )
    _check_undo(request, plan)
    _check_timestamp(request, plan)
    _check_confirmed(request, plan)
    return request


def _check_timestamp(request: Request, plan: Plan) -> None:
    if request.timestamp is None:
        return
    try:
        parse_timestamp(request.timestamp)
    except InvalidRequest as problem:
        raise InvalidRequest(f"`timestamp`: {problem}. Nothing was started.") from None
    if len(request.only) != 1 or ALL in request.only:
        raise InvalidRequest("A `timestamp` needs exactly one sync in `only`. Nothing was started.")
    sync = next(group.sync for group in plan.groups if group.sync.name == request.only[0])
    if sync.action is not Action.PULL:
        raise InvalidRequest(
            f"A `timestamp` chooses the dump of a pull, but {sync.name} is a {sync.action}. Nothing was "
            "started."
        )


def _check_undo(request: Request, plan: Plan) -> None:
    name = request.restore_previous
    if name is None:
        return
    if request.only or request.timestamp:
        raise InvalidRequest(
            "`restore_previous` cannot be combined with `only` or `timestamp`: it makes live what was live "
            "before, and pulls nothing. Nothing was started."
        )
    if name not in plan.undo:
        raise InvalidRequest(
            f"No pull of {plan.environment} keeps a previous of {name!r}{_meant(name, plan.undo)}; there "
            f"are: {', '.join(plan.undo) or 'none'}. Nothing was started."
        )
    sync = next(group.sync for group in plan.groups if group.id == plan.undo[name])
    if plan.settings.protected and not request.confirms(sync.database):
        raise InvalidRequest(
            f"Making previous live again replaces {sync.database} in {plan.environment}, which is protected. "
            f"Type the database's name, {sync.database}, in `confirm`. Nothing was started."
        )


def _check_confirmed(request: Request, plan: Plan) -> None:
    for sync in {group.sync.name: group.sync for group in plan.groups}.values():
        if (
            isinstance(sync, Sync)
            and sync.recovery
            and sync.name in request.only
            and not request.confirms(sync.database)
        ):
            raise InvalidRequest(
                f"{sync.name} is a recovery sync: it replaces {sync.database} in {plan.environment}, which "
                f"is protected. Type the database's name, {sync.database}, in `confirm`; a run confirms one "
                "database. Nothing was started."
            )


def _yes(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidRequest(f"`ignore_pauses` must be true or false, not {_shown(value)}. Nothing was started.")


def _text(conf: Mapping[str, Any], field: str) -> str:
    """A text of at most LONGEST characters, none of which is a control character; "" where there is none."""
    value = conf.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(f"`{field}` must be text, not {_shown(value)}. Nothing was started.")
    if len(value) > LONGEST:
        raise InvalidRequest(
            f"`{field}` has {len(value)} characters, and the limit is {LONGEST}. Nothing was started."
        )
    if CONTROL.search(value):
        raise InvalidRequest(f"`{field}` holds control characters: {_shown(value)}. Nothing was started.")
    return value.strip()


def _shown(value: object) -> str:
    """A value that somebody sent, in quotes and cut."""
    return f"'{shorten(value)}'" if isinstance(value, str) else shorten(repr(value))


def _meant(name: object, known: Collection[str]) -> str:
    if not isinstance(name, str) or len(name) > LONGEST:
        return ""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
