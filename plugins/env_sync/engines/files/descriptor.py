"""What is known of directories of files before they are used; see `EngineDescriptor`."""

from __future__ import annotations

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import DumpFormat, EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines.files.names import refusals

FILES = EngineDescriptor(
    name="files",
    label="directories of files",
    engine="env_sync.engines.files.engine:FilesEngine",
    capabilities=Capabilities(
        actions=frozenset({Action.PUSH, Action.PULL}),
        storagebackends=frozenset({"s3"}),
        transformation=False,
        postprocess=False,
        pre_dump_transformation=False,
        excluded_tables=True,
        previous=True,
    ),
    refusals=refusals,
    dump_formats=(DumpFormat(begins=b"ustar", at=257, name="a tar archive"),),
    extra=frozenset({"root"}),
)
