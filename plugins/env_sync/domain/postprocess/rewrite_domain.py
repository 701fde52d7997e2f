"""The rule `rewrite_domain`: URLs that point at the environment above point at this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from env_sync.core.errors import TransformationFailed
from env_sync.domain.postprocess.changes import change
from env_sync.domain.postprocess.postprocess import AFTERMATH, DocumentPostprocess, Documents


@frozen(kw_only=True)
class DomainException:
    """What holds for one backend instead: `old` is "" for the domain that was found."""

    old: str
    new: str


@frozen(kw_only=True)
class RewriteDomain(DocumentPostprocess):
    """In the URL of each backend the domain of the environment above becomes `to`.

    That domain is what follows `<found_from>.` in the host of the backend `found_from`. Hosts outside of it
    stay as they are. A backend in `exceptions` has domains of its own: in the old one of them it gets the new
    one, in that of the environment above it is as any other, and elsewhere it fails the rule.
    """

    rule: ClassVar[str] = "rewrite_domain"
    version: ClassVar[int] = 2
    dbms: ClassVar[tuple[str, ...]] = ("mongo", "documentdb")

    to: str
    found_from: str = "static"
    collection: str = "backends"
    id_field: str = "backend_id"
    url_field: str = "backend_url"
    exceptions: Mapping[str, DomainException] = field(factory=dict)

    def run(self, documents: Documents) -> int:
        """See the class; gives how many backends there are. Raises TransformationFailed."""
        source = self._source(documents)
        expected = dict(self._rewritten(documents, source))
        change(documents, self.collection, {key: {self.url_field: url} for key, url in expected.items()})
        for backend in self._backends(documents):
            if backend["_id"] not in expected or backend.get(self.url_field) != expected[backend["_id"]]:
                raise self._failed("was changed by somebody else while it was rewritten")
        return len(expected)

    def _backends(self, documents: Documents) -> Iterator[Mapping[str, Any]]:
        return documents.find(self.collection, {}, (self.id_field, self.url_field))

    def _source(self, documents: Documents) -> str:
        """The domain of the environment above."""
        found = list(documents.find(self.collection, {self.id_field: self.found_from}, (self.url_field,)))
        if len(found) != 1:
            raise self._failed(
                f"holds {len(found)} documents with {self.id_field} {self.found_from}, and not one: what the "
                "domain of the environment above is cannot be told"
            )
        host = self._parts(found[0]).hostname or ""
        domain = host.removeprefix(f"{self.found_from}.")
        if domain == host or "." not in domain:
            raise self._failed(
                f"has a {self.url_field} for {self.found_from} whose host is not {self.found_from} and a "
                "domain: what the domain of the environment above is cannot be told"
            )
        return domain

    def _rewritten(self, documents: Documents, source: str) -> Iterator[tuple[Any, str]]:
        """The URL of every backend as it should be, by the `_id` of its document."""
        for backend in self._backends(documents):
            parts = self._parts(backend)
            host = parts.hostname or ""
            exception = self.exceptions.get(str(backend.get(self.id_field)))
            changes = [(source, self.to)]
            if exception and exception.old:
                changes.insert(0, (exception.old, exception.new))
            elif exception:
                changes = [(source, exception.new)]
            found = next(((old, new) for old, new in changes if _is_in(host, old)), None)
            if found is None:
                if exception and not any(_is_in(host, new) for _, new in changes):
                    raise self._failed(
                        "holds a backend that is named in `exceptions` and is in another domain than those "
                        "to replace"
                    )
                yield backend["_id"], str(backend[self.url_field])
                continue
            old, new = found
            port = f":{parts.port}" if parts.port is not None else ""
            netloc = f"{host.removesuffix(old)}{new}{port}"
            yield backend["_id"], parts._replace(netloc=netloc).geturl()

    def _parts(self, backend: Mapping[str, Any]) -> SplitResult:
        url = backend.get(self.url_field)
        wrong = self._failed(
            f"holds a document whose {self.url_field} is no URL with a host, or has a password in it"
        )
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            # A port that is no number is only found out where it is asked for.
            known = bool(parts.hostname) and "@" not in parts.netloc and (parts.port or 0) >= 0
        except ValueError:
            raise wrong from None
        if not known:
            raise wrong
        return parts

    def _failed(self, why: str) -> TransformationFailed:
        return TransformationFailed(
            f"Postprocess {self.rule}: collection {self.collection} {why}. {AFTERMATH} Look at it in the "
            "environment above, or correct the rule's parameters in hieradata."
        )


def _is_in(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")
