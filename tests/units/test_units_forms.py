"""Forms as they are sent: as the standard library writes them, only quicker."""

from urllib.parse import parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from channels.http import form_body

FORMS = st.dictionaries(st.text(max_size=20), st.text() | st.lists(st.text(), max_size=3))


@given(FORMS)
def test_a_form_is_as_the_standard_library_writes_it(form: dict[str, str | list[str]]) -> None:
    """Byte for byte, in any script, with lists as the same field several times."""
    assert urlencode(form, doseq=True).encode() == form_body(form)


def test_a_lone_surrogate_is_replaced() -> None:
    """What no UTF-8 can say becomes a question mark, and breaks no request."""
    assert [("Body", "a?b")] == parse_qsl(form_body({"Body": "a\ud800b"}).decode())
