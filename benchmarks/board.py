"""How long the board takes to answer: 155 syncs and 30 nights, beside a tenth of the syncs and of the nights.

    python benchmarks/board.py

Fills Airflow's tables in a PostgreSQL of its own, a database for each size, and measures in one run, best of
ROUNDS: reading and judging (`status`), the page over all environments and the largest page (`all`,
`environment`), the API's answer (`api`), and the window (`window`). Milliseconds of the wall clock (in
brackets those of this process's processor), and each size as a ratio to the smallest.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())

from airflow.models import import_all_models  # noqa: E402
from airflow.models.base import Base  # noqa: E402
from sqlalchemy import create_engine, text  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

from env_sync.board.answers import EnvironmentAnswer  # noqa: E402
from env_sync.board.overview import read_replacing, read_statuses  # noqa: E402
from env_sync.board.pages import TEMPLATES  # noqa: E402
from env_sync.board.plans import current_plan  # noqa: E402
from env_sync.board.view import View  # noqa: E402
from env_sync.planning.installation import HIERADATA, TRANSFORMATIONS  # noqa: E402
from sandbox.board_history import hieradata, write_history  # noqa: E402
from sandbox.postgresql import PostgreSQLServer  # noqa: E402

ENVIRONMENTS = {"production": None, "staging": "production", "integration": "staging"}
SIZES = {"16 syncs, 3 nights": (3, 3), "155 syncs, 3 nights": (31, 3), "155 syncs, 30 nights": (31, 30)}
ROUNDS = 7
NOW = dt.datetime(2026, 11, 25, 1, 30, tzinfo=dt.UTC)


def fill(session: Session, folder: Path, databases: int, nights: int) -> None:
    """Write hieradata into the folder, and as many nights into the tables."""
    opened = NOW.replace(hour=22, minute=0) - dt.timedelta(days=1)
    for environment, above in ENVIRONMENTS.items():
        (folder / f"{environment}.yaml").write_text(hieradata(environment, above, databases))
    for environment in ENVIRONMENTS:
        openings = [opened - dt.timedelta(days=day) for day in range(nights)]
        write_history(session, current_plan(environment), openings, NOW, whole=nights)
    session.execute(text("ANALYZE"))
    session.commit()


def page(name: str, views: list[View]) -> str:
    """A page as it is sent."""
    values = {"base": "/env-sync", "root": "", "names": list(ENVIRONMENTS), "environment": None}
    return TEMPLATES.get_template(name).render(views=views, view=views[-1], **values)


def views_of(session: Session) -> list[View]:
    """What the pages show."""
    statuses = read_statuses(session, tuple(ENVIRONMENTS), NOW)
    return [View(status=status, root="", may_edit=True) for status in statuses]


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """The best of ROUNDS: milliseconds of the wall clock, and of the processor."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        rounds.append(((time.perf_counter() - wall) * 1000, (time.process_time() - processor) * 1000))
    return min(wall for wall, _ in rounds), min(processor for _, processor in rounds)


def measure(server: PostgreSQLServer, databases: int, nights: int) -> Mapping[str, tuple[float, float]]:
    """Each part's milliseconds for one size."""
    with tempfile.TemporaryDirectory() as folder, server.temporary_database() as database:
        os.environ[HIERADATA] = os.environ[TRANSFORMATIONS] = folder
        engine = create_engine(server.uri(database).replace("postgresql://", "postgresql+psycopg2://", 1))
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            fill(session, Path(folder), databases, nights)
            parts = {
                "status": lambda: read_statuses(session, tuple(ENVIRONMENTS), NOW),
                "all": lambda: page("all.html", views_of(session)),
                "environment": lambda: page("environment.html", views_of(session)),
                "api": lambda: [
                    EnvironmentAnswer.of(view.status).model_dump_json() for view in views_of(session)
                ],
                "window": lambda: read_replacing(session, "integration", NOW),
            }
            found = {name: measured(work) for name, work in parts.items()}
        engine.dispose()
    return found


def main() -> None:
    """Measure every size, and print the table."""
    import_all_models()  # type: ignore[no-untyped-call]  # Airflow's function has no types
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with PostgreSQLServer(Path(folder) / "postgresql", "debian15") as server:
            sizes = {name: measure(server, *size) for name, size in SIZES.items()}
    smallest = next(iter(sizes.values()))
    print(f"{'':24}" + "".join(f"{part:>26}" for part in smallest))
    for name, found in sizes.items():
        cells = [
            f"{wall:7.0f} ms ({processor:5.0f}) {wall / smallest[part][0]:5.1f}x"
            for part, (wall, processor) in found.items()
        ]
        print(f"{name:24}" + "".join(f"{cell:>26}" for cell in cells))


if __name__ == "__main__":
    main()
