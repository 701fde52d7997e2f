"""What was made wrong on a server, compared with what a look before the night names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from env_sync.domain.finding import Finding


def are_named(weaknesses: Mapping[str, str], found: Iterable[Finding]) -> None:
    """Each weakness is named by one finding, and each finding names one.

    `weaknesses` are the patterns that name them, by what they are. Several may be named by the same finding,
    as all that speaks against one database is.
    """
    told = [f"{each.level}: {each.what}" for each in found]
    seen = {name: [text for text in told if re.search(named, text)] for name, named in weaknesses.items()}
    wrong = {name: len(texts) for name, texts in seen.items() if len(texts) != 1}
    assert not wrong, "\n".join((f"not named, or more than once: {wrong}", *told))
    named = {text for texts in seen.values() for text in texts}
    beside = [text for text in told if text not in named]
    assert not beside, "\n".join(("nobody made these:", *beside))
