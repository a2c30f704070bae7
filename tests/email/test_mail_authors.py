"""Who wrote a mail is who its From says, behind whatever name."""

from urllib.parse import quote_plus

import pytest

from tests.costs import cpu_seconds
from tests.sendgrid.values import multipart, posted
from webhooks import mail, sendgrid
from webhooks.mail_author import author
from webhooks.mail_letter import Letter, inbound
from webhooks.model import Inbound

THEM = "eve@evil.example"
VICTIM = "ann@bank.example"


def encoded(name: str) -> str:
    """A name as an encoded word (RFC 2047)."""
    return f"=?utf-8?q?{quote_plus(name).replace('%', '=').replace('+', '_')}?="


def read(sender: str) -> Inbound:
    """The message of a mail with this From."""
    raw = f"From: {sender}\r\nTo: shop@example.com\r\nMessage-ID: <1@x>\r\n\r\nHello"
    [found] = mail.events(raw.encode(), provider="smtp")
    assert isinstance(found, Inbound)
    return found


@pytest.mark.parametrize(
    "name",
    [
        encoded(VICTIM), encoded(f"{VICTIM},"), encoded(f"<{VICTIM}>"), encoded(f"{VICTIM}\0"),
        '"' + encoded(VICTIM + '",') + '"', encoded(f'Ann <{VICTIM}> "'), VICTIM, f"<{VICTIM}>",
        f'"Ann <{VICTIM}>"', f"(<{VICTIM}>)", f'"Ann \\" <{VICTIM}>"',
    ],
)  # fmt: skip
def test_a_name_that_looks_like_an_address(name: str) -> None:
    """Whoever writes under somebody's address as a name is not taken for them."""
    assert read(f"{name} <{THEM}>").from_address == THEM


@pytest.mark.parametrize(("opened", "closed"), [("(", ")"), ('"', '"')])
@pytest.mark.parametrize("theirs", [f"<{THEM}>", THEM])
def test_structure_in_seven_bit_japanese(theirs: str, opened: str, closed: str) -> None:
    """What ISO-2022-JP would make a character of opens a comment or a name to everybody else."""
    sender = f"{theirs} \x1b$B{opened}\x1b(B <{VICTIM}> \x1b$B{closed}\x1b(B"
    assert read(sender).from_address.startswith(THEM)


@pytest.mark.parametrize(
    "sender",
    [
        "{} \x1b$B\"\x1b(B <{}>", "{} \" <{}>", "\x1b$B<{}>\x1b(B <{}>", "\x1b$B {} \x1b(B {}",
        "\" <{}> <{}>",
    ],
)  # fmt: skip
def test_structure_that_nothing_closes(sender: str) -> None:
    """Where it tells no author, one is taken only if nothing else there may be one, too."""
    assert read(sender.format(THEM, VICTIM)).from_address != VICTIM


def test_a_name_in_seven_bit_japanese() -> None:
    """A name that nobody has encoded is read all the same, with whatever bytes it has."""
    for address in (THEM, "ann@x.example"):
        found = read(f"\x1b$B;3ED\x1b(B <{address}>")
        assert (found.from_address, found.detail["from_name"]) == (address, "山田")
    for sender in (f"\x1b$B@nED\x1b(B <{THEM}>", f"\x1b$B@nED\x1b(B {THEM}"):
        found = read(sender)  # one of its bytes is @
        assert (found.from_address, found.detail["from_name"]) == (THEM, "川田")
    assert read(f'"\x1b$B;3ED\x1b(B" <{THEM}>').detail["from_name"] == "山田"


def test_a_comment_that_looks_like_an_address() -> None:
    """Nor where it stands behind the address, in comments within comments."""
    assert read(f"<{THEM}> (a (b) <{VICTIM}>)").from_address == THEM
    assert read(f"{THEM} ({VICTIM})").from_address == THEM


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann <ann@x.example>, Bob <bob@x.example>", ("Ann", "<ann@x.example>")),
        ("Doe, Ann <ann@x.example>", ("Ann", "<ann@x.example>")),
        ("ann@x.example (Ann  Doe)", ("Ann Doe", "ann@x.example")),
        ("ann@x.example", ("", "ann@x.example")),
        ("Ann @ Work <ann@x.example>", ("Ann @ Work", "<ann@x.example>")),
        ("Ann <not one>, bob@x.example;", ("", "bob@x.example")),
        ("Ann <<ann@x.example>", ("Ann", "<ann@x.example>")),
        ("Ann <ann@x.example> <>", ("Ann", "<ann@x.example>")),
        ('"Ann Doe"@x.example', ("", '"Ann Doe"@x.example')),
        ('"Ann <ann@x.example>', ("", "<ann@x.example>")),
        ("Ann <ann@x.example", ("Ann", "<ann@x.example>")),
        ("<ann@x.example", ("", "<ann@x.example>")),
        ("ann@x.example (Ann", ("Ann", "ann@x.example")),
        ("ann@x.example <", ("", "ann@x.example")),
        ("<@r.example,@s.example:ann@x.example>", ("", "<ann@x.example>")),
        ("Ann Doe ann@x.example", ("Ann Doe", "ann@x.example")),
        ("Dr. Ann Doe ann@x.example", ("Dr. Ann Doe", "ann@x.example")),
        ("Dr. ann@x.example", ("", "Dr. ann@x.example")),
        ("Ann (Sales) ann@x.example", ("Ann", "ann@x.example")),
        ("ann@x.example bob@x.example", ("", "ann@x.example bob@x.example")),
        ("ann @ x.example", ("", "ann @ x.example")),
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
    [f"{VICTIM}, <{THEM}>", f"{VICTIM}, Eve <{THEM}>", f"<{VICTIM}>, <{THEM}>", f"{THEM}, x"],
)
def test_a_header_that_a_provider_has_decoded(text: str) -> None:
    """A comma may be the name's: what is in <> at the end counts."""
    letter = Letter(external_id="1@x", from_address=text, text="Hello")
    assert inbound(letter).from_address == THEM


def test_a_mail_that_sendgrid_took_apart() -> None:
    """Its headers are there as they came, and tell more surely than its own reading."""
    headers = f"From: {encoded(f'<{VICTIM}>')} <{THEM}> {encoded(f'<{VICTIM}>')}\r\n"
    body = multipart(
        ('"headers"', headers.encode()),
        ('"from"', f"<{VICTIM}> <{THEM}> <{VICTIM}>".encode()),
        ('"to"', b"shop@example.com"),
        ('"text"', b"Hello"),
    )
    [found] = sendgrid.parse(posted(body))
    assert isinstance(found, Inbound)
    assert (found.from_address, found.detail["from_name"]) == (THEM, f"<{VICTIM}><{VICTIM}>")


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ('Ann <"ann doe"@x.example>', '"anndoe"@x.example'),
        ("<@relay.example:ann@x.example>", "ann@x.example"),
        ("<@relay.example,@other.example:ann@x.example>", "ann@x.example"),
        ("Ann <ann@x.example", "ann@x.example"),
        ("ann . doe @ x.example", "ann.doe@x.example"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ("<mailto:ann@x.example>", "ann@x.example"),
    ],
)
def test_addresses_as_they_were_written_once(sender: str, expected: str) -> None:
    """Routes, spaces and quoted parts of RFC 822 name the same mailbox."""
    assert read(sender).from_address == expected


@pytest.mark.parametrize(
    ("behind", "read_as"),
    [
        (".evil.example", ".evil.example"), ("(c).evil.example", ".evil.example"),
        (" (c) .evil.example", ".evil.example"), (" (c)x.evil.example", "x.evil.example"),
        ("\r\n .evil.example", ".evil.example"), (" . evil.example", ".evil.example"),
        (" x.evil.example", "x.evil.example"), (" evil", "evil"),
    ],
)  # fmt: skip
def test_a_domain_in_pieces(behind: str, read_as: str) -> None:
    """What stands behind an address without <> belongs to its domain, as to whoever checks it."""
    assert read(VICTIM + behind).from_address == VICTIM + read_as


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


@pytest.mark.parametrize("part", ["<", "(", '"', "a@", "\\", "<a@b", ","])
def test_a_hostile_from(part: str) -> None:
    """What is built to be slow is not."""
    assert cpu_seconds(lambda: author(part * 20_000, is_decoded=False)) < 1
