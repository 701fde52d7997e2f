"""A secret that does not print itself."""

from __future__ import annotations

from attrs import field, frozen


@frozen(repr=False)
class Secret:
    """Text that must not reach a log: its representation hides it, `reveal` gives it out."""

    _text: str = field()

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


@frozen
class Login:
    """A user, and the password."""

    user: str
    password: Secret
