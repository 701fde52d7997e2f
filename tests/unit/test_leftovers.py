"""What a worker removes of what ended attempts left on its disk, and what it never touches."""

import datetime as dt
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field

from env_sync.domain.leftovers import Leftover, Swept
from env_sync.pipeline import sweep as sweep_module
from env_sync.pipeline.folder_lock import Hold
from env_sync.pipeline.folder_notes import Whose, write_whose
from env_sync.pipeline.session import make_folder, other_roots, remove_folder
from env_sync.pipeline.sweep import sweep
from tests.unit.values import a_sync, moment

LOG = logging.getLogger("env_sync.test")
NOW = dt.datetime.now(dt.UTC)
DAG = "env_sync_integration"
RAW = "ada@home.example"


@define
class FakeAirflow:
    """Airflow with these states of reports, by run, and these runs that are not over."""

    states: Mapping[str, Mapping[str, str | None]] = field(factory=dict)
    unfinished: tuple[str, ...] = ()
    asked: list[str] = field(factory=list)
    fails: bool = False

    def get_task_states(self, *, dag_id: str, task_ids: list[str], run_ids: list[str]) -> Any:
        if self.fails:
            raise ConnectionError("the value of a row")
        self.asked.append(f"{dag_id}: {', '.join(task_ids)} of {', '.join(run_ids)}")
        return {
            run: {task: state for task, state in self.states[run].items() if task in task_ids}
            for run in run_ids
            if run in self.states
        }

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert states == ["queued", "running"]
        self.asked.append(f"{dag_id}: {', '.join(run_ids)}")
        return sum(run in self.unfinished for run in run_ids)


def left(
    root: Path, *, run: str | None = f"{DAG}/1", group: str = "pull_signon", name: str = "1", days: float = 0
) -> Path:
    """A private folder with a raw dump in it; of the version before where it says no run."""
    folder = root / f"env_sync_{os.getuid()}" / "integration" / group / name
    make_folder(folder)
    (folder / "dump").write_text(RAW)
    if run is not None:
        whose = Whose(run=run, group=group, environment="integration", attempt="a", made=moment("2026-11-23"))
        write_whose(folder, whose)
        (folder / "lock").touch()
    when = (NOW - dt.timedelta(days=days)).timestamp()
    for path in (folder / "dump", folder):
        os.utime(path, (when, when))
    return folder


def sweep_here(root: Path, airflow: FakeAirflow | None = None, own: Path | None = None) -> Swept:
    return sweep([root], own=own, airflow=airflow or FakeAirflow(), log=LOG, now=NOW)


def found(run: str | None = f"{DAG}/1", group: str = "pull_signon") -> Leftover:
    return Leftover(environment="integration", group=group, run=run, size=len(RAW))


@pytest.mark.parametrize("run", [f"{DAG}/1", f"{DAG}/unknown", None])
def test_what_lies_where_no_sync_works_any_more_is_told_and_stays(tmp_path: Path, run: str | None) -> None:
    """Another Airflow of the same user, whose runs this one does not know, may work there."""
    here, before = tmp_path / "here", tmp_path / "before"
    folder = left(before, run=run, days=1.1)
    for path in folder.iterdir():
        os.utime(path, (folder.stat().st_mtime,) * 2)
    airflow = FakeAirflow(states={"1": {"pull_signon.report": "success"}})
    swept = sweep([here], own=None, airflow=airflow, log=LOG, now=NOW, others=[before, tmp_path / "gone"])
    assert swept.removed == ()
    [told] = swept.left
    assert told.startswith(f"{folder} may hold a raw dump, nothing in it has changed for a day")
    assert (folder / "dump").read_text() == RAW
    assert airflow.asked == []
    # One that is in use is swept, whatever else it was.
    assert sweep([before], own=None, airflow=airflow, log=LOG, now=NOW, others=[before]).left == ()
    assert not folder.exists()


def test_what_is_younger_or_at_work_there_is_not_told(tmp_path: Path) -> None:
    left(tmp_path, name="young", days=0.9)
    at_work = left(tmp_path, name="at work", days=2)
    for path in at_work.iterdir():
        os.utime(path, (at_work.stat().st_mtime,) * 2)
    hold = Hold()
    with hold.kept():
        assert hold.take(at_work)
        assert not sweep([], own=None, airflow=FakeAirflow(), log=LOG, now=NOW, others=[tmp_path])
    assert sweep([], own=None, airflow=FakeAirflow(), log=LOG, now=NOW, others=[tmp_path]).left


def test_the_roots_that_were_are_the_default_and_each_temppath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/default")
    usual, own = a_sync(), a_sync(temppath=Path("/own"))
    monkeypatch.delenv("ENV_SYNC_WORK_FOLDER", raising=False)
    assert other_roots([usual, own]) == set()
    assert other_roots([own]) == {Path("/default")}
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", "/work")
    assert other_roots([usual, own]) == {Path("/default"), Path("/own")}


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
def test_what_a_group_left_whose_report_is_over(tmp_path: Path, state: str) -> None:
    folder = left(tmp_path)
    airflow = FakeAirflow(states={"1": {"pull_signon.report": state}}, unfinished=("1",))
    assert sweep_here(tmp_path, airflow) == Swept(removed=(found(),))
    assert not folder.exists()
    assert airflow.asked == [f"{DAG}: pull_signon.report of 1"]


@pytest.mark.parametrize(
    "state", [None, "scheduled", "queued", "running", "up_for_retry", "deferred", "restarting"]
)
def test_what_a_group_may_need_that_is_not_over_stays(tmp_path: Path, state: str | None) -> None:
    folder = left(tmp_path)
    airflow = FakeAirflow(states={"1": {"pull_signon.report": state}}, unfinished=("1",))
    assert not sweep_here(tmp_path, airflow)
    assert (folder / "dump").read_text() == RAW


@pytest.mark.parametrize("states", [{}, {"1": {}}, {"1": {"pull_signon.report": None}}])
def test_what_a_run_left_that_is_over_or_unknown(tmp_path: Path, states: Any) -> None:
    folder = left(tmp_path)
    airflow = FakeAirflow(states=states)
    assert sweep_here(tmp_path, airflow) == Swept(removed=(found(),))
    assert not folder.exists()
    assert airflow.asked == [f"{DAG}: pull_signon.report of 1", f"{DAG}: 1"]


def test_one_request_tells_of_all_runs_whose_groups_were_reported(tmp_path: Path) -> None:
    for run in ("1", "2"):
        for group in ("pull_signon", "pull_mapit"):
            left(tmp_path, run=f"{DAG}/{run}", group=group, name=run)
    over = {"pull_signon.report": "success", "pull_mapit.report": "failed"}
    airflow = FakeAirflow(states={"1": over, "2": over})
    swept = sweep_here(tmp_path, airflow)
    assert len(swept.removed) == 4
    assert airflow.asked == [f"{DAG}: pull_mapit.report, pull_signon.report of 1, 2"]
    assert str(swept).startswith("4 work folders of ended attempts removed from workers, 0.0 MB: ")
    assert str(swept).endswith(" and 1 more")


def test_nothing_is_asked_where_nothing_lies(tmp_path: Path) -> None:
    airflow = FakeAirflow(fails=True)
    assert not sweep_here(tmp_path, airflow)
    assert not sweep_here(tmp_path / "nowhere", airflow)
    own = left(tmp_path)
    assert not sweep_here(tmp_path, airflow, own=own)
    assert own.exists()


def test_the_same_group_of_another_attempt_in_this_run_is_its_own(tmp_path: Path) -> None:
    """A step that found it removes it itself, or uses it."""
    own = left(tmp_path)
    over = FakeAirflow(states={"1": {"pull_signon.report": "success"}})
    assert not sweep_here(tmp_path, over, own=own)
    assert own.exists()


def test_a_folder_in_which_a_process_works_is_never_touched(tmp_path: Path) -> None:
    folder = left(tmp_path)
    hold = Hold()
    airflow = FakeAirflow()
    with hold.kept():
        assert hold.take(folder)
        assert not sweep_here(tmp_path, airflow)
        assert airflow.asked == []
        assert (folder / "dump").exists()
    assert sweep_here(tmp_path, airflow).removed == (found(),)


def test_a_folder_that_another_attempt_took_meanwhile_stays(tmp_path: Path) -> None:
    folder = left(tmp_path)

    class Slow(FakeAirflow):
        def get_task_states(self, **asked: Any) -> Any:
            whose = Whose(
                run=f"{DAG}/1", group="pull_signon", environment="integration", attempt="b", made=NOW
            )
            write_whose(folder, whose)
            return {"1": {"pull_signon.report": "success"}}

    assert not sweep_here(tmp_path, Slow())
    assert (folder / "dump").exists()


def test_a_folder_in_which_a_process_began_to_work_meanwhile_stays(tmp_path: Path) -> None:
    """Of the same attempt, for one: somebody cleared a step."""
    folder, hold = left(tmp_path), Hold()

    class Slow(FakeAirflow):
        def get_task_states(self, **asked: Any) -> Any:
            assert hold.take(folder)
            return {"1": {"pull_signon.report": "success"}}

    with hold.kept():
        assert not sweep_here(tmp_path, Slow())
        assert (folder / "dump").exists()


@pytest.mark.parametrize("level", range(4))
def test_a_file_in_the_place_of_a_folder_is_not_looked_into(tmp_path: Path, level: int) -> None:
    place = [*reversed(left(tmp_path / "other").relative_to(tmp_path / "other").parts)]
    file = tmp_path / "work" / Path(*reversed(place[level:]))
    file.parent.mkdir(parents=True, mode=0o700)
    file.touch(0o600)
    assert not sweep_here(tmp_path / "work", FakeAirflow(fails=True))
    assert file.exists()


def test_a_run_of_the_command_line_is_over_when_its_process_is_gone(tmp_path: Path) -> None:
    folder = left(tmp_path, run="command line/laptop/0a1b2c3d")
    script = (
        "import sys\nfrom pathlib import Path\nfrom env_sync.pipeline.folder_lock import Hold\n"
        "hold = Hold()\nwith hold.kept():\n    print(hold.take(Path(sys.argv[1])), flush=True)\n    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sweep_module.__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        airflow = FakeAirflow(fails=True)
        assert not sweep_here(tmp_path, airflow)
        assert folder.exists()
        process.kill()
        process.wait()
        assert sweep_here(tmp_path, airflow).removed == (found("command line/laptop/0a1b2c3d"),)
    assert not folder.exists()


@pytest.mark.parametrize(("days", "stays"), [(0.9, True), (1.1, False)])
def test_a_folder_of_the_version_before_stays_for_a_day(tmp_path: Path, days: float, stays: bool) -> None:
    folder = left(tmp_path, run=None, days=days)
    assert sweep_here(tmp_path, FakeAirflow(fails=True)).removed == (() if stays else (found(None),))
    assert folder.exists() is stays


@pytest.mark.parametrize("names", [["lock"], ["lock", "whose.new"]])
def test_what_was_killed_before_it_could_say_whose_it_is(tmp_path: Path, names: list[str]) -> None:
    folder = left(tmp_path, run=None)
    (folder / "dump").unlink()
    for name in names:
        (folder / name).touch()
    assert not sweep_here(tmp_path)
    assert not folder.exists()


def test_it_stays_while_anything_in_it_is_young(tmp_path: Path) -> None:
    folder = left(tmp_path, run=None, days=3)
    (folder / "dump.part").write_text(RAW)
    os.utime(folder, (0, 0))
    assert not sweep_here(tmp_path)


def test_an_empty_folder_is_removed_and_not_told(tmp_path: Path) -> None:
    folder = left(tmp_path)
    (folder / "dump").unlink()
    assert not sweep_here(tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("level", range(4))
def test_nothing_is_removed_through_a_link(tmp_path: Path, level: int) -> None:
    folder = left(tmp_path / "elsewhere")
    real = [folder, *folder.parents][level]
    place = tmp_path / "work" / real.relative_to(tmp_path / "elsewhere")
    place.parent.mkdir(parents=True, mode=0o700)
    place.symlink_to(real)
    assert not sweep_here(tmp_path / "work")
    assert (folder / "dump").exists()
    assert place.is_symlink()


@pytest.mark.parametrize("inside", ["a link to a file", "a link to a folder"])
def test_what_a_link_in_it_leads_to_stays(tmp_path: Path, inside: str) -> None:
    folder = left(tmp_path / "work")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    (folder / "link").symlink_to(elsewhere / "file" if "file" in inside else elsewhere)
    sweep_here(tmp_path / "work")
    assert not folder.exists()
    assert (elsewhere / "file").read_text() == "precious"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
@pytest.mark.parametrize("level", range(4))
def test_another_users_folder_is_never_touched(tmp_path: Path, level: int) -> None:
    folder = left(tmp_path)
    os.chown([folder, *folder.parents][level], 65534, 65534)
    assert not sweep_here(tmp_path)
    assert (folder / "dump").exists()


def test_what_others_may_write_to_is_not_looked_into(tmp_path: Path) -> None:
    folder = left(tmp_path)
    folder.parent.chmod(0o777)
    assert not sweep_here(tmp_path)
    assert (folder / "dump").exists()


def test_airflow_gives_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of its runs is removed then; what needs no answer is."""
    folder, gone = left(tmp_path), left(tmp_path, run="command line/laptop/1", name="2")
    assert len(sweep_here(tmp_path, FakeAirflow(fails=True)).removed) == 1
    assert (folder.exists(), gone.exists()) == (True, False)
    [record] = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "could not be checked: Airflow did not answer (ConnectionError" in record.getMessage()
    assert "the value of a row" not in caplog.text


def test_what_cannot_be_removed_is_told_with_its_path_and_the_others_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, other = left(tmp_path), left(tmp_path, run=f"{DAG}/2", name="2")

    def refuse(which: Path) -> None:
        if which == folder:
            raise PermissionError(13, "Permission denied")
        remove_folder(which)

    monkeypatch.setattr(sweep_module, "remove_folder", refuse)
    swept = sweep_here(tmp_path)
    [line] = swept.left
    assert line == (
        f"{folder} of an ended attempt may hold a raw dump and could not be removed (Permission denied): "
        "remove it by hand"
    )
    assert swept.removed == (found(f"{DAG}/2"),)
    assert not other.exists()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        *swept.left
    ]


def test_two_finds_are_told_as_one() -> None:
    one = Swept(removed=(found(),), left=("a", "b"))
    assert one + Swept(removed=(found(None),), left=("b", "c")) == Swept(
        removed=(found(), found(None)), left=("a", "b", "c")
    )
    assert str(evolve(one, removed=(evolve(found(), size=2_500_000),))) == (
        "1 work folder of ended attempts removed from workers, 2.5 MB: pull_signon of env_sync_integration/1"
    )
    assert str(Swept(left=("a",))) == ""
    assert "pull_signon of an unknown run of integration" in str(Swept(removed=(found(None),)))
