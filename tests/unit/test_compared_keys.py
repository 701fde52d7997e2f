import io

from env_sync.store.mirroring.compared_keys import ComparedKeys


def test_keys_are_found_again_in_their_order_however_odd() -> None:
    # In the order of UTF-8's bytes, which is not that of UTF-16.
    keys = ["", "a\nb", "a b", "a/../b", '"', "é", "\uffff", "\U0001f600"]
    keys.sort(key=str.encode)
    compared = ComparedKeys(io.StringIO())
    for key in keys:
        compared.add(key)
    compared.rewind()
    asked = sorted([*keys, "0", "a\nc", "z", "ü", "\U0001f601"], key=str.encode)
    assert [key for key in asked if compared.has(key)] == keys
