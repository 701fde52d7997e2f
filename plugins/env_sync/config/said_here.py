"""What a sync says of itself, and not what came along from another one: that nothing is to be sanitised.

`<<: *anchor` and aliases spare writing fields once more. `none` and `reason` say of one database that nothing
in it is personal; whoever takes the fields of another entry over has not said that.
"""

from __future__ import annotations

from env_sync.config.fields import EntryFields
from env_sync.config.sync_fields import NO_TRANSFORMATION
from env_sync.config.yaml_nodes import Fault
from env_sync.domain.sync import Action, Place

REASON, POSTPROCESS = "reason", "postprocess"
FILE_OF_PULL = "transformation_sql_filename"
FILE_OF_PUSH = "pre_dump_transformation_sql_filename"


def said_here(fields: EntryFields, place: Place, *, protected: bool) -> tuple[EntryFields, tuple[Fault, ...]]:
    """Return the fields of the entry at `place` without what only another one said, and what is wrong there.

    A fault where `none` and a `reason` would otherwise count together, for the sync itself has to say what is
    right then. Not of a pull into a protected environment, where neither counts.
    """
    pushes = fields.values.get("action") == Action.PUSH
    file = FILE_OF_PUSH if pushes else FILE_OF_PULL
    says_none = file in fields.values and fields.values[file] is None
    said = {REASON, file} if says_none else {REASON}
    borrowed = sorted(said & fields.borrowed, reverse=True)
    kept = fields.without([*borrowed, *({POSTPROCESS} & fields.borrowed)])
    if not borrowed or not says_none or REASON not in fields.values or (protected and not pushes):
        return kept, ()
    shown = {file: f"`{file}: {NO_TRANSFORMATION}`", REASON: f"`{REASON}`"}
    come = f"{shown[borrowed[0]]} is" if len(borrowed) == 1 else f"{shown[file]} and {shown[REASON]} are"
    places = " and ".join(dict.fromkeys(str(fields.places[name]) for name in borrowed))
    fault = Fault(
        place,
        f"{come} inherited from another entry ({places}), by `<<` or an alias: that does not count here",
        f"where nothing has to be sanitised here either, write {shown[file]} and `reason: <why>` in the "
        "entry itself; otherwise, what sanitises it",
    )
    return fields, (fault,)
