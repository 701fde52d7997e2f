from __future__ import annotations

import pytest

from env_sync.engines.files.exclusions import excluder


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("cache", "cache"),
        ("cache", "deep/below/cache"),
        ("cache/", "deep/cache"),
        ("*.tmp", "a.tmp"),
        ("*.tmp", "deep/.tmp"),
        ("cache/*", "cache/a"),
        ("/cache", "cache"),
        ("**/cache/a", "cache/a"),
        ("**/cache/a", "x/y/cache/a"),
        ("a/**", "a/b/c"),
        ("a/**/z", "a/z"),
        ("a/**/z", "a/b/c/z"),
        ("fil?", "file"),
        ("[a-c]x", "bx"),
        ("[!a-c]x", "dx"),
        ("[z-a]", "[z-a]"),
        ("a[", "a["),
        ("new\nline", "new\nline"),
        ("a.b", "a.b"),
        ("(a|b)+", "(a|b)+"),
    ],
)
def test_a_glob_that_leaves_a_path_out(pattern: str, path: str) -> None:
    assert excluder([pattern])(path) == pattern


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("cache", "cached"),
        ("cache/*", "cache"),
        ("cache/*", "deep/cache/a"),
        ("cache/*", "cache/a/b"),
        ("/cache", "deep/cache"),
        ("*.tmp", "a.tmp/b"),
        ("a*c", "a/c"),
        ("fil?", "fil/"),
        ("[!a-c]x", "/x"),
        ("a.b", "axb"),
        ("(a|b)+", "a"),
    ],
)
def test_a_glob_that_does_not(pattern: str, path: str) -> None:
    assert excluder([pattern])(path) is None


def test_the_first_of_several_is_named() -> None:
    assert excluder(["a", "*"])("a") == "a"
    assert excluder([])("a") is None
