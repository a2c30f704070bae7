"""What was typed into a form, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.problems import FieldError


class Findings(dict[str, str]):
    """What is wrong, by field; empty for a field with nothing wrong."""

    def __missing__(self, field: str) -> str:
        """Nothing is wrong with a field that is not here."""
        return ""

    @classmethod
    def of(cls, errors: Iterable[FieldError]) -> Findings:
        """The first message of each field."""
        found = cls()
        for error in errors:
            found.setdefault(error.field, error.message)
        return found
