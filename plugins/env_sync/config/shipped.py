"""The databases that the shipped example, include/hieradata/common.yaml, binds rules to.

Who uses hieradata of their own, without that file, pulls them without these rules and is told nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from env_sync.config.bindings import Bindings
from env_sync.config.settings_reader import POSTPROCESS
from env_sync.domain.postprocess.redact_last_part import RedactLastPart
from env_sync.domain.postprocess.replace_text import ReplaceText
from env_sync.domain.postprocess.rewrite_domain import RewriteDomain
from env_sync.domain.problem import Problem
from env_sync.domain.sync import Action, Ensure, Sync

EXAMPLE = "include/hieradata/common.yaml"
DOCUMENTS = RewriteDomain.dbms
SHIPPED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "router": (RewriteDomain.rule, DOCUMENTS),
    "draft_router": (RewriteDomain.rule, DOCUMENTS),
    "signon_production": (ReplaceText.rule, ("mysql",)),
    "govuk_assets_production": (RedactLastPart.rule, RedactLastPart.dbms),
}
"""By database: the rule, and on which engines the example has it."""


def unbound(syncs: Iterable[Sync], bindings: Bindings, spared: Iterable[str]) -> Iterator[Problem]:
    """Yield a note for each pull of such a database to which nothing is bound in any environment.

    `spared` are the names of the syncs that say `postprocess: none`.
    """
    none_said = frozenset(spared)
    for sync in syncs:
        rule, engines = SHIPPED.get(sync.database, ("", ()))
        comes_down = sync.action is Action.PULL and not sync.recovery and sync.ensure is not Ensure.ABSENT
        if not comes_down or sync.dbms not in engines or sync.name in none_said:
            continue
        if any(binding.is_of(sync.database, sync.dbms) for binding in bindings.bindings):
            continue
        yield Problem(
            place=sync.place,
            sync=sync.name,
            read=f"`{sync.database}` has the rule `{rule}` in the shipped {EXAMPLE}, and none is bound here",
            right=f"copy the binding from there into `{POSTPROCESS}`, or write `postprocess: none`",
        )
