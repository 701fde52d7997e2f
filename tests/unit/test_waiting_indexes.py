from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from env_sync.domain.settings import IndexesAfterTransformation
from env_sync.engines.postgresql.archive import Archive, Entry, Locale
from env_sync.engines.postgresql.deferred_indexes import named_in, table_of, waiting_indexes
from env_sync.engines.postgresql.transformation import Script, read_script, words_of

AUTO, ALWAYS, NEVER = IndexesAfterTransformation


def entry(number: int, kind: str, name: str, definition: str = "", *dependencies: int) -> Entry:
    return Entry(
        dump_id=number,
        type=kind,
        schema="public",
        name=name,
        owner="app",
        dependencies=dependencies,
        definition=definition,
    )


def index(number: int, name: str, rest: str, *dependencies: int, unique: str = "") -> Entry:
    return entry(number, "INDEX", name, f"CREATE {unique}INDEX {name} ON public.{rest};", *dependencies)


PLAIN = index(10, "people_email", "people USING btree (email)")
ENTRIES = (
    entry(1, "TABLE", "people", "CREATE TABLE public.people (...)"),
    entry(2, "TABLE", "letters", "CREATE TABLE public.letters (...)"),
    PLAIN,
    index(11, "people_lower", 'people USING btree (lower("email")) WHERE (id > 3)'),
    index(12, "people_id", "people USING btree (id)", unique="UNIQUE "),
    index(13, "letters_person", "letters USING btree (person_id, at)"),
    index(14, "letters_at", "letters USING btree (at, person_id)"),
    entry(20, "COMMENT", "INDEX people_lower", "COMMENT ON INDEX public.people_lower IS 'x';", 11),
    entry(
        30,
        "FK CONSTRAINT",
        "letters fk",
        "ALTER TABLE ONLY public.letters\n"
        "    ADD CONSTRAINT fk FOREIGN KEY (person_id) REFERENCES public.people(id);",
    ),
)
CHANGE = "UPDATE people SET email = 'x' || id; TRUNCATE TABLE letters;"


def archive(*more: Entry) -> Archive:
    locale = Locale(
        encoding="UTF8", collate="C", ctype="C", provider="libc", provider_locale="", icu_rules=""
    )
    return Archive(
        file=Path("dump"), database="app", server_version="18.0", locale=locale, entries=(*ENTRIES, *more)
    )


def script(text: str) -> Script:
    return read_script(Path("redact.sql"), text.encode())


def waiting(
    text: str, *more: Entry, wanted: IndexesAfterTransformation = IndexesAfterTransformation.AUTO
) -> list[str]:
    return [each.name for each in waiting_indexes(archive(*more), script(text), wanted)]


def test_plain_indexes_of_the_tables_that_are_named_wait_with_what_follows_on_them() -> None:
    assert waiting(CHANGE) == ["people_email", "people_lower", "letters_at", "INDEX people_lower"]
    assert waiting('UPDATE public."people" SET a = 1', wanted=ALWAYS) == [
        "people_email",
        "people_lower",
        "INDEX people_lower",
    ]
    assert waiting("UPDATE other SET a = 'people' -- letters", wanted=ALWAYS) == []


def test_those_of_other_tables_wait_as_well_where_nothing_looks_rows_up() -> None:
    assert waiting("UPDATE other SET a = 1") == waiting(CHANGE)
    assert named_in([script("UPDATE Other SET a = 'people'")]) == {"update", "other", "set", "a"}
    assert [table_of(each) for each in (PLAIN, ENTRIES[0], ENTRIES[3])] == ["people", "", "people"]


def test_nothing_waits_where_nothing_runs_or_where_that_is_the_setting() -> None:
    assert waiting_indexes(archive(), None, ALWAYS) == ()
    assert waiting(CHANGE, wanted=NEVER) == []


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE people SET email = (SELECT email FROM letters WHERE letters.at = people.at);",
        "UPDATE people p SET email = l.text FROM letters l WHERE l.at = p.at;",
        "DELETE FROM people USING letters WHERE letters.at = people.at;",
        "DELETE FROM people WHERE id IN (TABLE letters);",
        "WITH x AS (DELETE FROM people RETURNING 1) INSERT INTO letters VALUES (1);",
        "DO $$ BEGIN UPDATE people SET email = 'x'; END $$;",
        "CALL redact(); UPDATE people SET email = '';",
        "ALTER TABLE people DROP COLUMN email;",
        "REFRESH MATERIALIZED VIEW people;",
        "LOCK TABLE people; UPDATE people SET email = '';",
        "MERGE INTO people p USING letters l ON l.at = p.at WHEN MATCHED THEN DELETE;",
    ],
)
def test_nothing_waits_by_itself_where_rows_may_be_looked_up(text: str) -> None:
    assert waiting(text) == []
    assert waiting(text + CHANGE, wanted=ALWAYS) != []


@pytest.mark.parametrize(
    "more",
    [
        entry(40, "MATERIALIZED VIEW", "m", "CREATE MATERIALIZED VIEW public.m AS SELECT 1"),
        entry(40, "TRIGGER", "people t", "CREATE TRIGGER t BEFORE UPDATE ON public.people ..."),
        entry(40, "RULE", "people r", "CREATE RULE r AS ON UPDATE TO public.people DO ..."),
        entry(40, "FUNCTION", "redact(text, integer)", "CREATE FUNCTION public.redact ..."),
    ],
)
def test_nor_where_the_database_may_look_them_up(more: Entry) -> None:
    assert waiting("UPDATE people SET email = Redact(email, 1)", more) == []


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM people WHERE email IS DISTINCT FROM 'x' AND email LIKE 'a%';",
        "UPDATE people SET email = substring(email FROM 1 FOR 2) WHERE email IS NOT DISTINCT FROM 'y';",
        "INSERT INTO people VALUES (1) ON CONFLICT (id) DO UPDATE SET email = 'x';",
        "SET search_path = app; /* SELECT */ UPDATE people SET email = 'SELECT'; RESET search_path",
    ],
)
def test_statements_that_treat_each_row_by_itself_are_known(text: str) -> None:
    assert "people_email" in waiting(text)


def test_an_index_that_is_named_or_that_a_cluster_needs_does_not_wait() -> None:
    assert "people_email" not in waiting(CHANGE + "DROP INDEX People_Email;", wanted=ALWAYS)
    clustered = evolve(
        index(40, "people_c", "people USING btree (c)"),
        definition="CREATE INDEX people_c ON public.people USING btree (c);\n\n"
        "ALTER TABLE public.people CLUSTER ON people_c;",
    )
    assert "people_c" not in waiting(CHANGE, clustered)


@pytest.mark.parametrize(
    "unread",
    [
        evolve(PLAIN, dump_id=40, name="people email"),
        evolve(
            PLAIN, dump_id=40, name="x", definition="CREATE INDEX x ON public.people USING btree (caf\ufffd)"
        ),
        evolve(PLAIN, dump_id=40, schema="other"),
        evolve(PLAIN, dump_id=40, definition="CREATE INDEX people_email ON people"),
    ],
)
def test_what_was_not_read_as_it_was_written_does_not_wait(unread: Entry) -> None:
    assert unread not in waiting_indexes(archive(unread), script(CHANGE), AUTO)


def test_indexes_of_partitions_wait_together_or_not_at_all() -> None:
    def family(child: Entry, *more: Entry) -> list[str]:
        parent = index(40, "visits_a", "visits USING btree (a)")
        parent = evolve(parent, definition=parent.definition.replace("ON ", "ON ONLY "))
        attach = entry(42, "INDEX ATTACH", child.name, "ALTER INDEX ... ATTACH PARTITION ...", 40, 41)
        return waiting("UPDATE visits SET a = 1", parent, child, attach, *more, wanted=ALWAYS)

    child = index(41, "visits_1_a", "visits_1 USING btree (a)", 40)
    assert family(child) == ["visits_a", "visits_1_a", "visits_1_a"]
    assert family(evolve(child, definition=child.definition + " ALTER TABLE x CLUSTER ON y")) == []
    # Whatever else may depend on an index has to come after it as well: so the index does not wait.
    assert family(child, entry(43, "STATISTICS", "s", "", 41)) == []


def test_words_know_brackets_and_leave_out_comments_and_literals() -> None:
    words = words_of(
        script("UPDATE \"A b\" SET x = f(y) -- no\n; /* nor /* this */ */ ; SELECT $$ body $$, 'it'")
    )
    assert [[(word.text, word.depth) for word in statement] for statement in words] == [
        [("UPDATE", 0), ("A b", 0), ("SET", 0), ("x", 0), ("f", 0), ("y", 1)],
        [("SELECT", 0)],
    ]
