"""What may be told of a URL: where it leads. Users, passwords and what follows the host may be secrets."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

HIDDEN = "a server whose address cannot be told"


def is_web_address(text: str) -> bool:
    """Whether a text is a URL of HTTP; schemes may be written in capitals as well."""
    return text.lower().startswith(("https://", "http://"))


def address_of(url: str) -> str:
    """Scheme, host and port of a URL; of one that cannot be read, or may have its password there, neither."""
    parts = split(url)
    if parts is None or not parts.hostname or has_unescaped_login(parts):
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if parts.scheme else host


def host_of(url: str) -> str:
    """The same without the scheme."""
    return address_of(url).rpartition("://")[2]


def split(url: str) -> SplitResult | None:
    """The parts of a URL; None where it is none, or its port is no port."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def has_unescaped_login(parts: SplitResult) -> bool:
    """Whether the @ that ends a login stands behind a `/`, `?` or `#` of the password: `user:pa/ss@host`."""
    behind = parts.path + parts.query + parts.fragment
    return "@" not in parts.netloc and ":" in parts.netloc and "@" in behind
