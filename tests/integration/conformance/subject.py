"""What an engine's module supplies to the conformance suite: servers, databases, and eyes.

The suite supplies every scenario. It knows two environments: `staging`, from which data comes, and
`integration`, into which it is pulled. Each has a server of its own. A subject says how to make databases
there, how to look at them as an application or a stranger would, and how to compare two of them whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from attrs import field, frozen

from env_sync.engines.registry import DESCRIPTORS
from tests.integration.conformance.drivers.watching import Driver, watch_statements
from tests.integration.conformance.dumps import Dumps

SOURCE = "staging"
TARGET = "integration"

PRIVATE = "zq-private"
"""Stands in every personal value of every sample, and nowhere else."""


@frozen
class Reading:
    """What one query of an application sees in live: of which generation the rows are, how many there are,
    and how many of them hold a personal value. A mixture of generations is told as one joined by `+`.
    """

    generation: str
    rows: int
    private: int


@frozen(kw_only=True)
class BadTransformation:
    """A transformation that must fail, and what the error must say."""

    text: str
    says: str
    never_ends: str | None = None
    """Where it fails by taking too long: what the server is then seen to run."""


@frozen(kw_only=True)
class BadDump:
    """A dump that must be refused: its bytes, and what the error must say."""

    content: bytes = field(repr=False)
    says: str


class Subject(ABC):
    """One engine with its servers. Databases are made by name; no two tests use the same one."""

    name: str
    """Heads its column in the table of results."""
    dbms: str
    driver: Driver
    """The library through which the engine works; one for all subjects of a kind."""
    tools: frozenset[str] = frozenset()
    """The outside programs that the engine runs, by the names of their processes."""
    steps_with_tools: frozenset[str] = frozenset({"dump", "download", "restore"})
    """The steps that run them."""
    many: int = 2000
    """How many tables, or what it has in their place, are very many for it."""
    same_words: bool = True
    """Whether both servers describe one object in the same words, as two of one version do."""
    keeps_previous: bool = True
    """Whether what live was is kept beside it, for an undo."""
    closed_at_first: bool = True
    """Whether a database that a first pull makes lets no application in yet."""
    warns_at_first: bool = True
    """Whether a first pull tells what somebody has still to do for its applications."""
    warns_of_pulls: bool = False
    """Whether each pull that sanitises is a WARNING, for what this server lacks."""
    harmless_transformation: str = "SELECT 1;"
    """A transformation that changes nothing."""
    statements_of_people: tuple[str, str] = (
        "UPDATE people SET email = email;",
        "UPDATE people SET email = '' WHERE id < 0;",
    )
    """Statements of a transformation, a line each: one that finds all people, and one that finds none."""
    closes_live: bool = False
    """Whether live lets nobody in for the moment of the swap."""
    push_options: Mapping[str, object] = {}
    """Fields of the push beside those of every engine: what leaves personal values out, where that does."""
    pull_options: Mapping[str, object] = {}
    """The same of the pull."""
    has_store: bool = True
    """Whether its dumps lie in a bucket, and not where its server keeps them."""
    steps: Mapping[str, str] = {}
    """What the engine calls its steps, by what they are called here where that differs."""
    lacks_steps: Mapping[str, str] = {}
    """Steps that its groups do not have, each with the reason."""
    cut_after: int = 9_000
    """Bytes that a connection carries before it is cut within a step."""
    slow_rate: int = 40_000
    """Bytes a second of a store that is slow."""
    not_applicable: Mapping[str, str] = {}
    """Scenarios that cannot be for this engine, by the name of their test, each with the reason."""

    def step(self, name: str) -> str:
        """What a step is called that has this name in the suite."""
        return self.steps.get(name, name)

    def dumps(self, database: str) -> Dumps | None:
        """The dumps of a database, where they do not lie in a bucket."""
        return None

    # Servers

    @property
    def can_undo(self) -> bool:
        """Whether what was live before can be made live again."""
        return DESCRIPTORS[self.dbms].capabilities.previous

    @abstractmethod
    def connection(self, environment: str) -> dict[str, object]:
        """An Airflow connection of the sync's role, as Airflow reads it from JSON."""

    @abstractmethod
    def connection_without_rights(self, environment: str, database: str) -> dict[str, object]:
        """The same for a role that can log in and may do nothing."""

    @abstractmethod
    def stop(self, environment: str) -> None:
        """Stop a server as a crash would."""

    @abstractmethod
    def start(self, environment: str) -> None:
        """Start it again, if it is stopped, on the same port, and wait until it answers."""

    # Databases

    @abstractmethod
    def fill(self, environment: str, database: str, generation: str, rows: int, *, private: bool) -> None:
        """Make a small database in which `read` finds this, open to its application."""

    @abstractmethod
    def fill_rich(self, environment: str, database: str) -> None:
        """Make a database with everything in it that the engine knows, with owners and grants."""

    @abstractmethod
    def change_rich(self, environment: str, database: str) -> None:
        """Change rows in each of its corners; can be done again."""

    @abstractmethod
    def add_rich(self, environment: str, database: str) -> None:
        """Add objects that it did not have."""

    @abstractmethod
    def fill_empty(self, environment: str, database: str) -> None:
        """Make a database with nothing in it."""

    @abstractmethod
    def fill_tables(self, environment: str, database: str, count: int) -> None:
        """Make a database with so many small tables."""

    @abstractmethod
    def drop(self, environment: str, database: str) -> None:
        """Drop a database and its copies, where they are there."""

    @abstractmethod
    def picture(self, environment: str, database: str) -> Mapping[str, str]:
        """All that there is in a database: its objects by name, each with its definition and a hash of its
        rows. Without what never comes down with the data.
        """

    @abstractmethod
    def never_comes_down(self, environment: str, database: str) -> list[str]:
        """The names of the objects in it that point back at another environment."""

    @abstractmethod
    def whole_text(self, environment: str, database: str) -> bytes:
        """Everything that can be read in a database, as text, statistics and comments included."""

    @abstractmethod
    def transformation(self) -> str:
        """A transformation that takes every personal value out of what `fill` and `fill_rich` make."""

    def transformation_in_place(self) -> str:
        """The same of the small database, of what may run on live itself."""
        return self.transformation()

    @abstractmethod
    def bad_transformations(self) -> Mapping[str, BadTransformation]:
        """Transformations that fail, each in its way, by name. They suit what `fill` makes."""

    @abstractmethod
    def bad_dumps(self, good: bytes, other: bytes) -> Mapping[str, BadDump]:
        """Dumps that are whole for the store and wrong for the engine; `other` is one of another database."""

    # Watching

    @abstractmethod
    def read(self, environment: str, database: str) -> Reading:
        """Read live as its application does, over a connection of its own. Raises `refusals`."""

    @abstractmethod
    def reader(self, environment: str, database: str) -> Callable[[], Reading]:
        """The same again and again over one connection, reconnecting where it breaks. Raises `refusals`."""

    @abstractmethod
    def write(self, environment: str, database: str) -> None:
        """Write a row to live as its application does, where `read` does not look. Raises `refusals`."""

    refusals: tuple[type[Exception], ...] = ()
    """What a client gets while it is not let in."""

    @abstractmethod
    def intruders(self, environment: str, database: str) -> Mapping[str, Callable[[], None]]:
        """One attempt for each other role to read incoming, previous or outgoing; raises `refusals` where it
        fails.
        """

    @abstractmethod
    def copies(self, environment: str, database: str) -> set[str]:
        """Which of `incoming`, `live`, `previous` and `outgoing` there are."""

    @abstractmethod
    def is_open(self, environment: str, database: str) -> bool:
        """Whether live lets applications in."""

    @abstractmethod
    def sessions(self, environment: str, database: str) -> list[str]:
        """What the sync's role is doing in the copies of a database, as the server sees it."""

    def statements(self, environment: str, database: str) -> list[str]:
        """The same, without waiting for what is about to end."""
        return self.sessions(environment, database)

    @abstractmethod
    def forge_proof(self, environment: str, database: str) -> None:
        """Put a proof of another attempt on incoming."""

    @abstractmethod
    def break_stamp(self, environment: str, database: str) -> None:
        """Make what live says of the pull that filled it something that nobody can read."""

    def watch_statements(self, before: Callable[[str], None]) -> Callable[[], None]:
        """Have `before` called with the text of each statement of the engine in this process, just before it
        is sent; gives what ends that. Values that are sent apart from a statement are not in its text.
        """
        return watch_statements(self.driver, before)

    # Recording

    @abstractmethod
    def forget_leases(self, environment: str) -> None:
        """Remove all that Env Sync keeps about leases and promotions, as if it had never been there."""

    def sessions_over(self, environment: str) -> Callable[[int], bool]:
        """Tells, over one connection, whether the server has ended a session, by the number that it has."""
        return lambda session: True

    def is_done(self, begun: str) -> bool:
        """Whether the servers have done what a statement asked for, where they answer before they have."""
        return True
