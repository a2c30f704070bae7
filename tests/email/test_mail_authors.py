"""Who wrote a mail is who its From says, behind whatever name."""

from urllib.parse import quote_plus

import pytest

from tests.costs import cpu_seconds
from tests.sendgrid.values import multipart, posted
from webhooks import mail, sendgrid
from webhooks.mail.author import author
from webhooks.mail.letter import Letter, inbound
from webhooks.model import Inbound, Unknown

THEM = "eve@evil.example"
VICTIM = "ann@bank.example"
ENVELOPE = "bounces@list.example"


def encoded(name: str) -> str:
    """A name as an encoded word (RFC 2047)."""
    return f"=?utf-8?q?{quote_plus(name).replace('%', '=').replace('+', '_')}?="


def read(sender: str) -> Inbound:
    """The message of a mail with this From."""
    raw = f"From: {sender}\r\nTo: shop@example.com\r\nMessage-ID: <1@x>\r\n\r\nHello"
    [found] = mail.events(raw.encode(), provider="smtp", sender=ENVELOPE)
    assert isinstance(found, Inbound)
    return found


@pytest.mark.parametrize(
    "name",
    [
        encoded(VICTIM), encoded(f"{VICTIM},"), encoded(f"<{VICTIM}>"), encoded(f"{VICTIM}\0"),
        '"' + encoded(VICTIM + '",') + '"', encoded(f'Ann <{VICTIM}> "'), VICTIM,
        f'"Ann <{VICTIM}>"', f"(<{VICTIM}>)", f'"Ann \\" <{VICTIM}>"',
    ],
)  # fmt: skip
def test_a_name_that_looks_like_an_address(name: str) -> None:
    """Whoever writes under somebody's address as a name is not taken for them."""
    assert read(f"{name} <{THEM}>").from_address == THEM


@pytest.mark.parametrize(
    "sender",
    [
        "{} \x1b$B\"\x1b(B <{}>", "{} \" <{}>", "\x1b$B<{}>\x1b(B <{}>", "\x1b$B {} \x1b(B {}",
        "\" <{}> <{}>", "<{}> <{}>", '"x <{}> =?utf-8?q?=22?= <{}>', '"<{}> =?utf-8?q?=22,?= <{}>',
        "(x <{}> =?utf-8?q?=29?= <{}>", '{} "=?utf-8?q?=22_<{}>?=', '{} =?utf-8?q?"?= <{}> "',
        "=?utf-8?q?<{}>?= {}", "{}: <{}>", '"x {} \x1b$B!!\x1b(B <{}>', "evil@(c){} \" <{}>",
        "<{}> \x1b$B\"\x1b(B <{}> \x1b$B\"\x1b(B", "{} \x1b$B(\x1b(B <{}> \x1b$B)\x1b(B",
        "\" '{}' <{}>",
        "\x1b$B\"\x1b(B <{}>\x1b$B\"\x1b(B <{}>", "\x1b$B<\x1b(B{}\x1b$B>\x1b(B <{}>",
    ],
)  # fmt: skip
def test_structure_that_others_may_read_otherwise(sender: str) -> None:
    """Where a From is not well-formed, nobody who is named beside somebody else wrote it."""
    assert read(sender.format(THEM, VICTIM)).from_address == ENVELOPE
    assert read(sender.format(VICTIM, THEM)).from_address == ENVELOPE


def test_a_name_in_seven_bit_japanese() -> None:
    """A name that nobody has encoded is read all the same, whatever structure its bytes look like:
    those of 川, 小, 中 and ダ are @ . C f and so on."""
    for name in (
        "山田",
        "川田",
        "石川小学校",
        "青木 小百合",
        "ホンダ Inc.",
        "西田 A.",
        "西ぎ",
        "清水",
    ):
        written = name.encode("iso-2022-jp").decode()
        for sender in (f"{written} <{THEM}>", f'"{written}" <{THEM}>', f"{THEM} ({written})"):
            found = read(sender)
            assert (found.from_address, found.detail["from_name"]) == (THEM, name), sender


@pytest.mark.parametrize(
    ("name", "codec", "charset", "expected"),
    [
        ("Иван", "cp1251", "windows-1251", "Иван"),
        ("王小明", "gb18030", "gb2312", "王小明"),
        ("Иван", "utf-8", "windows-1251", "Иван"),
        ("Grüße", "cp1252", "us-ascii", "Grüße"),
        ("Борис", "cp866", "ibm866", "\ufffd®à¨á"),
    ],
)
def test_a_name_in_eight_bits(name: str, codec: str, charset: str, expected: str) -> None:
    """A name that nobody has encoded is UTF-8, or in the charset of the letter. What only another
    code page has is lost, and the name is no worse than before."""
    head = f"Content-Type: text/plain; charset={charset}\n\n".encode()
    [found] = mail.events(f"From: {name} <{THEM}>\n".encode(codec) + head, provider="test")
    assert isinstance(found, Inbound)
    assert (found.from_address, found.detail["from_name"]) == (THEM, expected)


def test_a_comment_that_looks_like_an_address() -> None:
    """Nor where it stands behind the address, in comments within comments."""
    assert read(f"<{THEM}> (a (b) <{VICTIM}>)").from_address == THEM
    assert read(f"{THEM} ({VICTIM})").from_address == THEM


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann <ann@x.example>, Bob <bob@x.example>", ("Ann", "ann@x.example")),
        ("Doe, Ann <ann@x.example>", ("Ann", "ann@x.example")),
        ("ann@x.example (Ann  Doe)", ("Ann Doe", "ann@x.example")),
        ("ann@x.example", ("", "ann@x.example")),
        ("Ann @ Work <ann@x.example>", ("Ann @ Work", "ann@x.example")),
        ("Ann <not one>, bob@x.example;", ("", "bob@x.example")),
        ("Ann <<ann@x.example>", ("Ann", "ann@x.example")),
        ("Ann <ann@x.example> <>", ("Ann", "ann@x.example")),
        ('"Ann Doe"@x.example', ("", '"Ann Doe"@x.example')),
        ('"Ann <ann@x.example>', ("Ann", "ann@x.example")),
        ("Ann <ann@x.example", ("Ann", "ann@x.example")),
        ("<ann@x.example", ("", "ann@x.example")),
        ("ann@x.example (Ann", ("Ann", "ann@x.example")),
        ("ann@x.example <", ("", "ann@x.example")),
        ("<@r.example,@s.example:ann@x.example>", ("", "ann@x.example")),
        ("Ann Doe ann@x.example", ("Ann Doe", "ann@x.example")),
        ("Dr. Ann Doe ann@x.example", ("Dr. Ann Doe", "ann@x.example")),
        ("Dr. ann@x.example", ("", "")),
        ("Ann (Sales) ann@x.example", ("Ann Sales", "ann@x.example")),
        ("ann@x.example bob@x.example", ("", "")),
        ("ann @ x.example", ("", "ann@x.example")),
        ("ann@x.example Ann Doe", ("Ann Doe", "ann@x.example")),
        ("ann@x.example via Mailer", ("via Mailer", "ann@x.example")),
        ("ann@x.example - Support", ("Support", "ann@x.example")),
        ("ann@x.example (Work) Doe", ("Work Doe", "ann@x.example")),
        ("ann@x.example [Ann]", ("Ann", "ann@x.example")),
        ("ann@x.example.", ("", "ann@x.example")),
        ('"Ann Doe" ann@x.example', ("Ann Doe", "ann@x.example")),
        ('"Ann @ Work Inc. <ann@x.example>', ("Ann @ Work Inc.", "ann@x.example")),
        ('"Ann <ANN@X.example>, ANN@x.EXAMPLE', ("Ann", "ANN@x.example")),
        ('"Re: bob@y.example" <ann@x.example>', ("Re: bob@y.example", "ann@x.example")),
        ("Staff: ann@x.example, bob@x.example;", ("Staff:", "ann@x.example")),
        ("Staff: Ann <ann@x.example>;", ("Staff: Ann", "ann@x.example")),
        ("=?utf-8?q?Doe,_Ann?= <ann@x.example>", ("=?utf-8?q?Doe,_Ann?=", "ann@x.example")),
        ("=?utf-8?q?ann=40x.example?=", ("", "ann@x.example")),
        ("=?utf-8?q?ann=40x.example?= bob@localhost", ("", "")),
        ("Ann ann@x.exa mple.example", ("", "")),
        ("Ann ann..doe@x.example (", ("", "")),
        ("ann@localhost", ("", "ann@localhost")),
        ("(Ann", ("", "")),
        ("Undisclosed:;", ("", "")),
        ("", ("", "")),
    ],
)
def test_authors(text: str, expected: tuple[str, str]) -> None:
    """The first author, however oddly written."""
    assert author(text, is_decoded=False) == expected


@pytest.mark.parametrize(
    "text",
    [f"{VICTIM}, <{THEM}>", f"{VICTIM}, Eve <{THEM}>", f"{THEM}, x", f" {THEM}"],
)
def test_a_header_that_a_provider_has_decoded(text: str) -> None:
    """A comma may be the name's: what is in <> at the end counts."""
    letter = Letter(external_id="1@x", from_address=text, text="Hello")
    assert inbound(letter).from_address == THEM


def test_a_mail_that_sendgrid_took_apart() -> None:
    """Its headers are there as they came, and tell more surely than its own reading."""
    headers = f"From: {encoded(f'<{VICTIM}>')} <{THEM}> ({encoded(f'<{VICTIM}>')})\r\n"
    body = multipart(
        ('"headers"', headers.encode()),
        ('"from"', f"<{VICTIM}> <{THEM}> <{VICTIM}>".encode()),
        ('"to"', b"shop@example.com"),
        ('"text"', b"Hello"),
    )
    [found] = sendgrid.parse(posted(body))
    assert isinstance(found, Inbound)
    assert (found.from_address, found.detail["from_name"]) == (THEM, f"<{VICTIM}>")
    nobody = body.replace(b"?= <", b'?= "<')
    assert sendgrid.parse(posted(nobody)) == [Unknown(word="no-sender", detail={"subject": ""})]


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ('Ann <"ann doe"@x.example>', '"anndoe"@x.example'),
        ("<@relay.example:ann@x.example>", "ann@x.example"),
        ("<@relay.example,@other.example:ann@x.example>", "ann@x.example"),
        ("Ann <ann@x.example", "ann@x.example"),
        ("ann @ x . example", "ann@x.example"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ("<mailto:ann@x.example>", "ann@x.example"),
    ],
)
def test_addresses_as_they_were_written_once(sender: str, expected: str) -> None:
    """Routes, spaces and quoted parts of RFC 822 name the same mailbox."""
    assert read(sender).from_address == expected


@pytest.mark.parametrize(
    "behind",
    [
        ".evil.example",
        "(c).evil.example",
        " (c) .evil.example",
        "\r\n .evil.example",
        " . evil.example",
    ],
)
def test_a_domain_in_pieces(behind: str) -> None:
    """What stands behind a dot belongs to the domain, as to whoever checks it."""
    assert read(VICTIM + behind).from_address == f"{VICTIM}.evil.example"
    assert read(f'{VICTIM}{behind} "').from_address != VICTIM


@pytest.mark.parametrize(
    "sender",
    ["{} (c)x.evil.example", "{} x.evil.example", "{}(c)x evil", "{}. (c) evil (", "{}.(c)x ("],
)
def test_a_domain_that_may_go_on(sender: str) -> None:
    """Where nobody knows where it ends, nobody is taken for the author."""
    assert read(sender.format(VICTIM)).from_address == ENVELOPE


@pytest.mark.parametrize(
    "sender",
    [
        "{} a@b@evil.example", "{} evil @evil.example", "{} evil @ evil.example", "evil. {}",
        "evil . {}", "evil .{}", "evil. (c) {}", "evil @evil.example {}", "evil@ evil.example {}",
    ],
)  # fmt: skip
def test_an_address_beside_another_in_pieces(sender: str) -> None:
    """Nor is an address taken for the author where something else there may be one, too."""
    assert read(sender.format(VICTIM)).from_address != VICTIM


def test_names() -> None:
    """A name is told whole, also one with a comma in it."""
    assert read(f"{encoded('Müller, Jörg')} <{THEM}>").detail["from_name"] == "Müller, Jörg"
    assert read(f'"Doe, Ann" <{THEM}>').detail["from_name"] == "Doe, Ann"
    assert "from_name" not in read(THEM).detail


@pytest.mark.parametrize(
    "part", ["<", "(", '"', "a@", "\\", "<a@b", ",", "a@b.cd ", "=?a?q?", ".(", '<"', " "]
)
def test_a_hostile_from(part: str) -> None:
    """What is built to be slow is not."""
    assert cpu_seconds(lambda: author(part * 20_000, is_decoded=False)) < 1
