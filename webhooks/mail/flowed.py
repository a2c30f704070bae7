"""Text whose lines were broken even within words and addresses (RFC 3676, DelSp=yes).

Apple's programs write this. Other broken lines stay as they are: they can be read, and help to find
the beginning of a quotation. So do quoted lines.
"""

from __future__ import annotations

import re
from typing import Final

from webhooks.mail.parts import ERRORS, Part

# A soft line break, if neither line is quoted or the mark of a signature.
SOFT: Final = re.compile(r"^(?!>|-- $)(.*) \n(?!>|-- $|$)", re.MULTILINE)
STUFFED: Final = re.compile(r"^ ", re.MULTILINE)


def is_broken(part: Part) -> bool:
    """Whether a part says that its lines were broken like this."""
    try:
        given = (part.get_param("format"), part.get_param("delsp"))
    except ERRORS:
        return False
    is_said = tuple(str(each).lower() for each in given) == ("flowed", "yes")
    return is_said and part.get_content_type() == "text/plain"


def unbroken(text: str) -> str:
    """The text without its soft line breaks and the spaces that mark them."""
    return SOFT.sub(r"\1", STUFFED.sub("", text.replace("\r\n", "\n")))
