"""Text whose lines were broken within words and addresses on the way (RFC 3676, DelSp=yes).

Apple's programs write so. Other broken lines read well as they are, and tell a quotation's first
line; those that are quoted stay as they came, too.
"""

from __future__ import annotations

import re
from typing import Final

from webhooks.mail.parts import ERRORS, Part

# An end of a line that is none, where neither it nor the next one is quoted or a signature's mark.
SOFT: Final = re.compile(r"^(?!>|-- $)(.*) \n(?!>|-- $|$)", re.MULTILINE)
STUFFED: Final = re.compile(r"^ ", re.MULTILINE)


def is_broken(part: Part) -> bool:
    """Whether a part says that its lines are."""
    try:
        given = (part.get_param("format"), part.get_param("delsp"))
    except ERRORS:
        return False
    is_said = tuple(str(each).lower() for each in given) == ("flowed", "yes")
    return is_said and part.get_content_type() == "text/plain"


def unbroken(text: str) -> str:
    """The text with its soft line breaks, and the spaces that mark them, taken out."""
    return SOFT.sub(r"\1", STUFFED.sub("", text.replace("\r\n", "\n")))
