"""The commits whose code is tested together with the present one, and where their code is put."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from attrs import frozen

from sandbox.process import cache_folder
from tests.lacking import lacks

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
WORKER, PRODUCT = "worker.py", "product.py"


@frozen
class Base:
    """A commit that may still be at work somewhere, by its whole hash.

    It has a worker and a `product.py` of its own. One from before there were any has `frozen`: the name of
    a file in `frozen/` that stands for its `product.py`, and is run by the present worker.
    """

    commit: str
    frozen: str | None = None

    @property
    def name(self) -> str:
        """Its hash as people write it."""
        return self.commit[:7]


BASES = (Base("734d67c0d3af5adef80690daacb32ce70356bb90", frozen="base_734d67c.py"),)
"""Each release is added here; one that nobody can be running any more is removed."""


@frozen
class Sources:
    """Where the code of a commit is: `plugins` for PYTHONPATH, and the two files that run it."""

    name: str
    plugins: Path
    worker: Path
    product: Path


def present() -> Sources:
    """The code that these tests stand beside."""
    return Sources("present", ROOT / "plugins", HERE / WORKER, HERE / PRODUCT)


def stranger() -> Sources:
    """The same, spelling keys of what it stores in another way."""
    return Sources("a stranger", ROOT / "plugins", HERE / WORKER, HERE / "stranger.py")


def sources_of(base: Base) -> Sources:
    """The code of a base, taken from the repository once; without the commit the test is skipped.

    In CI, which must have it, the test fails then.
    """
    folder = cache_folder() / "checkouts" / base.commit
    if not folder.exists():
        _check_out(base, folder)
    here = HERE if base.frozen else folder / HERE.relative_to(ROOT)
    product = HERE / "frozen" / base.frozen if base.frozen else here / PRODUCT
    return Sources(base.name, folder / "plugins", here / WORKER, product)


def _check_out(base: Base, folder: Path) -> None:
    if _git("cat-file", "-e", f"{base.commit}^{{commit}}").returncode != 0:
        told = (
            f"commit {base.commit} is not in this clone, or this is none: fetch it, for instance with "
            "`git fetch --unshallow`, or clone the repository whole"
        )
        lacks(told)
    folder.parent.mkdir(exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        wanted = ["plugins"] if base.frozen else ["plugins", str(HERE.relative_to(ROOT))]
        archive = _git("archive", "--format=tar", base.commit, *wanted)
        archive.check_returncode()
        subprocess.run(["tar", "-x", "-C", making], input=archive.stdout, check=True)
        try:
            making.rename(folder)
        except OSError:
            # Another process may have been quicker; its copy is as good.
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 127, b"", b"")
