"""The checks of any provider's credentials: known names, the right form, nothing missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping

from channels.errors import InvalidCredentials

Problem = tuple[str, str]
More = Callable[[Mapping[str, str]], Iterable[Problem]]


def check(
    given: Mapping[str, str],
    forms: Mapping[str, re.Pattern[str]],
    *,
    provider: str,
    required: Collection[str] = (),
    more: More = lambda _: (),
) -> dict[str, str]:
    """The credentials in the order of `forms`, stripped, without empty ones.

    `more` gets those that match their form, and returns what else is wrong. Raises
    `InvalidCredentials` with all problems, which never contain a value.
    """
    values = {name: given[name].strip() for name in forms if given.get(name, "").strip()}
    fit = {name: value for name, value in values.items() if forms[name].fullmatch(value)}
    problems = [
        *(
            (name, f"is not a name that {provider} accounts have")
            for name in given.keys() - forms.keys()
        ),
        *((name, "is missing") for name in required if name not in values),
        *(
            (name, "has characters, or a length, that it cannot have")
            for name in values.keys() - fit
        ),
        *more(fit),
    ]
    if problems:
        raise InvalidCredentials(tuple(sorted(problems)))
    return values


def together(values: Mapping[str, str], *names: str) -> list[Problem]:
    """Problems for credentials that are only valid together: those missing if any is given."""
    there = [name for name in names if name in values]
    return [
        (name, f"is missing beside {there[0]}") for name in names if there and name not in there
    ]
