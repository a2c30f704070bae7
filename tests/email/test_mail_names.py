"""Names of files, and subjects, as programs write them that know no MIME."""

from __future__ import annotations

import codecs

import pytest

from tests.costs import cpu_seconds
from webhooks import mail, values
from webhooks.mail import charsets
from webhooks.model import Inbound

HEAD = "From: Ann <ann@customer.example>\nMessage-ID: <1@customer.example>\n"


def read(
    disposition: str | bytes,
    kind: str | bytes = "a/b",
    charset: str = "utf-8",
    subject: bytes = b"",
) -> Inbound:
    """A mail with a text in a charset and a file with these headers."""
    given = [each.encode() if isinstance(each, str) else each for each in (disposition, kind)]
    raw = b"%sSubject: %s\nContent-Type: multipart/mixed; boundary=B\n\n--B\n" % (
        HEAD.encode(), subject,
    ) + b"Content-Type: text/plain; charset=%s\n\nx\n--B\n" % charset.encode()  # fmt: skip
    raw += b"Content-Disposition: %s\nContent-Type: %s\n\nfile\n--B--\n" % (given[0], given[1])
    [found] = mail.events(raw, provider="smtp")
    assert isinstance(found, Inbound)
    return found


@pytest.mark.parametrize(
    ("name", "written", "text"),
    [
        ("Grüße.pdf", "utf-8", "utf-8"), ("Grüße.pdf", "utf-8", "gbk"),
        ("Grüße.pdf", "latin-1", "iso-8859-1"), ("Grüße.pdf", "cp1252", "utf-8"),
        ("中文测试.pdf", "gbk", "gb2312"), ("中文测试.pdf", "utf-8", "gb2312"),
        ("日本語.pdf", "cp932", "shift_jis"), ("予定表.pdf", "cp932", "iso-2022-jp"),
        ("表能力.pdf", "iso2022_jp", "iso-2022-jp"), ("Привет.pdf", "cp1251", "windows-1251"),
        ("Привет.pdf", "koi8-r", "koi8-r"), ("Grüße.pdf", "latin-1", "no-such-charset"),
        ("Grüße.pdf", "latin-1", "idna"),
    ],
)  # fmt: skip
def test_bytes_without_a_charset(name: str, written: str, text: str) -> None:
    """Plain 8-bit bytes are UTF-8, or in the charset of the letter; of the subject, too."""
    data = name.encode(written)
    found = read(b'attachment; filename="%s"' % data, charset=text, subject=data)
    assert ([name], name) == ([each.filename for each in found.attachments], found.subject)
    found = read("inline", b'a/b; name="%s"' % data, charset=text)
    assert [name] == [each.filename for each in found.attachments]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("attachment; filename*=UTF-8''Grüße%20a.pdf", "Grüße a.pdf"),
        ("attachment; filename*=\"UTF-8''Gr%C3%BC.pdf\"", "Grü.pdf"),
        ("attachment; filename=x.pdf; filename*=UTF-8''Gr%C3%BC.pdf", "Grü.pdf"),
        ("attachment; filename*=UTF-8''Gr%C3%BC.pdf; filename=x.pdf", "Grü.pdf"),
        ("attachment; filename*=''Gr%C3%BC.pdf", "Grü.pdf"),
        ("attachment; filename*=Gr%C3%BC.pdf", "Grü.pdf"),
        ("attachment; filename*=; filename=x.pdf", "x.pdf"),
        ("attachment; filename*1*=%BC%20b; filename*0*=utf-8'de'Gr%C3; filename*2=%.pdf",
         "Grü b%.pdf"),
        ('attachment; filename*0="a"; filename*1="b.pdf"', "ab.pdf"),
        ("attachment; filename*0=a.pdf; filename*0=b.pdf", "a.pdf"),
        ('attachment; filename="=?utf-8?B?R3LDvA==?=\n =?utf-8?Q?=C3=9F?=.pdf"', "Grüß.pdf"),
        ("attachment; filename==?utf-8?B?R3LDvA==?=", "Grü"),
        (r'attachment; filename="a \"b\"; c.pdf"; x=y', "a b; c.pdf"),
        ("attachment; filename=my file.pdf ; x=y", "my file.pdf"),
        ('attachment; filename="no end.pdf', "no end.pdf"),
        ('filename="a.pdf"', "a.pdf"),
        ('ATTACHMENT;FILENAME = "a.pdf"', "a.pdf"),
        ('attachment; filename="Gr%C3%BC.pdf"', "Gr%C3%BC.pdf"),
        ("attachment; filename=a.pdf; filename=b.pdf", "a.pdf"),
        ("attachment; filename=", "of-type.pdf"),
        ("attachment; x=y", "of-type.pdf"),
        ("attachment", "of-type.pdf"),
    ],
)  # fmt: skip
def test_parameters(disposition: str, name: str) -> None:
    """What says how it is coded comes first, then the plain one, then that of the type."""
    [file] = read(disposition, "a/b; name=of-type.pdf").attachments
    assert name == file.filename


@pytest.mark.parametrize("bad", [";" * 2000, "filename=" * 250, '"\x1b$a' * 400, 'a="\\' * 400])
def test_the_cost_of_names(bad: str) -> None:
    """Parameters of many parts that are made to be slow are read within a moment."""
    part = f"--B\nContent-Disposition: a; {bad}\nContent-Type: a/b\n\nx\n"
    raw = f"{HEAD}Content-Type: multipart/mixed; boundary=B\n\n{part * 200}".encode()
    assert cpu_seconds(lambda: mail.events(raw, provider="smtp"), runs=1) < 0.5


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("cp-1251", b"\xcf\xf0", "Пр"), ("windows1251", b"\xcf\xf0", "Пр"),
        ("x-cp1251", b"\xcf\xf0", "Пр"), ("windows-936", b"\xd6\xd0\xe9F", "中镕"),
        ("x-big5", b"\xa4\xa4", "中"), ("x-mac-roman", b"Gr\x9f", "Grü"),
        ("x-mac-cyrillic", b"\x8f\xe0", "Па"),
        ("x-mac-ce", b"\x8a", b"\x8a".decode("mac_latin2")),
        ("cp-99999", b"Gr\xfc", "Grü"), ("x-mac-no", b"Gr\xfc", "Grü"),
    ],
)  # fmt: skip
def test_odd_labels(charset: str, data: bytes, text: str) -> None:
    """Charsets under the names that some programs give them."""
    assert text == charsets.decode(data, charset)


def test_charsets_that_nobody_knows() -> None:
    """Python is not asked for charsets that it does not know: it would keep each name for ever."""
    asked: list[str] = []
    search = asked.append
    codecs.register(search)
    words = " ".join(f"=?x-{number}?q?=C3=BC?=" for number in range(3000)).encode()
    try:
        found = read("a; filename*=y-1''%C3%BC", b"a/b; name=\xfc", "z-1", subject=words)
    finally:
        codecs.unregister(search)

    assert found.subject == "ü" * 998
    assert [file.filename for file in found.attachments] == ["ü"]
    assert asked == []


@pytest.mark.parametrize(
    "charset", ["utf-8", "UTF_8", "Latin1", " latin 1", "iso8859.1", "hex", "x"]
)
def test_names_of_codecs(charset: str) -> None:
    """A codec has the names that Python gives it."""
    try:
        expected = codecs.lookup(charset).name
    except LookupError:
        with pytest.raises(LookupError):
            values.codec(charset)
    else:
        assert expected == values.codec(charset)


def test_a_mark_before_the_text() -> None:
    """A byte order mark is no part of the text."""
    for text in ("\ufeffHello", "Hello"):
        raw = f"{HEAD}Content-Type: text/plain; charset=utf-8\n\n{text}".encode()
        [found] = mail.events(raw, provider="smtp")
        assert isinstance(found, Inbound)
        assert "Hello" == found.body


def test_a_charset_with_a_name_without_end() -> None:
    """Python would understand it, but it would be kept in memory."""
    assert "utf-8" == values.codec("utf" + "-" * 30 + "8")
    with pytest.raises(LookupError):
        values.codec("utf" + "-" * 100 + "8")
