"""The tokens of copies: under which of them a sync made copies, and what stands under them for nobody."""

from __future__ import annotations

from env_sync.engines.base.contract import Work
from env_sync.engines.elasticsearch.catalogue import read_indices
from env_sync.engines.elasticsearch.metadata import Incoming, Live, Made, all_records, write_record
from env_sync.engines.elasticsearch.names import CONTENTS, COPIES, logical_name, new_token, token_of
from env_sync.engines.elasticsearch.session import Cluster, quoted

RECENT = 20
"""How many tokens of a sync are remembered whatever stands there."""


def begin_token(work: Work, target: Cluster) -> tuple[str, tuple[str, ...]]:
    """A token that is written down before anything is made under it, and warnings; drops orphans.

    Those are copies that a kill left without a record or an alias. One of which no record tells that we
    made it is told of, and stays, whatever it is called.
    """
    sync = work.sync.name
    lives = all_records(target, Live).values()
    named = {each.index for live in lives for each in live.indices}
    for live in lives:
        named |= {*live.previous, *live.leaving}
    at_work = {incoming.token for incoming in all_records(target, Incoming).values()}
    records = all_records(target, Made)
    made = {token for record in records.values() for token in record.tokens}
    warnings: list[str] = []
    standing: set[str] = set()
    for index in read_indices(target, COPIES):
        token = token_of(index.index)
        if token is None:
            continue
        if index.aliases or not index.hidden or token in at_work or index.index in named:
            standing.add(token)
        elif token in made or logical_name(index.index) == CONTENTS:
            work.log.info("Dropping %s, which belongs to nobody", index.index)
            target.find_and_delete(f"/{quoted(index.index)}")
        else:
            warnings.append(
                f"{index.index} is called as a copy of Env Sync, and no record tells that it is one: if "
                "nobody needs it, delete it, for it may hold what was never sanitised"
            )
    own = records[sync].tokens if sync in records else ()
    token = new_token()
    # What was thought dead may still make something under one of the last.
    kept = (*(each for each in own if each in standing or each in own[-RECENT:]), token)
    write_record(target, sync, Made(tokens=kept))
    return token, tuple(warnings)
