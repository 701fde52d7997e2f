"""A postprocess: one rule with its parameters, and what it asks of an engine."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import attrs

RULE = "postprocess/"
"""Before the name of a rule in a proof; no name of a file has a slash."""
AFTERMATH = "Incoming is dropped, live is untouched."
"""What becomes of the copies where a postprocess fails."""


class Documents(Protocol):
    """The documents of incoming, as an engine for MongoDB or DocumentDB offers them to a postprocess."""

    def find(
        self, collection: str, wanted: Mapping[str, Any], fields: Sequence[str]
    ) -> Iterator[Mapping[str, Any]]:
        """The documents for which the filter `wanted` holds, with `_id` and of these fields those they have.

        May meet a document again that is changed meanwhile. Raises TransformationFailed.
        """

    def run(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run one database command, such as `{"update": ..., "updates": [...]}`, on incoming; its reply.

        Raises TransformationFailed where the reply is not `ok`; errors within it are the caller's.
        """


@attrs.frozen
class Postprocess(ABC):
    """One rule with its parameters, which are its fields."""

    rule: ClassVar[str]
    version: ClassVar[int]
    """Higher whenever the rule does something else with the same parameters."""
    dbms: ClassVar[tuple[str, ...]]
    """Where it can run."""
    sanitises: ClassVar[bool] = False
    """Whether it takes out what must not come down, so that a pull may go without a transformation."""

    @property
    def name(self) -> str:
        """What the proof calls it."""
        return f"{RULE}{self.rule}"

    @property
    def sha256(self) -> str:
        """A hash of the rule, its version and its parameters: the proof says that just this ran."""
        told = {"rule": self.rule, "version": self.version, "parameters": attrs.asdict(self)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        parameters = ", ".join(f"{name}: {value}" for name, value in attrs.asdict(self).items() if value)
        return f"{self.rule} ({parameters})"


class SqlPostprocess(Postprocess):
    """One that is SQL. It runs behind the transformations and, where the engine can, in their transaction."""

    @abstractmethod
    def sql(self, dbms: str) -> str:
        """The statements for this engine, each ended by a semicolon."""


class DocumentPostprocess(Postprocess):
    """One that reads and changes documents."""

    collection: str
    """What it changes."""

    @abstractmethod
    def run(self, documents: Documents) -> int:
        """Do it, and see that it is done; gives how many documents it is for.

        Raises TransformationFailed, without any value of a document.
        """
