"""Forms and JSON in the bodies of webhooks: read as they came, bounded, never fatal."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mails import ID
from tests.sendgrid.values import BOUNDARY, multipart, posted, request
from webhooks.forms import MOST_PARTS, File, Form, read_form
from webhooks.model import Unreadable, WebhookRequest
from webhooks.values import decoded, detail, members, moment, our_id, our_id_in, read_json, word


def urlencoded(body: bytes) -> WebhookRequest:
    """A form as browsers send it."""
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return request(body, headers=headers)


def test_fields_and_files() -> None:
    """Values are the bytes that came; files have the names and types of their parts."""
    body = multipart(
        ('"text"', b"caf\xe9\r\n--xYzZ"),
        ('"a"; filename="\u00fcber.txt"\r\nContent-Type: Text/Plain; charset=utf-8', b"1"),
        ('"b"; filename=""', b""),
        ('"text"', b"second"),
    )
    expected = Form(
        fields=(("text", b"caf\xe9\r\n--xYzZ"), ("text", b"second")),
        files=(
            File(name="a", filename="über.txt", content_type="text/plain", content=b"1"),
            File(name="b", filename="", content=b""),
        ),
    )
    assert read_form(posted(body)) == expected
    assert expected.first("text") == b"caf\xe9\r\n--xYzZ"
    assert expected.last("text") == b"second"
    assert (expected.first("none"), expected.last("none"), expected.text("none")) == (
        None,
        None,
        "",
    )


def test_a_part_that_begins_with_no_header() -> None:
    """What goes on with a header before there is one, and a blank line's remains, say nothing."""
    head = b"Content-Disposition:"
    body = multipart(('"text"', b"Hello")).replace(head, b" goes on\r\n \t\r\n" + head)
    assert read_form(posted(body)).fields == (("text", b"Hello"),)


def test_a_file_name_in_any_charset() -> None:
    """What is no UTF-8 is read as Latin-1."""
    body = multipart(('"a"; filename="X"', b"1")).replace(b'"X"', b'"caf\xe9"')
    assert [file.filename for file in read_form(posted(body)).files] == ["café"]


def test_a_file_name_in_its_longer_form() -> None:
    """RFC 5987's form of a name counts before the plain one, and alone makes a file, too."""
    body = multipart(
        ("\"a\"; filename*=UTF-8''na%C3%AFve.pdf", b"1"),
        ('"b"; filename="_.pdf"; filename*=iso-8859-1\'en\'%A3.pdf', b"2"),
        ('"c"; filename="plain.pdf"; filename*=broken', b"3"),
    )
    names = [(file.name, file.filename) for file in read_form(posted(body)).files]
    assert names == [("a", "naïve.pdf"), ("b", "£.pdf"), ("c", "plain.pdf")]


def test_a_file_name_of_twenty_kilobytes() -> None:
    """A long header of one part does not cost the mail: SendGrid would not send it again."""
    body = multipart(('"text"', b"Hello"), (f'"a"; filename="{"x" * 20_000}"', b"1"))
    form = read_form(posted(body))
    assert (form.text("text"), len(form.files)) == ("Hello", 1)


def test_fields_of_a_urlencoded_form() -> None:
    """Decoded once, in order, whatever the bytes."""
    form = read_form(urlencoded(b"a=1+2%2B&&b&a=%ff&caf%C3%A9=x"))
    assert form.fields == (("a", b"1 2+"), ("b", b""), ("a", b"\xff"), ("café", b"x"))


@pytest.mark.parametrize(
    "given",
    [
        request(b"a=1", headers={}),
        request(b"a=1", headers={"content-type": "application/json"}),
        request(b"a=1", headers={"content-type": "multipart/form-data"}),
        request(b"a=1", headers={"content-type": "multipart/form-data; boundary=\udc80"}),
        posted(b""),
        posted(multipart(('"a"', b"1"))[:-2]),
        posted(f"--{BOUNDARY}\r\nX: y\r\n\r\n1\r\n--{BOUNDARY}--".encode()),
        posted(multipart(*[('"a"', b"1")] * (MOST_PARTS + 1))),
        posted(multipart(('"a"\r\nX: ' + "y" * 70_000, b"1"))),
        posted(multipart(*[('"a"\r\nX: y' + "\r\n z" * 100, b"1")] * 21)),
        urlencoded(b"a=1&" * (MOST_PARTS + 1)),
    ],
)
def test_what_is_no_form(given: WebhookRequest) -> None:
    """Another type, a form that is cut off, or more than any provider sends: unreadable."""
    with pytest.raises(Unreadable):
        read_form(given)


@given(st.lists(st.binary(max_size=200).filter(lambda each: BOUNDARY.encode() not in each)))
def test_bytes_stay_as_they_are(values: list[bytes]) -> None:
    """Whatever bytes a field holds, they come out."""
    body = multipart(*[('"a"', value) for value in values]) if values else multipart(('"a"', b""))
    assert [value for _, value in read_form(posted(body)).fields] == (values or [b""])


@pytest.mark.parametrize(
    ("value", "charset", "text"),
    [
        (b"caf\xe9", "iso-8859-1", "café"),
        (b"\x93x\x94", "windows-1252", "“x”"),
        ("café".encode(), "no-such-charset", "café"),
        ("café".encode(), "nul\0l", "café"),
        ("café".encode(), "base64", "café"),
        (b"xn--caf-dma", "punycode", "xn--caf-dma"),
        (b"\\u0041", "unicode_escape", "\\u0041"),
        (b"\xff", "us-ascii", "\ufffd"),
        (b"a\0b", "utf-8", "ab"),
        (b"+2AA-", "utf-7", "?"),
    ],
)
def test_charsets(value: bytes, charset: str, text: str) -> None:
    """Every charset of mails, none of Python's other codecs, and always text to be stored."""
    assert decoded(value, charset) == text


def test_json_in_a_field() -> None:
    """Of a field that holds none, none is read."""
    form = Form(fields=(("good", b'{"a": 1}'), ("bad", b"{")))
    assert (form.json("good"), form.json("bad"), form.json("none")) == ({"a": 1}, None, None)


def test_numbers_that_others_cannot_read() -> None:
    """Numbers too long, too large, or none, stay the text that they were."""
    body = b"[1, 123456789012345678, 1234567890123456789, 1.5, 1e999, NaN, -Infinity, -0.0]"
    assert read_json(body) == [
        1, 123456789012345678, "1234567890123456789", 1.5, "1e999", "NaN", "-Infinity", -0.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" a\n b\0 ", "a b"),
        (5, "5"),
        (1.5, "1.5"),
        (True, ""),
        (None, ""),
        ([], ""),
        ("x" * 20, "xxxxxxxxxx"),
        ("\ud800", "?"),
    ],
)
def test_words(value: object, expected: str) -> None:
    """One line of bounded text, from texts and numbers alone."""
    assert word(value, 10) == expected


def test_small_values() -> None:
    """Objects, times and ids, each only where it is one."""
    assert (members({"a": 1}), members([])) == ({"a": 1}, {})
    assert moment("1600112492") == datetime(2020, 9, 14, 19, 41, 32, tzinfo=UTC)
    assert moment("16001124920000000") is None
    assert (our_id(str(ID)), our_id("x" * 36), our_id(ID.hex), our_id(None)) == (
        ID,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("given", [str(ID), str(ID).upper()])
def test_our_id_as_it_comes_back(given: str) -> None:
    """In small letters as we wrote it, or in capitals, as some program on the way writes it."""
    assert our_id(given) == our_id_in(f"{given}@EXAMPLE.com") == ID


@pytest.mark.parametrize(
    "given",
    [
        ID.hex,
        f"{{{ID.hex}}}--",
        f"{ID.hex[:4]}-{ID.hex[4:6]}-{ID.hex[6:20]}-{ID.hex[20:]}-",
        str(ID).replace("0", "٠"),
        f" {ID}",
    ],
)
def test_what_is_not_our_id(given: str) -> None:
    """One that Python would read as one, too: we never wrote it so, and somebody else did."""
    assert (our_id(given), our_id_in(f"{given}@example.com"), our_id_in(None)) == (None,) * 3


def test_what_is_left_out_of_details() -> None:
    """What is read elsewhere, and what is empty."""
    told: dict[str, object] = {"a": 1, "b": None, "c": "", "d": [], "e": {}, "f": False, "g": [1]}
    assert detail(told, leave_out=frozenset({"a"})) == {"f": False, "g": "[1]"}
