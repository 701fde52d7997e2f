"""All weaknesses of a root at once: the look before the night names each."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.core.errors import AccessRefused
from env_sync.domain.finding import Finding, problem
from env_sync.engines.files.names import HIDDEN
from tests.integration.files.stage import NAME, Stage
from tests.integration.files.test_swap import with_list
from tests.integration.weaknesses import are_named

AS_EVER = "was looked at"
"""What is noted of every root."""


def of_the_root(stage: Stage) -> Iterator[Finding]:
    try:
        yield from (each for each in stage.engine().preflight_server() if AS_EVER not in each.what)
    except AccessRefused as refused:
        yield problem(str(refused))


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.probe("leases that somebody else made or may change")
def test_each_of_all_weaknesses_is_named(stage: Stage) -> None:
    stage.make_live()
    engine = stage.engine()
    engine.take_lease(at_most=1)
    with engine.at_work():
        pass
    hidden, folder = stage.root / HIDDEN, stage.root / HIDDEN / NAME
    lease, at_work = folder / "lease.json", folder / "at_work"
    assert [*of_the_root(stage), *stage.engine().preflight((), None).findings] == []

    hidden.chmod(0o711)
    os.chown(folder, 60_001, 60_001)
    (folder / "records").chmod(0o750)
    (hidden / "lock").chmod(0o666)
    os.link(lease, stage.folder / "second name")
    at_work.unlink()
    at_work.symlink_to(stage.folder / "elsewhere")
    mode_of_a_folder = "must be a directory of the user of this worker"
    mode_of_a_file = "must be a file of the user of this worker"
    are_named(
        {
            "everybody may go through": f"problem: .*{hidden} {mode_of_a_folder}",
            "somebody else's folder": f"problem: .*{folder} {mode_of_a_folder}",
            "a group may look into the records": f"problem: .*{folder / 'records'} {mode_of_a_folder}",
            "everybody may write to the lock": f"problem: .*{hidden / 'lock'} {mode_of_a_file}",
            "a lease with a second name": f"problem: .*{lease} {mode_of_a_file}",
            "a lock that is a link": f"problem: .*{at_work} {mode_of_a_file}",
        },
        of_the_root(stage),
    )

    mend(stage)
    assert list(of_the_root(stage)) == []
    stage.root.chmod(0o777)
    weaknesses = {"everybody may rename": f"note: Everybody may rename what is in {stage.root},"}
    with_lists = (hidden, folder, folder / "records")
    if has_lists(hidden):
        for each in with_lists:
            with_list(each)
            weaknesses[f"a list of {each.name}"] = f"problem: {each} has an access control list"
    (stage.root / "real").mkdir()
    stage.live.rename(stage.root / "real" / NAME)
    stage.live.symlink_to(stage.root / "real" / NAME)
    weaknesses["live is a link"] = f"problem: {stage.live} on .* is a symlink"
    are_named(weaknesses, [*of_the_root(stage), *stage.engine().preflight((), None).findings])


def mend(stage: Stage) -> None:
    hidden, folder = stage.root / HIDDEN, stage.root / HIDDEN / NAME
    os.chown(folder, os.geteuid(), os.getegid())
    for each in (hidden, folder, folder / "records"):
        each.chmod(stat.S_IRWXU)
    for file in (hidden / "lock", folder / "lease.json", folder / "at_work"):
        file.unlink()


def has_lists(folder: Path) -> bool:
    """Whether the file system of a folder has access control lists."""
    try:
        os.getxattr(folder, "system.posix_acl_default")
    except OSError as error:
        return error.errno != errno.EOPNOTSUPP
    return True
