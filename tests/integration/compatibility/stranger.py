"""The present code as a version that spells what it stores in another way. A product; see `worker.py`.

It stands for whatever version's formats cannot be read: what it leaves must do no harm.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from env_sync.core import serialization
from env_sync.engines.base import contract, document_lease
from env_sync.engines.files import lease as files_lease
from env_sync.engines.mongo import promotion
from env_sync.engines.mysql import swap
from env_sync.pipeline import results

SPELLED: Mapping[type[Any], Mapping[str, str]] = {
    contract.Stamp: {"state": "status"},
    document_lease.Row: {"expires_at": "ends_at"},
    files_lease.Row: {"expires_at": "ends_at"},
    promotion.Journal: {"doomed": "leaving"},
    swap.Plan: {"token": "sign"},
    results.Downloaded: {"sha256": "checksum"},
    results.Dumped: {"sha256": "checksum"},
}


def _spell_otherwise() -> None:
    converter = serialization._converter()
    for kind, names in SPELLED.items():
        # By name, as fields have theirs.
        renamed: dict[str, Any] = {name: override(rename=other) for name, other in names.items()}
        converter.register_unstructure_hook(kind, make_dict_unstructure_fn(kind, converter, **renamed))
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **renamed))


def _present() -> Any:
    specification = importlib.util.spec_from_file_location("present", Path(__file__).with_name("product.py"))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["present"] = module
    specification.loader.exec_module(module)
    return module


_spell_otherwise()
_PRODUCT = _present()
package, prepare, do = _PRODUCT.package, _PRODUCT.prepare, _PRODUCT.do
described, read_all = _PRODUCT.described, _PRODUCT.read_all
