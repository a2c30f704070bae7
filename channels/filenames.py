"""The names of files: which ones may be sent, and how long ones are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from channels.errors import ContentError
from channels.model import Attachment
from channels.text import is_control

CHARACTERS: Final = 255
# An ending of so many characters is kept where a name is cut.
_ENDING: Final = 10


def check(name: str | None) -> None:
    """Raise `ContentError` for a name that whoever gets it could take for more than a name."""
    if name is None:
        return
    if not name.strip(" .") or len(name) > CHARACTERS:
        raise ContentError("attachments", f"A file name has 1 to {CHARACTERS} characters.")
    if any(map(_is_refused, name)):
        raise ContentError(
            "attachments", "A file name has neither a path nor quotes nor control characters."
        )


def check_all(files: Sequence[Attachment]) -> None:
    """Raise `ContentError` for the first file whose name cannot be one."""
    for each in files:
        check(each.filename)


def nearest(name: str | None) -> str | None:
    """The name that `check` takes and that is most like this one; None where nothing is left."""
    clean = "".join("_" if _is_refused(character) else character for character in name or "")
    if len(clean) > CHARACTERS:
        _, dot, ending = clean.rpartition(".")
        kept = dot + ending if len(ending) <= _ENDING else ""  # it is opened by that
        clean = clean[: CHARACTERS - len(kept)] + kept
    return clean if clean.strip(" .") else None


def cut(name: str, most: int) -> str:
    """A name of at most `most` characters, which keeps a short ending: files are opened by it."""
    stem, dot, ending = name.rpartition(".")
    if len(name) <= most or not dot or len(ending) > _ENDING:
        return name[:most]
    return stem[: most - _ENDING - 1] + dot + ending


def _is_refused(character: str) -> bool:
    return character in '/\\"' or is_control(character)
