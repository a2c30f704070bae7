"""What a file that goes out may be called, on every channel."""

from __future__ import annotations

from typing import Final

from channels.errors import ContentError
from channels.text import is_control

CHARACTERS: Final = 255


def check(name: str | None) -> None:
    """Raise `ContentError` for a name that whoever gets it could take for more than a name."""
    if name is None:
        return
    if not name.strip(" .") or len(name) > CHARACTERS:
        raise ContentError("attachments", f"A file name has 1 to {CHARACTERS} characters.")
    if any(character in '/\\"' or is_control(character) for character in name):
        raise ContentError(
            "attachments", "A file name has neither a path nor quotes nor control characters."
        )
