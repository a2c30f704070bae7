"""The names of files: which may be sent, and how long ones are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from channels.errors import ContentError
from channels.model import Attachment
from channels.text import is_control

CHARACTERS: Final = 255
# If a name is cut, an extension of up to so many characters is kept.
_ENDING: Final = 10


def check(name: str | None) -> None:
    """Raise `ContentError` for a name that its receiver could take for a path or a header."""
    if name is None:
        return
    if not name.strip(" .") or len(name) > CHARACTERS:
        raise ContentError("attachments", f"A file name has 1 to {CHARACTERS} characters.")
    if any(map(_is_refused, name)):
        raise ContentError(
            "attachments", "A file name has neither a path nor quotes nor control characters."
        )


def check_all(files: Sequence[Attachment]) -> None:
    """Raise `ContentError` for the first file with a name that is refused."""
    for each in files:
        check(each.filename)


def nearest(name: str | None) -> str | None:
    """The name most like this one that `check` accepts; None if nothing is left of it."""
    clean = "".join("_" if _is_refused(character) else character for character in name or "")
    if len(clean) > CHARACTERS:
        _, dot, ending = clean.rpartition(".")
        kept = dot + ending if len(ending) <= _ENDING else ""  # programs open a file by it
        clean = clean[: CHARACTERS - len(kept)] + kept
    return clean if clean.strip(" .") else None


def cut(name: str, most: int) -> str:
    """A name of at most `most` characters with its extension if that is short: files open by it."""
    stem, dot, ending = name.rpartition(".")
    if len(name) <= most or not dot or len(ending) > _ENDING:
        return name[:most]
    return stem[: most - _ENDING - 1] + dot + ending


def _is_refused(character: str) -> bool:
    return character in '/\\"' or is_control(character)
