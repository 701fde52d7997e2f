"""Changes of documents, by their `_id`, that are done to the last one or not at all well."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from env_sync.core.errors import TransformationFailed
from env_sync.domain.postprocess.postprocess import AFTERMATH, Documents

AT_ONCE = 500
"""How many documents one command changes."""


def change(documents: Documents, collection: str, changes: Mapping[Any, Mapping[str, Any]]) -> None:
    """Set fields of documents: `_id` -> field -> value. Raises TransformationFailed unless all were there."""
    waiting = iter(changes.items())
    while batch := list(itertools.islice(waiting, AT_ONCE)):
        reply = documents.run(
            {
                "update": collection,
                "updates": [{"q": {"_id": key}, "u": {"$set": dict(fields)}} for key, fields in batch],
                "ordered": True,
            }
        )
        errors = list(reply.get("writeErrors", ()))
        if errors or "writeConcernError" in reply or reply.get("n") != len(batch):
            # The text of such an error may quote the document.
            code = f" (code {errors[0].get('code')})" if errors else ""
            raise TransformationFailed(
                f"Postprocess: of {len(batch)} documents of {collection} the server changed "
                f"{reply.get('n', 0)}{code}. {AFTERMATH} Run the group again."
            )
