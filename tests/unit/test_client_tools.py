from __future__ import annotations

from pathlib import Path

import pytest

from env_sync.core.errors import DumpDamaged, ToolMissing
from env_sync.engines.postgresql.client_tools import ClientTools, tools_to_dump, tools_to_read


def tools(*majors: int) -> tuple[ClientTools, ...]:
    return tuple(ClientTools(folder=Path(f"/tools/{major}"), version=f"{major}.1") for major in majors)


def archive(tmp_path: Path, minor: int) -> Path:
    file = tmp_path / "dump"
    file.write_bytes(b"PGDMP\x01" + bytes([minor, 0]) + b"rest")
    return file


@pytest.mark.parametrize(
    ("server", "have", "chosen"),
    [(15, (12, 15, 18), 15), (15, (14, 16, 18), 16), (12, (18,), 18), (18, (16, 18), 18)],
)
def test_a_server_is_dumped_by_its_own_version_else_the_nearest_newer(
    server: int, have: tuple[int, ...], chosen: int
) -> None:
    assert tools_to_dump(tools(*have), server).major == chosen


def test_a_server_newer_than_all_tools_cannot_be_dumped() -> None:
    with pytest.raises(ToolMissing) as raised:
        tools_to_dump(tools(15, 16), 17)
    for part in ("PostgreSQL 17", "15.1 in /tools/15", "16.1 in /tools/16", "postgresql-client-17"):
        assert part in str(raised.value)
    with pytest.raises(ToolMissing, match="Found: none"):
        tools_to_dump((), 17)


@pytest.mark.parametrize("server", [9, 11, 19])
def test_other_servers_are_refused(server: int) -> None:
    with pytest.raises(ToolMissing, match=f"The server is PostgreSQL {server}; Env Sync supports 12 to 18"):
        tools_to_dump(tools(12, 18, 19), server)


@pytest.mark.parametrize(
    ("minor", "target", "have", "chosen"),
    [
        (14, 15, (12, 15, 18), 15),
        (14, 15, (12, 16, 18), 16),
        (14, 18, (12, 16), 16),
        (15, 15, (15, 16, 18), 16),
        (16, 15, (15, 16, 17, 18), 17),
        (16, 18, (17, 18), 18),
        (13, 12, (12, 18), 12),
        (14, None, (12, 18), 12),
        (16, None, (12, 16, 18), 18),
    ],
)
def test_an_archive_is_restored_by_the_targets_version_else_the_nearest_that_reads_it(
    tmp_path: Path, minor: int, target: int | None, have: tuple[int, ...], chosen: int
) -> None:
    assert tools_to_read(tools(*have), archive(tmp_path, minor), target_major=target).major == chosen


def test_an_archive_that_is_too_new_names_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="postgresql-client-17"):
        tools_to_read(tools(15, 16), archive(tmp_path, 16), target_major=15)
    with pytest.raises(ToolMissing, match="postgresql-client-19"):
        tools_to_read(tools(18), archive(tmp_path, 17))


@pytest.mark.parametrize("content", [b"", b"PGDM", b"PGDMP", b"-- SQL"])
def test_what_is_no_archive_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dump").write_bytes(content)
    with pytest.raises(DumpDamaged, match="dump"):
        tools_to_read(tools(18), tmp_path / "dump")
