"""Bodies that no browser sends: each is refused in words, and none is a mistake of the gateway."""

from __future__ import annotations

import time
from io import BytesIO

import pytest

from channels.model import Channel
from tests.inbox.conftest import Inbox
from tests.inbox.talking import MEMBER, send
from tests.service.conftest import Ask
from tests.service.wires import connect

FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=x"


def part(value: bytes, *headers: str, disposition: str = 'name="email"') -> bytes:
    """A form of one part."""
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return b"--x\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + value + b"\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (422, FORM, b"email=a%00b@x.example"),
        (400, f"{FORM}; charset=unicode_escape", rb"email=\ud800@x.example"),
        (400, f"{FORM}; charset=unicode_escape", b"email=%5Cud800@x.example"),
        (400, f"{FORM}; charset=utf-7", b"email=+2AA-@x.example"),
        (400, f"{FORM}; charset=unicode_escape", rb"\ud800=1"),
        (400, PARTS, part(b"a@x.example", "Content-Transfer-Encoding: odd")),
        (400, PARTS, part(b"a", "Content-Transfer-Encoding: base64")),
        (
            400,
            PARTS,
            part(rb"\ud800@x.example", "Content-Type: text/plain; charset=unicode_escape"),
        ),
        (400, PARTS, part(b"a@x.example", "Content-Type: text/plain; charset=odd")),
        (400, PARTS, part(b"a@x.example", "Content-Type: application/json")),
    ],
)
async def test_who_is_not_signed_in(inbox: Inbox, status: int, kind: str, body: bytes) -> None:
    """Odd characters, charsets and encodings of an address are no 500 to anybody outside."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    shown = await inbox.browser().raw("/sign-in/link", body, Content_Type=kind)

    assert status == shown.status, shown.words
    assert 0 == await inbox.gateway.count("messages")


@pytest.mark.no_cover  # it measures time
async def test_nothing_before_the_first_part(inbox: Inbox) -> None:
    """What stands before a form's first part is not read line by line: a MiB of empty ones took
    three seconds of everybody's, from somebody who is not signed in, and had no end."""
    for before in (
        b"\r\n" * 2**18,
        b"--xx\r\n" + b"\n" * 2**18,
        b"--x--x\r\n" + b"\n" * 2**18,
    ):
        used = time.process_time()
        body = before + part(b"a@x.example")
        shown = await inbox.browser().raw("/sign-in/link", body, Content_Type=PARTS)
        assert (400, True) == (shown.status, time.process_time() - used < 0.5)


@pytest.mark.no_cover  # it measures time
async def test_many_large_fields(inbox: Inbox) -> None:
    """A form as large as may be is read in one go, not copied for each of its fields: that took a
    web process seconds, for somebody who is not signed in."""
    used = time.process_time()
    body = part(b"y" * 10_000).removesuffix(b"--x--\r\n") * 990 + b"--x--\r\n"
    shown = await inbox.browser().raw("/sign-in/link", BytesIO(body), Content_Type=PARTS)
    assert (422, True) == (shown.status, time.process_time() - used < 1.5)


async def test_what_a_file_is_called(inbox: Inbox, ask: Ask) -> None:
    """A name that is no text is refused before anything is made of it."""
    sent = await send(ask)
    browser = await inbox.signed_in(MEMBER)
    asked = part(b"check", disposition='name="do"').removesuffix(b"--x--\r\n")
    file = part(b"x", disposition='name="attachments"; filename="a.txt"')
    body = asked + file.replace(b"a.txt", b"\xff.txt")
    shown = await browser.raw(
        f"/c/{sent['conversation_id']}/reply",
        body,
        Content_Type=PARTS,
        X_CSRF_Token=browser.csrf,
    )

    assert 400 == shown.status, shown.words
