"""The store: where dumps are kept in a bucket, which of them is chosen, and how they are moved.

`keys` and `choice` are pure, and what the package itself offers. `faults` says what a server's refusal means,
`pool` does many requests at the same time, `transfer` sends and fetches a file in parts, and `s3` joins them.
`mirror` makes one bucket the same as another.
"""

from env_sync.planning.timestamps import parse_timestamp
from env_sync.store.dump_choice import Choice, StoredDump, Survey
from env_sync.store.dump_keys import dump_key, manifest_key, pointer_key

__all__ = [
    "Choice",
    "StoredDump",
    "Survey",
    "dump_key",
    "manifest_key",
    "parse_timestamp",
    "pointer_key",
]
