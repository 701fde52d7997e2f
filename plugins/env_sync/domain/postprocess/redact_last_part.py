"""The rule `redact_last_part`: of paths that not everybody may know, the last part is taken away."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from attrs import frozen

from env_sync.core.errors import TransformationFailed
from env_sync.domain.postprocess.changes import AT_ONCE, change
from env_sync.domain.postprocess.postprocess import AFTERMATH, DocumentPostprocess, Documents

REDACTED = "redacted-"


@frozen(kw_only=True)
class RedactLastPart(DocumentPostprocess):
    """In documents that are limited, what follows the last `/` of a path becomes `redacted-` and a hash.

    The name of a file says as much as its contents. The hash is that of `_id`, so that a path that was unique
    still is.

    A document is limited where any field of `limited_by` is there and holds something: a list with an item,
    a text, a number other than 0, true. Where no document at all has a path, the collection or the field is
    called otherwise by now, and the rule fails: what it passed by would come down as it is above.
    """

    rule: ClassVar[str] = "redact_last_part"
    version: ClassVar[int] = 2
    dbms: ClassVar[tuple[str, ...]] = ("mongo", "documentdb")
    sanitises: ClassVar[bool] = True

    collection: str
    path_field: str
    limited_by: tuple[str, ...]

    def run(self, documents: Documents) -> int:
        """See the class; gives how many limited documents have a path. Raises TransformationFailed."""
        changes: dict[Any, Mapping[str, str]] = {}
        limited = 0
        for key, path, redacted in self._limited(documents):
            limited += 1
            if path != redacted:
                changes[key] = {self.path_field: redacted}
            if len(changes) == AT_ONCE:
                change(documents, self.collection, changes)
                changes = {}
        change(documents, self.collection, changes)
        left = sum(path != redacted for _, path, redacted in self._limited(documents))
        if left:
            raise self._failed(f"still holds {left} limited documents with their paths")
        if not limited and next(self._any(documents), None) is None:
            raise self._failed(f"is not there, or holds no document with {self.path_field}")
        return limited

    @property
    def _with_path(self) -> Mapping[str, Any]:
        return {self.path_field: {"$exists": True, "$ne": None}}

    def _any(self, documents: Documents) -> Iterator[Mapping[str, Any]]:
        return documents.find(self.collection, self._with_path, (self.path_field,))

    def _limited(self, documents: Documents) -> Iterator[tuple[Any, str, str]]:
        """The `_id` of each limited document that has a path, its path, and what that should be."""
        wanted = {
            **self._with_path,
            "$or": [{name: {"$exists": True}} for name in self.limited_by],
        }
        for document in documents.find(self.collection, wanted, (self.path_field, *self.limited_by)):
            if not any(document.get(name) for name in self.limited_by):
                continue
            path = document[self.path_field]
            if not isinstance(path, str):
                raise self._failed(f"holds a limited document whose {self.path_field} is no text")
            head = path.rstrip("/").rpartition("/")
            own = hashlib.sha256(str(document["_id"]).encode()).hexdigest()[:24]
            yield document["_id"], path, f"{head[0]}{head[1]}{REDACTED}{own}"

    def _failed(self, why: str) -> TransformationFailed:
        return TransformationFailed(
            f"Postprocess {self.rule}: collection {self.collection} {why}. {AFTERMATH} Look at it in the "
            "environment above, or correct the rule's parameters in hieradata."
        )
