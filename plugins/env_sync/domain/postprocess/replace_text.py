"""The rule `replace_text`: text in columns of a table is replaced by other text."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from env_sync.domain.postprocess.postprocess import SqlPostprocess

QUOTES = {"postgresql": '"', "mysql": "`"}
"""What names stand in, by engine."""


@frozen(kw_only=True)
class Replacement:
    """One text that is replaced by another in some columns. None of the three holds a backslash."""

    columns: tuple[str, ...]
    old: str
    new: str


@frozen(kw_only=True)
class ReplaceText(SqlPostprocess):
    """Replacements in one table, one after another: each sees what those before it left.

    Upper and lower case differ. A table or column that is not there fails it. Run twice it may replace
    twice, where `new` holds `old`: incoming is sanitised once, or restored anew.
    """

    rule: ClassVar[str] = "replace_text"
    version: ClassVar[int] = 1
    dbms: ClassVar[tuple[str, ...]] = tuple(QUOTES)

    table: str
    replacements: tuple[Replacement, ...]

    def sql(self, dbms: str) -> str:
        """One UPDATE for each column of each replacement."""
        quote = QUOTES[dbms]
        table = ".".join(f"{quote}{part}{quote}" for part in self.table.split("."))
        statements = []
        for replacement in self.replacements:
            old, new = _literal(replacement.old), _literal(replacement.new)
            for column in replacement.columns:
                name = f"{quote}{column}{quote}"
                statements.append(
                    f"UPDATE {table} SET {name} = replace({name}, {old}, {new}) "
                    # Rows without it are left alone: every row that is written costs.
                    f"WHERE position({old} IN {name}) > 0;\n"
                )
        return "".join(statements)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
