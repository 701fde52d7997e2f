"""What comes out of a dump, and what never gets out of one."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from env_sync.core.errors import ContentRefused, DiskFull, DumpDamaged, NoSuchDatabase
from env_sync.engines.files import restore
from tests.integration.files.archives import EVIL, Evil, file, folder, special
from tests.integration.files.stage import NAME, Stage


def zipped(stage: Stage, *evil: Evil) -> Path:
    dump = stage.folder / "dump"
    dump.write_bytes(evil[0].content(NAME))
    return dump


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.probe("an archive that leaves its directory")
def test_nothing_leaves_the_directory(stage: Stage, name: str) -> None:
    stage.make_live()
    dump = zipped(stage, EVIL[name])
    before = sorted(stage.folder.rglob("*"))
    engine = stage.engine()
    engine.take_lease(at_most=1)
    with engine.at_work():
        # Reading it through finds what its headers say; the rest is found before anything is written there.
        with contextlib.suppress(DumpDamaged):
            engine.verify(dump)
        with pytest.raises(DumpDamaged, match=EVIL[name].says):
            engine.restore(stage.dump_of(dump))
        assert not stage.incoming.exists()
    kept = [path for path in sorted(stage.folder.rglob("*")) if ".env_sync" not in path.parts]
    assert kept == before
    assert (stage.live / "file").read_text() == "old"
    assert not Path("/tmp/evil").exists()


def test_what_would_run_as_another_user_does_not(stage: Stage) -> None:
    stage.make_live()
    evil = Evil(
        lambda top: [
            file(f"{top}/suid", mode=0o4755),
            file(f"{top}/sgid", mode=0o2755),
            special(f"{top}/pipe", tarfile.FIFOTYPE),
        ],
        "",
    )
    warnings = stage.restored(zipped(stage, evil), stage.engine())
    assert stat.S_IMODE((stage.incoming / "suid").stat().st_mode) == 0o755
    assert stat.S_IMODE((stage.incoming / "sgid").stat().st_mode) == 0o755
    assert not (stage.incoming / "pipe").exists()
    assert any("2 files lost their set-user-ID" in warning for warning in warnings)
    assert any("1 named pipes were left out" in warning for warning in warnings)


@pytest.mark.probe("a gzip bomb")
def test_a_bomb_stops_before_the_disk_is_full(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.make_live()
    dump = zipped(stage, Evil(lambda top: [file(f"{top}/bomb", bytes(100_000_000))], ""))
    assert dump.stat().st_size < 200_000
    room = os.statvfs(stage.root)
    free = room.f_bavail * room.f_frsize
    monkeypatch.setattr(restore, "ROOM_LEFT", free - 40_000_000)
    engine = stage.engine()
    engine.take_lease(at_most=1)
    with engine.at_work(), pytest.raises(DiskFull, match="Make room there"):
        engine.restore(stage.dump_of(dump))
    assert not stage.incoming.exists()


def test_what_the_shell_script_wrote(stage: Stage) -> None:
    stage.make_live("script")
    (stage.live / "link").symlink_to("file")
    (stage.live / "name\nwith a line").write_text("odd")
    dump = stage.folder / "script.gz"
    subprocess.run(
        ["tar", "--create", "--gzip", "--force-local", "--file", dump, NAME], cwd=stage.root, check=True
    )
    engine = stage.engine()
    engine.verify(dump)
    stage.pulled(dump)
    assert (stage.live / "link").read_text() == "script"
    assert (stage.live / "name\nwith a line").read_text() == "odd"


def test_gnu_tar_reads_what_was_pushed(stage: Stage) -> None:
    stage.make_live("pushed")
    with (stage.live / "holes").open("wb") as holes:
        holes.seek(5_000_000)
        holes.write(b"end")
    (stage.live / "tail").write_bytes(b"start")
    os.truncate(stage.live / "tail", 3_000_000)
    dump = stage.push()
    out = stage.folder / "out"
    out.mkdir()
    subprocess.run(["tar", "--extract", "--gzip", "--file", dump], cwd=out, check=True)
    for name in ("file", "holes", "tail"):
        assert (out / NAME / name).read_bytes() == (stage.live / name).read_bytes()
    assert (out / NAME / "holes").stat().st_blocks * 512 < 100_000
    assert (out / NAME / "tail").stat().st_size == 3_000_000


@pytest.mark.parametrize("compression", ["none", "gzip:1", "gzip:3", "gzip:9"])
def test_each_compression_is_gzip(stage: Stage, compression: str) -> None:
    stage.make_live("compressed " * 10_000)
    push = stage.engine(push=True, run="push")
    options = push.work.sync.options
    object.__setattr__(options, "compression", compression)
    push.take_lease(at_most=1)
    dump = stage.folder / "pushed"
    with push.at_work():
        push.dump(dump)
    assert (dump.stat().st_size > 100_000) == (compression == "none")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(dump.read_bytes()))) as tar:
        assert tar.getnames() == [NAME, f"{NAME}/file"]


def test_what_is_excluded_stays_above(stage: Stage) -> None:
    stage.make_live()
    for path in ("cache/a", "deep/cache/b", "deep/c.tmp", "top/only", "deep/top/only", "kept"):
        (stage.live / path).parent.mkdir(parents=True, exist_ok=True)
        (stage.live / path).write_text(path)
    dump = stage.push(excluded_tables=("cache", "*.tmp", "top/*"))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(dump.read_bytes()))) as tar:
        names = {name.removeprefix(NAME).lstrip("/") for name in tar.getnames()}
    assert names == {"", "file", "kept", "deep", "deep/top", "deep/top/only", "top"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "folder/../../outside"])
@pytest.mark.probe("an archive that leaves its directory")
def test_a_link_that_leaves_the_directory_fails_the_push(stage: Stage, target: str) -> None:
    stage.make_live()
    (stage.live / "link").symlink_to(target)
    with pytest.raises(ContentRefused, match="'link' is a symlink that leaves"):
        stage.push()
    assert not list(stage.folder.glob("pushed*"))
    assert stage.push(excluded_tables=("link",)).exists()


def test_sockets_and_pipes_are_left_out(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.make_live()
    os.mkfifo(stage.live / "pipe")
    dump = stage.push()
    assert "1 left out for they are sockets, named pipes or devices" in caplog.text
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(dump.read_bytes()))) as tar:
        assert tar.getnames() == [NAME, f"{NAME}/file"]


def test_a_directory_that_is_not_there(stage: Stage) -> None:
    with pytest.raises(NoSuchDatabase, match=re.escape(str(stage.live))):
        stage.push()


@pytest.mark.probe("an archive that leaves its directory")
def test_a_symlink_that_is_put_in_the_place_of_a_directory_is_not_followed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.make_live()
    (stage.live / "folder").mkdir()
    secret = stage.folder / "secret"
    secret.mkdir()
    (secret / "value").write_text("zq-secret")
    real = os.stat

    def swapped(path: object, **named: object) -> os.stat_result:
        status = real(path, **named)  # type: ignore[arg-type]
        if path == "folder" and "dir_fd" in named:
            (stage.live / "folder").rmdir()
            (stage.live / "folder").symlink_to(secret)
        return status

    monkeypatch.setattr(os, "stat", swapped)
    dump = stage.push()
    assert b"zq-secret" not in gzip.decompress(dump.read_bytes())


def test_a_folder_that_nobody_may_write_to(stage: Stage) -> None:
    stage.make_live()
    (stage.live / "closed").mkdir()
    (stage.live / "closed" / "inside").write_text("inside")
    (stage.live / "closed").chmod(0o500)
    stage.pulled(stage.push())
    assert stat.S_IMODE((stage.live / "closed").stat().st_mode) == 0o500
    assert (stage.live / "closed" / "inside").read_text() == "inside"
    (stage.live / "closed").chmod(0o700)


def test_an_archive_without_its_directory(stage: Stage) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for info, content in (file(f"{NAME}/a"), (folder(NAME), b"")):
            tar.addfile(info, io.BytesIO(content))
    dump = stage.folder / "dump"
    dump.write_bytes(gzip.compress(written.getvalue()))
    with pytest.raises(DumpDamaged, match="does not begin with the directory"):
        stage.engine().verify(dump)
