"""What a text is made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from channels.text import is_sendable, units

ANY = st.text(st.characters(codec=None))


@given(ANY)
def test_units(text: str) -> None:
    """As many code units as the text has in UTF-16."""
    assert len(text.encode("utf-16-le", "surrogatepass")) // 2 == units(text)


@given(ANY)
def test_sendable(text: str) -> None:
    """What UTF-8 can write, but for NUL, can be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        assert not is_sendable(text)
    else:
        assert is_sendable(text) is ("\0" not in text)
