"""Which postprocess is bound to which databases, in which environments: `govuk_env_sync::postprocess`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from attrs import frozen

from env_sync.config.fields import read_fields
from env_sync.config.postprocess_rules import NO_RULE, RULES
from env_sync.config.settings_reader import POSTPROCESS, may_hide
from env_sync.config.suggestion import closest
from env_sync.config.sync_fields import SyncField
from env_sync.config.values import one_of, read_names
from env_sync.config.yaml_nodes import Entry, Fault, Fields, Items, Node, shorten, shown
from env_sync.config.yaml_reader import YamlFile
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.sync import Place

NEARLY_THE_SAME = 0.8
"""How alike a database must be to one that is known (difflib's ratio), to be taken for a slip of the pen."""


def _read_dbms(node: Node) -> tuple[str, ...]:
    known = tuple(sorted({dbms for rule in RULES.values() for dbms in rule.make.dbms}))
    for each in node.items if isinstance(node, Items) else (node,):
        one_of(known)(each)
    return read_names(node)


def _read_parameters(node: Node) -> Fields:
    if not isinstance(node, Fields):
        raise WrongValue("write a mapping of the rule's parameters")
    return node


BINDING_FIELDS: Mapping[str, SyncField] = {
    "rule": SyncField(
        reader=one_of((*RULES, NO_RULE)),
        values=", ".join(f"`{name}`" for name in (*RULES, NO_RULE)),
        doc=f"What is done; `{NO_RULE}` says that nothing needs to be.",
        default=None,
    ),
    "databases": SyncField(
        reader=read_names, values="name or list of names", doc="In pulls of these databases.", default=None
    ),
    "environments": SyncField(
        reader=read_names, values="name or list of names", doc="Into these environments.", default=None
    ),
    "dbms": SyncField(
        reader=_read_dbms,
        values="engine or list of engines",
        doc="Only of these engines.",
        default="those on which the rule runs",
    ),
    "parameters": SyncField(
        reader=_read_parameters, values="mapping", doc="The rule's parameters, as below.", default="none"
    ),
}


@frozen(kw_only=True)
class Binding:
    """One binding. What could not be read of it is None, and then `wrong`: it might say anything."""

    place: Place
    databases: tuple[str, ...] | None
    environments: tuple[str, ...] | None
    dbms: tuple[str, ...]
    """Empty for every engine."""
    postprocess: Postprocess | None
    """None where it says that nothing is to be done."""
    wrong: bool

    def is_of(self, database: str, dbms: str) -> bool:
        """Whether it speaks of this database, in whatever environment."""
        of_dbms = not self.dbms or dbms in self.dbms
        return of_dbms and (self.databases is None or database in self.databases)

    def is_for(self, environment: str) -> bool:
        """Whether it speaks of this environment."""
        return self.environments is None or environment in self.environments


@frozen(kw_only=True)
class Bindings:
    """All bindings, in the order of their files and lines; `hidden` is why there may be more, if so."""

    bindings: tuple[Binding, ...] = ()
    hidden: Place | None = None

    def of(self, environment: str, database: str, dbms: str) -> tuple[Postprocess, ...]:
        """What is done in a pull of a database, in order."""
        return tuple(
            binding.postprocess
            for binding in self.bindings
            if binding.postprocess and binding.is_of(database, dbms) and binding.is_for(environment)
        )

    def wrong(self, environment: str, database: str, dbms: str, *, says_none: bool) -> tuple[str, str] | None:
        """What is wrong with a pull of a database, and what would be right; None where nothing is.

        `says_none`: the sync says `postprocess: none`.
        """
        name = f"`{shorten(database)}`"
        if self.hidden is not None:
            return (
                f"what is to be done to {name} after its transformation cannot be read ({self.hidden})",
                f"correct `{POSTPROCESS}` there",
            )
        about = [binding for binding in self.bindings if binding.is_of(database, dbms)]
        here = [binding for binding in about if binding.is_for(environment)]
        if wrong := next((binding for binding in here if binding.wrong), None):
            return (f"the postprocess for {name} at {wrong.place} has a problem", "correct it there")
        if says_none and (bound := next((binding for binding in here if binding.postprocess), None)):
            return (
                f"`postprocess: none`, but {bound.place} binds a rule to {name} in `{environment}`",
                "remove one of the two",
            )
        if about and not here and not says_none:
            return (
                f"{name} has a postprocess elsewhere ({about[0].place}) and none for `{environment}`",
                f"bind one to it in `{POSTPROCESS}`, or write `postprocess: none`",
            )
        return None


def read_bindings(
    files: Iterable[YamlFile], environment: str, databases: Collection[str]
) -> tuple[Bindings, tuple[Fault, ...]]:
    """Read the bindings of all files; and what is wrong in those that could be read.

    `databases` are those of which the environment's syncs speak.
    """
    bindings: list[Binding] = []
    faults: list[Fault] = []
    unread: list[Place] = []
    for file in files:
        if may_hide(file, POSTPROCESS):
            unread.append(Place(file.name, 1))
        if file.root is None:
            continue
        for entry in (*file.root.entries.values(), *file.root.repeated):
            if entry.key != POSTPROCESS:
                continue
            if not isinstance(entry.value, Items):
                faults.append(
                    Fault(entry.place, f"`{POSTPROCESS}` is {shown(entry.value)}", "write a list of bindings")
                )
                unread.append(entry.place)
                continue
            for node in entry.value.items:
                binding, wrong = _binding(node)
                bindings.append(binding)
                faults += wrong
    faults += (fault for one in bindings for fault in _slips(one, environment, databases))
    return Bindings(bindings=tuple(bindings), hidden=unread[0] if unread else None), tuple(faults)


def _binding(node: Node) -> tuple[Binding, list[Fault]]:
    if not isinstance(node, Fields):
        fault = Fault(
            node.place,
            f"a binding is {shown(node)}",
            "write a mapping with `rule`, `databases`, `environments`",
        )
        return _unknown(node.place), [fault]
    read = read_fields(node.place, node, BINDING_FIELDS)
    faults = list(read.faults)
    name = str(read.values.get("rule", ""))
    postprocess, dbms = None, read.values.get("dbms", ())
    written = node.entries.get("parameters")
    if name == NO_RULE and written is not None:
        faults.append(Fault(written.place, f"`parameters` of the rule `{NO_RULE}`", "remove them"))
    elif name in RULES and (written is None or "parameters" in read.values):
        postprocess, wrong = _postprocess(name, node, written)
        faults += wrong
        where = RULES[name].make.dbms
        if beyond := [each for each in dbms if each not in where]:
            faults.append(
                Fault(
                    read.places["dbms"],
                    f"`dbms` is `{beyond[0]}` for the rule `{name}`",
                    f"it runs on {', '.join(f'`{each}`' for each in where)}",
                )
            )
        dbms = dbms or where
    return (
        Binding(
            place=node.place,
            databases=read.values.get("databases"),
            environments=read.values.get("environments"),
            # Of a wrong one nobody knows which was meant.
            dbms=() if faults else dbms,
            postprocess=postprocess,
            wrong=bool(faults),
        ),
        faults,
    )


def _postprocess(name: str, node: Fields, written: Entry | None) -> tuple[Postprocess | None, list[Fault]]:
    rule = RULES[name]
    place = node.place if written is None else written.place
    fields = written.value if written is not None and isinstance(written.value, Fields) else None
    if fields is None:
        fields = Fields(place, {}, (), ())
    read = read_fields(place, fields, rule.parameters)
    return (None if read.faults else rule.make(**read.values)), list(read.faults)


def _unknown(place: Place) -> Binding:
    return Binding(place=place, databases=None, environments=None, dbms=(), postprocess=None, wrong=True)


def _slips(binding: Binding, environment: str, databases: Collection[str]) -> Iterator[Fault]:
    """Databases that no sync here speaks of, where one has nearly the same name: it would go without."""
    if not binding.is_for(environment):
        return
    for name in binding.databases or ():
        if name in databases:
            continue
        if (close := closest(name, databases, cutoff=NEARLY_THE_SAME)) is not None:
            yield Fault(
                binding.place,
                f"a postprocess is bound to `{shorten(name)}`, of which `{environment}` has no sync",
                f"did you mean `{close}`?",
            )
