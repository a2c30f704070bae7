"""The text of a mail, as plain text and as HTML, from the parts that have any."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from channels.html import HTML_BYTES, TEXT_BYTES
from webhooks.mail.text import derived

NO_LETTER: Final = re.compile(r"[\W_]+")
# Letters of a text that is surely no other's part.
_LONG = 40


class Piece(NamedTuple):
    """The text of one part; `form_of` as in `mime.Leaf`."""

    text: str
    form_of: object
    is_page: bool


@dataclass(slots=True)
class Written:
    """The parts of a mail that are its text, in order."""

    pieces: list[Piece] = field(default_factory=list)

    def has_room(self, *, is_page: bool) -> bool:
        """Whether a further part would be kept, at least in part."""
        most = HTML_BYTES if is_page else TEXT_BYTES
        return sum(len(each.text) for each in self.pieces if each.is_page == is_page) <= most

    def add(self, text: str, form_of: object, *, is_page: bool) -> None:
        """Add a part."""
        self.pieces.append(Piece(text, form_of, is_page))

    def html(self) -> str | None:
        """All HTML, with up to one character more than is kept, to show that there was more."""
        pages = [each.text for each in self.pieces if each.is_page]
        return "\n".join(pages)[: HTML_BYTES + 1] if pages else None

    def text(self) -> str | None:
        """All plain text, cut in the same way; None if there is only HTML.

        A part that came only as HTML beside plain text, as in a letter with the footer of a mailing
        list, is converted to text.
        """
        plain = [each for each in self.pieces if not each.is_page]
        said = "\n".join(each.text for each in plain)
        if not _essence(said) or len(plain) == len(self.pieces):
            return said[: TEXT_BYTES + 1] if plain else None
        told = [each.form_of for each in plain if each.text.strip()]
        texts: list[str] = []
        for each in self.pieces:
            if not each.is_page:
                texts += [each.text] if each.text.strip() else []
            elif each.form_of is None or all(each.form_of is not form for form in told):
                text = derived(each.text)
                texts += [] if _is_said(text, said) else [text]
        return "\n".join(texts)[: TEXT_BYTES + 1]


def _is_said(text: str, plain: str) -> bool:
    """Whether plain text contains a text already: some programs write both forms in succession.

    A short text might be found within a word, so each of its lines must be a line there.
    """
    letters = _essence(text)
    if len(letters) >= _LONG and letters in _essence(plain):
        return True
    lines = set(map(_essence, plain.splitlines()))
    return all(line in lines for line in map(_essence, text.splitlines()) if line)


def _essence(text: str) -> str:
    """What two forms of a text have in common: its letters, or without any, all but its blanks."""
    return NO_LETTER.sub("", text) or "".join(text.split())
