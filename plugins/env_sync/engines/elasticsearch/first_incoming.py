"""What is written down of incoming before there is anything of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from env_sync.core.serialization import to_plain
from env_sync.domain.sync import CopyWay
from env_sync.engines.base.contract import CopyState, Stamp, Work
from env_sync.engines.elasticsearch.catalogue import Index
from env_sync.engines.elasticsearch.contents import Contents
from env_sync.engines.elasticsearch.incoming import planned
from env_sync.engines.elasticsearch.metadata import Incoming
from env_sync.engines.elasticsearch.session import Cluster


def first_incoming(
    work: Work,
    target: Cluster,
    contents: Contents,
    *,
    way: CopyWay,
    why: str,
    snapshot: str,
    warnings: tuple[str, ...],
    token: str,
    sources: Sequence[Index] = (),
) -> Incoming:
    """What is written down first; `sources` are those of what is filled document by document.

    Raises NameRefused.
    """
    sync = work.sync
    said = json.dumps(to_plain(contents), sort_keys=True).encode()
    stamp = Stamp(
        state=CopyState.RESTORING,
        holder=work.holder,
        sync=sync.name,
        environment=sync.environment,
        source_environment=contents.environment,
        dump_key=snapshot,
        dump_sha256=hashlib.sha256(said).hexdigest(),
        data_time=contents.data_time,
        born_in=contents.born_in,
        parents=(),
        transformations=(),
        changed=target.now(),
        reason=sync.reason if sync.none_said else "",
    )
    return Incoming(
        stamp=stamp,
        token=token,
        way=way,
        why=why,
        snapshot=snapshot,
        contents=contents,
        indices=planned(contents, token, sources),
        warnings=warnings,
    )
