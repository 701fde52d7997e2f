"""How the survivors of mutation testing are told apart, explained and counted."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.mutation.__main__ import report
from tests.mutation.mutants import Change, Judged, change_in
from tests.mutation.project import mutant_pattern, without_decorators
from tests.mutation.scores import (
    Score,
    lower_scores,
    read_baseline,
    score,
    table,
    without_mutants,
    write_baseline,
)
from tests.mutation.survivors import explained_in_vain, read_survivors, unexplained

CHANGE = Change("some/module.py", "Lease.take", "- go(1)\n+ go(2)")
ANY = Score(mutants=1, killed=1)
OTHER = Change("some/module.py", "Lease.take", "- return rows\n+ return None")


def survived(*changes: Change) -> list[Judged]:
    return [Judged(change=change, killed=False) for change in changes]


def killed(*changes: Change) -> list[Judged]:
    return [Judged(change=change, killed=True) for change in changes]


def test_functions_are_decorated_after_they_are_defined() -> None:
    source = textwrap.dedent("""
        import contextlib

        class Kept:
            @property
            def size(self):
                return 4

            @contextlib.contextmanager
            def held(self):
                yield self.size

            @staticmethod
            def make():
                return Kept()
        """)
    changed = without_decorators(source)
    assert changed.count("@") == 1
    scope: dict[str, type] = {}
    exec(changed, scope)
    kept = scope["Kept"]()
    with kept.held() as held:
        assert (kept.size, held) == (4, 4)


@pytest.mark.parametrize(
    ("module", "pattern"),
    [("engines/base/proof.py", "env_sync.engines.base.proof.*"), ("engines/*", "env_sync.engines.*.*")],
)
def test_modules_are_named_by_their_path(module: str, pattern: str) -> None:
    assert mutant_pattern(module) == pattern


def test_a_change_is_what_differs_wherever_it_stands() -> None:
    diff = textwrap.dedent("""\
        --- src/some/module.py
        +++ src/some/module.py
        @@ -1,5 +1,2 @@
             def take(self):
        -        if (
        -            self.ready
        -        ):
        +        if None:
                     go(1)
        """)
    assert change_in(diff) == "- if (\n- self.ready\n- ):\n+ if None:"


def test_each_survivor_is_explained_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "survivors.yaml"
    file.write_text(
        textwrap.dedent("""
            some/module.py:
              - why: The number is told to nobody.
                mutants:
                  Lease.take:
                    - |
                      - go(1)
                      + go(2)
                    - |
                      - go(1)
                      + go(2)
            """)
    )
    explained = read_survivors(file)
    assert explained == {CHANGE: ["The number is told to nobody."] * 2}
    twice = survived(CHANGE, CHANGE)
    assert unexplained(twice, explained) == explained_in_vain(twice, explained) == []
    assert unexplained(survived(CHANGE, CHANGE, CHANGE, OTHER), explained) == [CHANGE, OTHER]
    assert explained_in_vain(survived(CHANGE) + killed(CHANGE), explained) == [CHANGE]
    # Of a module that was not judged nothing is known.
    elsewhere = survived(Change("another.py", "go", ""))
    assert explained_in_vain(elsewhere, explained) == []


def test_a_module_is_to_be_as_good_as_in_the_baseline(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    before = {"a.py": Score(mutants=10, killed=9), "b.py": Score(mutants=5, killed=5)}
    write_baseline(before, file)
    assert read_baseline(file) == before
    as_good = {"a.py": Score(mutants=100, killed=90), "new.py": Score(mutants=9, killed=0)}
    assert lower_scores(as_good, before) == []
    assert lower_scores({"a.py": Score(mutants=100, killed=89)}, before) == [
        "a.py has 89.0 %, and 90.0 % in baseline.json."
    ]
    # Rounded down: only all are all.
    assert str(Score(mutants=10_000, killed=9_999)) == "99.9 %"


def test_mutants_are_counted_by_module() -> None:
    scores = score([*killed(CHANGE, CHANGE, Change("a.py", "go", "")), *survived(OTHER)])
    assert scores == {"a.py": Score(mutants=1, killed=1), "some/module.py": Score(mutants=3, killed=2)}
    assert [line.split() for line in table(scores).splitlines()[1:]] == [
        ["a.py", "1", "1", "0", "100.0", "%"],
        ["some/module.py", "3", "2", "1", "66.6", "%"],
        ["all", "4", "3", "1", "75.0", "%"],
    ]


@pytest.mark.parametrize(
    ("judged", "explained", "code", "said"),
    [
        (killed(CHANGE), {}, 0, "100.0 %"),
        (survived(CHANGE), {CHANGE: ["It is the same."]}, 0, "0.0 %"),
        (survived(CHANGE), {}, 1, "It survives: some/module.py, Lease.take\n- go(1)\n+ go(2)\n"),
        (killed(CHANGE), {CHANGE: ["It is the same."]}, 1, "explains what does not survive: some/module.py"),
    ],
    ids=["killed", "explained", "survived", "explained in vain"],
)
def test_a_run_fails_for_a_survivor_that_is_not_explained(
    judged: list[Judged],
    explained: dict[Change, list[str]],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(judged, explained, whole=False, write=False) == code
    assert said in capsys.readouterr().out


def test_a_run_of_all_modules_fails_for_one_that_has_no_mutant() -> None:
    assert report(killed(CHANGE), {}, whole=True, write=False) == 1
    named = without_mutants({"a.py": ANY}, {"a.py": ANY, "b.py": ANY})
    assert [line.split()[0] for line in named] == ["b.py"]
