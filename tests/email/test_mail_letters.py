"""Mails that somebody wrote to us, however broken they are, become inbound messages."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.model import Attachment, Channel
from tests.costs import cpu_seconds
from webhooks import mail
from webhooks.mail import Letter, inbound
from webhooks.mail.headers import decoded, filename
from webhooks.mail.letter import mailboxes
from webhooks.mail.quotations import new_text
from webhooks.mail.text import sanitised
from webhooks.model import Inbound, Unknown

HEAD = (
    "From: Bob <bob@example.org>\r\nTo: Shop <shop@example.com>\r\nMessage-ID: <1@example.org>\r\n"
)


NESTED = 'Content-Type: multipart/mixed; boundary="b{0}"\r\n\r\n--b{0}\r\n'


def read(raw: str | bytes, **envelope: Any) -> Inbound:
    """The one inbound message of a mail."""
    data = raw.encode("latin-1") if isinstance(raw, str) else raw
    [found] = mail.events(data, provider="smtp", **envelope)
    assert isinstance(found, Inbound)
    return found


def body(text: str, **headers: str) -> str:
    """The text of a mail with these headers, its body in Latin-1."""
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return read(HEAD + named + "\r\n" + text).body


def test_a_whole_mail() -> None:
    """A reply with text, HTML and a file becomes exactly this."""
    raw = (
        "From mbox@example.org Mon Jan  1 00:00:00 2026\r\n"
        + HEAD
        + "Cc: Eve <EVE@Example.org>\r\n"
        "Subject: =?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?b?w59l?= you\r\n"
        "Date: Thu, 01 Jan 2026 12:00:00 +0000\r\n"
        "In-Reply-To: <c@x>\r\nReferences: <a@x> <b@x>\r\n <c@x>\r\n"
        'Content-Type: multipart/mixed; boundary="m"\r\n\r\n--m\r\n'
        'Content-Type: multipart/alternative; boundary="a"\r\n\r\n--a\r\n'
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        "Sch=C3=B6n!\r\n\r\nOn Mon, Shop wrote:\r\n> Is it?\r\n--a\r\n"
        'Content-Type: text/html\r\n\r\n<p onclick="x()">Hi<script>x()</script></p>\r\n'
        "--a--\r\n--m\r\n"
        "Content-Type: application/pdf; name*=utf-8''R%C3%BCck%2Fa.pdf\r\nContent-ID: <f@x>\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--m--\r\n"
    )
    expected = Inbound(
        external_id="1@example.org",
        channel=Channel.EMAIL,
        from_address="bob@example.org",
        to_address="shop@example.com",
        recipients=("shop@example.com", "EVE@example.org"),
        subject="Grüße you",
        body="Schön!",
        html_body="<p>Hi</p>",
        attachments=(
            Attachment(
                filename="a.pdf", content_type="application/pdf", size=3, content=b"\0\1\2",
                content_id="f@x",
            ),
        ),
        references=("c@x", "b@x", "a@x"),
        occurred_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
        detail={
            "from_name": "Bob",
            "quoted_text": "On Mon, Shop wrote:\n> Is it?",
            "source": "test",
        },
    )  # fmt: skip
    assert read(raw, detail={"source": "test"}) == expected


def test_letters_of_providers() -> None:
    """A letter that a provider has read is treated as one that came whole."""
    letter = Letter(
        external_id="<2@x>",
        from_address='"Smith, Bob" <bob@example.org>',
        to_address="Shop <shop@example.com>",
        html="<p>New\0</p>",
        headers=(("Subject", "From\r\n headers "), ("Date", "Thu, 01 Jan 2026 12:00:00 +0000")),
        attachments=(Attachment(url="https://x", filename="../a b", content_id="<c>", size=4),),
    )
    found = inbound(letter)
    assert (found.external_id, found.from_address, found.to_address) == (
        "2@x", "bob@example.org", "shop@example.com"
    )  # fmt: skip
    assert (found.subject, found.body, found.html_body) == ("From  headers", "New", "<p>New</p>")
    assert found.detail == {"from_name": "Smith, Bob"}
    assert found.attachments == (
        Attachment(url="https://x", filename="a b", content_id="c", size=4),
    )
    assert found.occurred_at == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_ids() -> None:
    """A mail without a usable Message-ID has one by its content; another's is another."""
    cases = (("", "a"), ("", "b"), ("<" + "x" * 600 + ">", "a"), ("bare@x", ""))
    letters = [Letter(external_id=x, from_address="a@b.example", text=t) for x, t in cases]
    found = [inbound(each).external_id for each in letters]
    assert found[3] == "bare@x"
    assert len(set(found)) == 4
    assert all(each.startswith("mail-") for each in found[:3])
    assert read("From: a@b.example\r\n\r\nx").external_id.startswith("smtp-")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False), ({"Auto-Submitted": "no"}, False),
        ({"Auto-Submitted": "auto-replied; x=y"}, True), ({"Precedence": "Bulk"}, True),
        ({"Precedence": "first-class"}, False), ({"X-Autoreply": "yes"}, True),
        ({"X-Auto-Response-Suppress": "All"}, True), ({"Return-Path": "<>"}, True),
        ({"Return-Path": "<a@b>"}, False), ({"X-Mail-Autoreply": "vacation"}, True),
        ({"X-Autoresponse": "yes"}, True), ({"X-Autoreply-From": "<a@b>"}, True),
        ({"X-Autogenerated": "Reply"}, True), ({"X-Autogenerated": "Forward"}, False),
        ({"X-Precedence": "auto_reply"}, True), ({"Delivered-To": "Autoresponder"}, True),
    ],
)  # fmt: skip
def test_robots(headers: dict[str, str], expected: bool) -> None:  # noqa: FBT001
    """What a robot wrote is marked, so that nobody answers it."""
    letter = Letter(from_address="a@b.example", text="x", headers=tuple(headers.items()))
    assert bool(inbound(letter).detail.get("auto_submitted")) is expected


@pytest.mark.parametrize("sender", ["", "<>", " "])
def test_an_empty_envelope_sender_is_a_robots(sender: str) -> None:
    """The envelope tells it too."""
    assert read(HEAD + "\r\nx", sender=sender).detail["auto_submitted"] is True


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Ann <ann@example.net>", "ann@example.net"),
        ("Bob <BOB@example.org>", None),
        ("bob@example.org, ann@example.net", "bob@example.org, ann@example.net"),
        ("nobody", None),
    ],
)
def test_where_answers_are_wanted(header: str, expected: str | None) -> None:
    """What a form on a web site sends names the person there; who wrote it stays who wrote it."""
    found = read(f"{HEAD}Reply-To: {header}\r\n\r\nHello")
    assert found.from_address == "bob@example.org"
    assert found.detail.get("reply_to") == expected


def test_no_sender() -> None:
    """A mail from nobody is kept, and is no message; the envelope's sender will do."""
    for sender in (None, "", "<>"):
        assert mail.events(b"Subject: x\r\n\r\ny", provider="smtp", sender=sender) == [
            Unknown(word="no-sender", detail={"subject": "x"})
        ]
    for head in ("", "From: Scanner\r\n", "From: Undisclosed:;\r\n"):
        found = read(f"{head}Subject: x\r\n\r\ny", sender="<a@b.example>")
        assert found.from_address == "a@b.example"


@pytest.mark.parametrize(
    "sender",
    [
        "Ann @ Work <a@b.example>", "Doe, Ann <a@b.example>,", "a@b.example (Doe, Ann)",
        "Ann [Work, Inc] <a@b.example>", "Ann <a@b.example> (Sales, EU)",
    ],
)  # fmt: skip
def test_senders_that_are_written_oddly(sender: str) -> None:
    """Names that should be quoted hide no address, whichever Python reads them."""
    assert "a@b.example" == read(f"From: {sender}\r\n\r\nx").from_address


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"shop@example.com", ("shop@example.com",)),
        (b"a@b.example, A@B.example", ("a@b.example", "A@b.example")),
        (b"undisclosed-recipients:;", ()),
        (b"odd..one@b.example", ("odd..one@b.example",)),
        (b"a@b.example (Doe, Ann),", ("a@b.example",)),
        (b"a@b.example; c@b.example", ("a@b.example", "c@b.example")),
        (b"(" * 5000 + b" x@y.example", ("x@y.example",)),
        (b",".join(b"a%d@b.example" % number for number in range(150)), 100),
    ],
)
def test_recipients(raw: bytes, expected: Any) -> None:
    """Every address that a mail went to, bare; at most a hundred."""
    found = read(b"From: a@b.example\r\nTo: " + raw + b"\r\n\r\nx").recipients
    assert (len(found) if isinstance(expected, int) else found) == expected


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        ({"Content_Type": "text/plain; charset=iso-8859-1"}, "Gr\xfc\xdfe \x80", "Grüße €"),
        ({"Content_Type": "text/plain; charset=no-such"}, "Gr\xfc\xdfe", "Grüße"),
        ({"Content_Type": "text/plain; charset=ANSI_X3.4-1968"}, "Gr\xfc\xdfe", "Grüße"),
        ({"Content_Type": "text/plain; charset=646"}, "Gr\xfc\xdfe", "Grüße"),
        ({"Content_Type": "text/plain; charset=ISO646-US"}, "Gr\xfc\xdfe", "Grüße"),
        ({"Content_Type": "text/plain; charset=idna"}, "abc", "abc"),
        ({"Content_Type": "text/plain; charset=utf-8"}, "Gr\xfc\xdfe", "Grüße"),
        ({"Content_Type": "text/plain; charset=utf-8"}, "Gr\xc3\xbc", "Grü"),
        ({"Content_Type": "text/plain; charset=utf-8"}, "\xc3\xbc \xc3\x9f \xe2\x80", "ü ß \ufffd"),
        ({"Content_Type": "text/plain; charset=shift_jis"}, "\xfb\xfc\x8b\xb4\x87@", "髙橋①"),
        ({"Content_Type": "text/plain; charset=GB2312"}, "\xd6\xec\xe9F\xbb\xf9", "朱镕基"),
        ({"Content_Type": "text/plain; charset=gb2312"}, "\xe4\xbd\xa0\xe5\xa5\xbd", "你好"),
        ({"Content_Type": "text/plain; charset=ks_c_5601-1987"}, "\x8cc\xb9\xe6", "똠방"),
        ({"Content_Type": "text/plain; charset=iso-8859-8-i"}, "\xf9\xec\xe5\xed", "שלום"),
        ({"Content_Type": "text/plain; charset=idna"}, "Gr\xc3\xbc", "Grü"),
        ({"Content_Type": "text/plain; charset=undefined"}, "Gr\xc3\xbc", "Grü"),
        ({"Content_Type": 'text/plain; charset="a\0b"'}, "Gr\xc3\xbc", "Grü"),
        ({"Content_Type": "text/plain; name*=a''b; name*1=c"}, "Gr\xc3\xbc", "Grü"),
        ({"Content_Type": "text/plain; charset=big5"}, "\xa4\xa4\xff", "中\ufffd"),
        ({"Content_Type": "text/plain; charset*=us-ascii'en'%ff"}, "x", "x"),
        ({"Content_Type": "text/plain; charset=iso-2022-jp"}, "\x1b$BF|K\\\x1b(B", "日本"),
        ({"Content_Type": "text/plain; charset=iso-2022-jp"}, "\xc3\xa4", "ä"),
        ({"Content_Type": "text/plain; charset=iso-2022-jp"}, "\x1b$B|b\n-!\x1b(B A", "髙\n① A"),
        ({"Content_Type": "text/plain; charset=iso-2022-jp"}, "\x1b$BF|\x1b(IJ\n\x1b(J!", "日ﾊ\n!"),
        ({"Content_Type": "text/plain; charset=cp50221"}, "\x1b$B-j\x1b(B", "㈱"),
        ({}, "\x1b$BF|K\\\x1b(B", "日本"),
        ({"Content_Type": "text/plain; charset=euc-jp"}, "\xfc\xe2\xad\xa1\x8e\xca A", "髙①ﾊ A"),
        ({"Content_Type": "text/plain; charset=euc-jp"}, "\x8f\xb0\xa1\xfc\xe2", "丂髙"),
        ({"Content_Type": "text/plain; charset=big5"}, "\xf9\xd8\xad\xb1", "裏面"),
        ({"Content_Type": "text/plain; charset=iso-8859-9"}, "it\x92s \xfe", "it’s ş"),
        ({"Content_Type": "text/plain; charset=tis-620"}, "\x93\xa1\x94", "“ก”"),
        ({"Content_Type": "text/plain; charset*=a\0b'en'x"}, "x", "x"),
        ({"Content_Type": "multipart/mixed; boundary*=a\0b'en'x"}, "x", "x"),
        ({"Content_Type": "multipart/mixed; charset=undefined"}, "Gr\xc3\xbc", "Grü"),
        ({"Content_Type": 'multipart/mixed; boundary=b; charset="a\0b"'}, "Gr\xc3\xbc", "Grü"),
        ({}, "Gr\xc3\xbc", "Grü"),
        ({"Content_Transfer_Encoding": "base64"}, "SGk=", "Hi"),
        ({"Content_Transfer_Encoding": "BASE64 "}, "SGk=", "Hi"),
        ({"Content_Transfer_Encoding": "quoted-printable (of old)"}, "H=69", "Hi"),
        ({"Content_Type": "text/html"}, "<meta charset=gbk><p>\xc4\xe3\xba\xc3", "你好"),
        ({"Content_Type": "text/html"}, "<meta charset=x-gbk><p>\xc4\xe3\xba\xc3", "你好"),
        ({"Content_Type": "text/html"}, "<meta charset=utf-16><p>Hi, Anna", "Hi, Anna"),
        ({"Content_Type": "text/html"}, "<meta charset=utf-32><p>Gr\xfc\xdfe", "Grüße"),
        ({"Content_Type": "text/html"}, "<meta charset=cp037><p>Hi", "Hi"),
        (
            {"Content_Type": "text/html; charset=utf-8"},
            "<meta charset=gbk><p>\xe4\xbd\xa0\xe5\xa5\xbd",
            "你好",
        ),
        ({"Content_Transfer_Encoding": "nonsense"}, "Hi", "Hi"),
        ({"Content_Type": "nonsense"}, "Hi", "Hi"),
        ({"Content_Type": 'multipart/mixed; boundary="x"'}, "Hi", "Hi"),
        ({"Content_Type": "text/html"}, '<p>Hi <a href="https://x.example">you</a>', "Hi you"),
        ({}, "a\0b", "ab"),
    ],
)  # fmt: skip
def test_charsets(headers: dict[str, str], text: str, expected: str) -> None:
    """Text is read in the charset that it names, else in the likeliest."""
    assert body(text, **headers) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"), ("a =?utf-8?q?b?= c", "a b c"),
        ("=?utf-8?b?w7w?=", "ü"), ("=?utf-8?b?w?=", "w"), ("=?x?q?=FC?=", "ü"),
        ("=?utf-8*en?q?a_b?=", "a b"), ("=?utf-8?q?=C3?= =?UTF-8?q?=BC?=", "ü"),
        ("=?utf-8?q?a?= =?iso-8859-1?q?=FC?=", "aü"), ("=?utf-8?q?no end", "=?utf-8?q?no end"),
        ("Gr\udcc3\udcbc", "Grü"), ("Gr\udcfc", "Grü"), ("C:\\users", "C:\\users"), ("ü", "ü"),
        ("a\r\n b", "a b"), ("=?iso-2022-jp?b?GyRCfGI2NhsoQg==?=", "髙橋"),
        ("\x1b$BF|\x1b(B", "日"),
    ],
)  # fmt: skip
def test_headers(raw: str, expected: str) -> None:
    """Encoded words and plain bytes are read, also where programs got them wrong."""
    assert decoded(raw) == expected


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        (None, None), ("", None), ("..", None), ("/etc/passwd", "passwd"),
        ("C:\\a\\b.txt", "b.txt"),
        ("a\u202egpj.exe", "agpj.exe"), ('a"b\r\n.txt', "ab.txt"),
        ("x" * 300 + ".pdf", "x" * 139 + ".pdf"), ("x" * 300, "x" * 150),
    ],
)  # fmt: skip
def test_file_names(given_name: str | None, expected: str | None) -> None:
    """Names have no path, nothing unseen, and an end."""
    assert filename(given_name) == expected


def test_parts() -> None:
    """Files among texts, attached mails and odd parts are all there."""
    raw = (
        HEAD + "Content-Type: multipart/mixed; boundary=m\r\n\r\n"
        "--m\r\n\r\none\r\n--m\r\nContent-Disposition: attachment\r\n\r\nfile\r\n"
        "--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n"
        "--m\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\n\r\ny\r\n"
        "--m\r\nContent-Type: a b/c\r\n\r\n--m\r\nContent-Type: x/{y}\r\n\r\nz\r\n"
        "--m\r\n\r\ntwo\r\n--m--\r\n"
    )
    found = read(raw)
    assert found.body == "one\ntwo"
    assert [(each.filename, each.content_type) for each in found.attachments] == [
        (None, "text/plain"), ("message.eml", "message/rfc822"),
        ("winmail.dat", "application/ms-tnef"), (None, "application/octet-stream"),
        (None, "application/octet-stream"),
    ]  # fmt: skip
    assert found.attachments[1].content == b"Subject: inner\r\n\r\nx"


@pytest.mark.parametrize("control", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_an_attached_mail_with_odd_headers(control: str) -> None:
    """What looks like a line's end to the library, and like a header behind it, loses no mail."""
    inner = f"Subject: a{control}b: c\r\nX: {'d ' * 60}\r\n\te\xff\r\n\r\nx"
    found = read(HEAD + "Content-Type: message/rfc822\r\n\r\n" + inner)
    assert [inner.encode("latin-1")] == [each.content for each in found.attachments]


def test_a_name_in_no_charset() -> None:
    """A file whose name is in no charset has the likeliest one."""
    raw = HEAD + "Content-Type: a/b; name*=a\0b'en'x\r\n\r\nfile"
    [found] = read(raw).attachments
    assert (found.filename, found.content) == ("x", b"file")


def test_too_many_parts() -> None:
    """More parts than anybody needs are left out, and it is said."""
    raw = HEAD + "Content-Type: multipart/mixed; boundary=m\r\n\r\n" + "--m\r\n\r\nx\r\n" * 300
    assert "200 parts" in read(raw).detail["left_out"]


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_too_long_a_text(kind: str) -> None:
    """Of a text that is longer than is kept the beginning is there, and it is said."""
    limit = 2**20 if kind == "plain" else 2**21

    def mail_of(length: int) -> Inbound:
        return read(HEAD + f"Content-Type: text/{kind}\r\n\r\n" + "word " * (length // 5 + 1))

    assert "left_out" not in mail_of(limit // 2).detail
    long = mail_of(limit)
    assert f"more than {limit} characters" in long.detail["left_out"]
    assert long.body.startswith("word word")


def test_too_many_files() -> None:
    """More files than are kept are left out, and it is said, beside what else was."""

    def files(number: int) -> Inbound:
        file = "--m\r\nContent-Type: a/b; name=x\r\n\r\nx\r\n"
        return read(HEAD + "Content-Type: multipart/mixed; boundary=m\r\n\r\n" + file * number)

    assert (100, None) == (len(files(100).attachments), files(100).detail.get("left_out"))
    assert "The mail has more than 100 files." == files(101).detail["left_out"]
    assert 100 == len(files(101).attachments)
    both = files(300).detail["left_out"]
    assert "The mail has more than 200 parts. The mail has more than 100 files." == both


@pytest.mark.parametrize(
    "raw",
    [
        "".join(
            f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(3000)
        ),
        "x\r\n" * 2_100_000,
        'Content-Type: multipart/mixed; boundary="b"\r\n' * 50 + "\r\n" + "\r\n" * 300_000,
        "Content-Type: message/rfc822\r\n\r\n" * 300,
        "Subject: " + "=?utf-8?q?a?= " * 50_000 + "\r\n\r\nx",
        "To: " + "<a@b.example>," * 9000 + "\r\n\r\nx",
        "Content-Type: text/html\r\n\r\n" + "<div>" * 300_000,
        "\r\n" + ("On " + "a " * 90 + "\r\n") * 3000,
    ],
)
def test_hostile_mails(raw: str) -> None:
    """Mails that are made to be slow, or to break the parser, are read in time."""
    assert cpu_seconds(lambda: read(f"From: a@b.example\r\n{raw}"), runs=1) < 8


@pytest.mark.parametrize("text", ["(", ":", "a:", "(:"])
def test_addresses_that_nest_without_end(text: str) -> None:
    """Comments and groups within one another, for each of which Python's library calls itself, keep
    no mail away; the addresses beside them are read."""
    raw = f"From: x@y.example\r\nTo: desk@b.example, {text * 5000}\r\n\r\nHello"
    assert ("desk@b.example",) == read(raw).recipients
    assert ("a@b.example",) == mailboxes([text * 5000, "a@b.example"])


def test_addresses_without_end() -> None:
    """Headers of addresses are read as far as addresses are kept, be they the same or none."""
    many = [", ".join(f"a{n}@b.example" for n in range(1000))] * 100
    assert cpu_seconds(lambda: mailboxes(many, most=5), runs=1) < 0.3
    headers = ["To", "Reply-To"] * 60
    none = "".join(f"{name}: {'a, ' * 5000}\r\n" for name in headers)
    same = "".join(f"{name}: {'a@b.example, ' * 1200}\r\n" for name in headers)
    # A third of a second by itself; beside other tests, and measured for coverage, four times that.
    assert cpu_seconds(lambda: read(f"From: x@y.example\r\n{none}"), runs=1) < 3
    assert cpu_seconds(lambda: read(f"From: x@y.example\r\n{same}"), runs=1) < 3


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    """Whatever comes in, nothing is raised, and what comes out can be stored."""
    for start in (b"From: a@b.example\r\n", b"From: a@b.example\r\nContent-Type: ", b""):
        for event in mail.events(start + raw, provider="smtp"):
            assert "\0" not in repr(event)
            assert not isinstance(event, Inbound) or event.body.encode() is not None


@pytest.mark.parametrize(
    ("text", "new", "quoted"),
    [
        ("Hi\n\nBye\n", "Hi\n\nBye", ""),
        ("Yes\n\nOn 1 Jan 2026, Shop <shop@example.com> wrote:\n> a\n> b\n", "Yes",
         "On 1 Jan 2026, Shop <shop@example.com> wrote:\n> a\n> b"),
        ("Ja\n\nAm 01.01.2026 um 12:00 schrieb Shop <shop@example.com>:\n> a", "Ja",
         "Am 01.01.2026 um 12:00 schrieb Shop <shop@example.com>:\n> a"),
        ("Yes\n\n-----Original Message-----\nFrom: a\nSent: b\n\nold", "Yes",
         "-----Original Message-----\nFrom: a\nSent: b\n\nold"),
        ("Yes\n\n> old\n> old", "Yes", "> old\n> old"),
        ("> old\n\nBelow it", "> old\n\nBelow it", ""),
        ("On Monday, Shop wrote:\n> old\n\nBelow", "On Monday, Shop wrote:\n> old\n\nBelow", ""),
        ("Top\n\nOn Monday, Shop wrote:\n> old\nbetween\n> older",
         "Top\n\nOn Monday, Shop wrote:\n> old\nbetween",
         "> older"),
        ("Top\n\nOn Monday, Shop wrote:\n> old\n\n-- \nBob", "Top",
         "On Monday, Shop wrote:\n> old\n\n-- \nBob"),
        ("> only quoted", "> only quoted", ""), ("", "", ""),
    ],
)  # fmt: skip
def test_quotations(text: str, new: str, quoted: str) -> None:
    """New text stands apart from the quotation that ends a letter; no other text is lost."""
    assert new_text(text) == (new, quoted)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>a</p><script>x()</script>", "<p>a</p>"),
        ("<img src=x onerror=alert(1)>", "<img>"),
        ('<img src="cid:a@b" alt="b">', '<img src="cid:a@b" alt="b">'),
        ('<img src="https://x.example/p.gif">', '<img src="https://x.example/p.gif">'),
        ('<a href="javascript:x()">a</a>', '<a rel="noopener noreferrer">a</a>'),
        ('<a href="https://x.example">a</a>',
         '<a href="https://x.example" rel="noopener noreferrer">a</a>'),
        ("<form action=x><input name=y><button>z</button></form>", None),
        ("<iframe src=x></iframe><style>p{}</style><svg><a>x</a></svg>", None),
        ('<p style="color:red;position:fixed;background:url(x)">a</p>',
         '<p style="color:red">a</p>'),
        ("<div>" * 30_000, None), ("", None),
    ],
)  # fmt: skip
def test_sanitising(source: str, expected: str | None) -> None:
    """HTML of strangers can neither run, nor post, nor cover the page."""
    assert sanitised(source) == expected


def test_base64_of_everything() -> None:
    """A file comes out as it went in."""
    data = bytes(range(256))
    raw = HEAD + "Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    [found] = read(raw + base64.encodebytes(data).decode()).attachments
    assert found.content == data
