"""What checks the code: bin/lint, the hooks that call it, and the rule for the subjects of commits."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LINT = (ROOT / "bin" / "lint").read_text()
HOOKS: list[dict[str, Any]] = [
    hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]
]
PROGRAM = ROOT / "bin" / "commit-subjects"
LONGEST = 72
AUTHOR = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false")


def checks() -> set[str]:
    found = re.search(r"^ALL=\((.*)\)$", LINT, re.MULTILINE)
    assert found
    return set(found[1].split())


def test_the_hooks_run_what_ci_runs() -> None:
    run = {hook["entry"].removeprefix("bin/lint ") for hook in HOOKS if hook["stages"] == ["pre-commit"]}
    # Subjects are checked one by one as they are written.
    assert run == checks() - {"commit-subjects"}
    [subject] = [hook for hook in HOOKS if hook["stages"] == ["commit-msg"]]
    assert subject["entry"] == "bin/commit-subjects"
    # None installs a version of its own.
    assert {hook["language"] for hook in HOOKS} == {"system"}


def test_a_check_that_is_not_there_is_refused() -> None:
    done = subprocess.run([ROOT / "bin" / "lint", "pylint"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(check in done.stderr for check in checks())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the program, and a commit that is older than its rule."""
    folder = tmp_path / "repository"
    git(tmp_path, "init", "--quiet", str(folder))
    commit(folder, "o" * (LONGEST + 50))
    older = git(folder, "rev-parse", "HEAD")
    text = re.sub(r"^BEFORE=\w+$", f"BEFORE={older}", PROGRAM.read_text(), flags=re.MULTILINE)
    assert older in text
    program = folder / "bin" / PROGRAM.name
    program.parent.mkdir()
    program.write_text(text)
    shutil.copymode(PROGRAM, program)
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *AUTHOR, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "commit", "--quiet", "--allow-empty", "--no-verify", f"--message={message}")


def check(folder: Path, *arguments: str | Path, locale: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "bin" / PROGRAM.name, *arguments],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": locale},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize(
    ("message", "characters"),
    [
        ("a" * 72, 72),
        ("a" * 73, 73),
        ("é" * 72, 72),
        ("日" * 73, 73),
        # Comments of Git's own, and what the body says, do not count.
        ("\n# Please enter the message\n" + "a" * 72 + "\n\n" + "b" * 200 + "\n# On branch main\n", 72),
        # Without an empty line the second line belongs to the subject.
        ("a" * 40 + "\n" + "b" * 40 + "\n", 81),
    ],
)
def test_a_subject_has_at_most_72_characters(
    repository: Path, message: str, characters: int, locale: str
) -> None:
    file = repository / "COMMIT_EDITMSG"
    file.write_text(message)
    done = check(repository, file, locale=locale)
    assert (done.returncode == 0) == (characters <= LONGEST), done.stderr
    assert (f"has {characters} characters" in done.stderr) == (characters > LONGEST)


def test_a_commit_that_is_younger_than_the_rule_is_checked(repository: Path) -> None:
    commit(repository, "a" * LONGEST + "\n\n" + "b" * 200)
    assert check(repository).returncode == 0
    commit(repository, "c" * (LONGEST + 1))
    commit(repository, "Another that is short")
    done = check(repository)
    assert done.returncode == 1
    assert done.stderr.count("characters") == 1
    assert git(repository, "rev-parse", "--short", "HEAD~1") in done.stderr


def test_a_clone_without_the_history_is_not_checked(repository: Path, tmp_path: Path) -> None:
    git(repository, "add", "bin")
    commit(repository, "c" * (LONGEST + 1))
    assert check(repository).returncode == 1
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow))
    done = check(shallow)
    assert done.returncode == 0
    assert "shallow" in done.stdout
    shutil.rmtree(shallow / ".git")
    assert check(shallow).returncode == 0
