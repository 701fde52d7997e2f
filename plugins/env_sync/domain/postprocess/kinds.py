"""Every kind of postprocess by the name of its rule."""

from __future__ import annotations

from collections.abc import Mapping

from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.postprocess.redact_last_part import RedactLastPart
from env_sync.domain.postprocess.replace_text import ReplaceText
from env_sync.domain.postprocess.rewrite_domain import RewriteDomain

KINDS: Mapping[str, type[Postprocess]] = {
    each.rule: each for each in (RewriteDomain, ReplaceText, RedactLastPart)
}
