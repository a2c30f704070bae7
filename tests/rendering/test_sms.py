"""How texts become SMS: which alphabet, how many segments, which are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import ContentError
from channels.model import Attachment, Content
from channels.sms import CHARACTERS, Segments, compose, measure

GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"


@pytest.mark.parametrize(
    ("text", "encoding", "segments", "characters", "forced_by"),
    [
        ("", "GSM-7", 0, 0, None),
        ("Hello", "GSM-7", 1, 5, None),
        (GSM, "GSM-7", 1, 127, None),
        (EXTENSION, "GSM-7", 1, 10, None),
        ("a" * 160, "GSM-7", 1, 160, None),
        ("a" * 161, "GSM-7", 2, 161, None),
        ("a" * 306, "GSM-7", 2, 306, None),
        ("a" * 307, "GSM-7", 3, 307, None),
        ("€" * 80, "GSM-7", 1, 80, None),
        ("€" * 81, "GSM-7", 2, 81, None),
        ("€" * 152, "GSM-7", 2, 152, None),
        ("€" * 153, "GSM-7", 3, 153, None),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 3, 305, None),
        ("ç", "UCS-2", 1, 1, "ç"),
        ("It’s “fine”", "UCS-2", 1, 11, "’"),
        ("a" * 159 + "ł", "UCS-2", 3, 160, "ł"),
        ("ж" * 70, "UCS-2", 1, 70, "ж"),
        ("ж" * 71, "UCS-2", 2, 71, "ж"),
        ("ж" * 134, "UCS-2", 2, 134, "ж"),
        ("ж" * 135, "UCS-2", 3, 135, "ж"),
        ("😀" * 35, "UCS-2", 1, 70, "😀"),
        ("😀" * 36, "UCS-2", 2, 72, "😀"),
        ("😀" * 66, "UCS-2", 2, 132, "😀"),
        ("😀" * 67, "UCS-2", 3, 134, "😀"),
        ("ж" * 66 + "😀" + "ж" * 67, "UCS-2", 3, 135, "ж"),
        ("\u00a0", "UCS-2", 1, 1, "\u00a0"),
        ("\t", "UCS-2", 1, 1, "\t"),
    ],
)
def test_known_texts(
    text: str, encoding: str, segments: int, characters: int, forced_by: str | None
) -> None:
    """The alphabet, the segments and the first character outside GSM 03.38 are as known."""
    measured = measure(text)
    found = (measured.encoding, measured.segments, measured.characters, measured.forced_by)
    assert found == (encoding, segments, characters, forced_by)


@given(st.text(GSM + EXTENSION, max_size=700))
def test_gsm_texts_fill_their_segments(text: str) -> None:
    """A text of GSM characters takes the fewest segments that hold it, a pair never split."""
    septets = sum(2 if character in EXTENSION else 1 for character in text)
    measured = measure(text)
    assert measured.encoding == "GSM-7"
    assert measured.forced_by is None
    if septets <= 160:
        assert measured.segments == min(septets, 1)
    else:
        assert septets <= measured.segments * 153
        assert measured.segments <= -(-septets // 152)


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.text(max_size=20))
def test_longer_texts_never_take_less(text: str, more: str) -> None:
    """A text with something added takes no fewer segments, and keeps what forced its encoding."""
    one, both = measure(text), measure(text + more)
    assert both.segments >= one.segments
    assert both.characters == one.characters + measure(more).characters
    if one.forced_by:
        assert (both.encoding, both.forced_by) == ("UCS-2", one.forced_by)


def test_content() -> None:
    """A body within the limits is the content, as it stands; with files it may be empty."""
    files = (Attachment(url="https://example.org/a.jpg"),)
    assert compose(" Hi ") == Content(body=" Hi ")
    assert compose("", files) == Content(body="", attachments=files)
    assert compose("😀" * (CHARACTERS // 2)).body == "😀" * 800
    assert measure("x") == Segments(encoding="GSM-7", segments=1, characters=1, forced_by=None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The text is empty."),
        (" \n ", "The text is empty."),
        ("a\0", "The text holds a character that cannot be sent."),
        ("a\ud83d", "The text holds a character that cannot be sent."),
        ("a" * 1601, "The text has 1601 characters; an SMS holds at most 1600."),
        ("😀" * 801, "The text has 1602 characters; an SMS holds at most 1600."),
    ],
)
def test_bodies_that_cannot_be_sent(text: str, reason: str) -> None:
    """A body that Twilio would refuse is refused first, by field and reason."""
    with pytest.raises(ContentError) as raised:
        compose(text)
    assert (raised.value.field, raised.value.message) == ("body", reason)


def test_all_that_is_wrong_is_told() -> None:
    """A text that cannot be sent and a file name that is none are named at once."""
    with pytest.raises(ContentError) as caught:
        compose("x" * 1601, [Attachment(url="https://x.example/a", filename="a/b")])
    assert ["body", "attachments"] == [each.field for each in (caught.value, *caught.value.others)]
