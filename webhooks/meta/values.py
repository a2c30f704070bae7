"""Values in Meta's JSON, in a form that PostgreSQL can store, whatever types they have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from webhooks.values import DETAIL_CHARACTERS, KEPT_CHARACTERS, fitted, stored

Given = Mapping[str, Any]

ID_CHARACTERS, DEPTH = 256, 5
# Of one text inside a part: half of what is kept, so that the rest of the part is kept, too.
TEXT_CHARACTERS = KEPT_CHARACTERS // 2
# Values of one part. With a comma each, more of them would be cut by `fitted` in any case.
VALUES = KEPT_CHARACTERS


def text(value: object, most: int | None = None) -> str:
    """A text or number as text that PostgreSQL can store; empty for anything else."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return ""
        value = str(value)
    return stored(value)[:most]


def filled(**given: object) -> dict[str, Any]:
    """Details without empty ones, bounded; `left_out` names those that were cut."""
    kept, cut = {}, []
    for name, each in given.items():
        part = _Part()
        if each is not None and (value := part.read(each)) not in (None, "", [], {}):
            kept[name] = value
            if part.is_cut:
                cut.append(name)
    return fitted(kept, cut=cut)


class _Part:
    """One detail while it is read: with texts that can be stored, bounded in depth and number."""

    __slots__ = ("_values", "is_cut")

    def __init__(self) -> None:
        self.is_cut = False
        self._values = iter(range(VALUES))

    def read(self, value: object, depth: int = DEPTH) -> Any:  # noqa: ANN401 - any JSON
        if isinstance(value, str):
            most = DETAIL_CHARACTERS if depth == DEPTH else TEXT_CHARACTERS
            self.is_cut |= len(value) > most
            return text(value, most)
        if not isinstance(value, (dict, list)):
            return value
        if depth == 0:
            self.is_cut = True
            return None
        if isinstance(value, list):
            each_of = zip(value, self._values, strict=False)
            return [self.read(each, depth - 1) for each, _ in each_of]
        members = zip(value.items(), self._values, strict=False)
        return {
            text(name, ID_CHARACTERS): self.read(each, depth - 1) for (name, each), _ in members
        }


def address(value: object) -> str:
    """A number with its +; anything else unchanged."""
    given = text(value, ID_CHARACTERS).strip()
    digits = re.sub(r"[\s().+\-]", "", given)
    return f"+{digits}" if re.fullmatch(r"[0-9]+", digits) else given
