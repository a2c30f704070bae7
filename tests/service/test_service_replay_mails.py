"""Replay of mails: a Message-ID is anybody's word, and one mail may be read otherwise by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.model import Channel
from tests.service.losses import ADA, age, forget
from tests.service.wires import OURS, by_smtp, connect, counts, inbound_of, replay

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.losses import Connection

DESK, SALES = OURS[Channel.EMAIL], "sales@clinic.example"


def mail(body: str, n: int = 1, *, sender: str = ADA, to: str = DESK) -> bytes:
    """The n-th mail of a thread."""
    head = f"From: Ada <{sender}>\r\nTo: {to}\r\nSubject: X\r\nMessage-ID: <m-{n}@c.example>"
    return f"{head}\r\n\r\n{body}\r\n".encode()


async def said(ask: Ask) -> list[tuple[str, str]]:
    """To whom which mails came, the same as often as it is stored."""
    return sorted((row["to_address"], row["body"].strip()) for row in await inbound_of(ask))


async def reread(owner: Connection, before: str, after: str) -> None:
    """The reader reads kept mails otherwise than when they came."""
    await owner.execute(
        "UPDATE gateway.webhook_requests SET body = replace(convert_from(body, 'UTF8'), $1, $2)"
        "::text::bytea",
        before,
        after,
    )


async def test_mails_with_one_message_id(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """Mails that have one Message-ID, as some programs give each of theirs, are all there again,
    one of them or all of them lost, and each once."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    for body in ("Hello", "Hello\n--\nA footer", "Good bye"):
        await by_smtp(gateway, account, mail(body))
    before = await said(ask)
    assert 3 == len(before)
    for lost in ("true", "body LIKE 'Hello%'", "body LIKE 'Good%'"):
        await forget(owner, "messages", lost)
        await replay(gateway)
        assert before == await said(ask)
    assert (0, 3, 0, 0) == counts(await replay(gateway))


async def test_a_letter_that_was_read_as_a_bounce(
    gateway: Gateway, ask: Ask, owner: Connection
) -> None:
    """A person's letter that a former reader took for a bounce is there once it is read again."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    sender = "postmaster@customer.example"
    raw = mail("It could not be delivered.", sender=sender).replace(b": X", b": Undeliverable: X")
    await by_smtp(gateway, account, raw)
    assert [] == await said(ask)
    await reread(owner, "Undeliverable: X", "Re: X")
    assert (1, 0, 0, 0) == counts(await replay(gateway))
    assert [(DESK, "It could not be delivered.")] == await said(ask)


async def test_a_message_id_that_is_forged(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A mail that came in later under the Message-ID of a lost one does not stand for it."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    await by_smtp(gateway, account, mail("True"))
    await forget(owner, "messages")
    await by_smtp(gateway, account, mail("Forged", sender="mallory@customer.example"))
    assert (1, 1, 0, 0) == counts(await replay(gateway))
    assert [(DESK, "Forged"), (DESK, "True")] == await said(ask)


async def test_a_copy_for_each_account(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """One mail to two accounts is a message of each: the copy of the one does not stand for that of
    the other, be both replayed or one alone."""
    to = f"{DESK}, {SALES}"
    desk = await connect(gateway, "smtp", Channel.EMAIL)
    sales = await connect(gateway, "smtp", Channel.EMAIL, SALES)
    for account, address in ((desk, DESK), (sales, SALES)):
        await by_smtp(gateway, account, mail("Hi", to=to), recipient=address)
    before = await said(ask)
    assert [(DESK, "Hi"), (SALES, "Hi")] == before
    for lost in ("true", f"to_address = '{SALES}'", f"to_address = '{DESK}'"):
        await forget(owner, "messages", lost)
        await replay(gateway)
        assert before == await said(ask)
    await forget(owner, "messages", "to_address = $1", SALES)
    await replay(gateway, account=(gateway.a.organization_id, sales))
    assert before == await said(ask)


async def test_a_mail_that_came_twice(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A mail that its provider handed in once more later, and of which a mended reader reads other
    words or another recipient, is still one message."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    for _ in range(2):
        await by_smtp(gateway, account, mail("Hello", to="desk+7@clinic.example"))
    await age(owner, 2)
    await owner.execute("UPDATE messages SET created_at = created_at - interval '2 days'")
    await owner.execute(
        "UPDATE gateway.webhook_requests SET received_at = received_at + interval '1 day'"
        " WHERE id = (SELECT id FROM gateway.webhook_requests ORDER BY received_at DESC LIMIT 1)"
    )
    await reread(owner, "Hello", "Grüße")
    await reread(owner, "desk+7@", "desk@")
    assert (0, 2, 0, 0) == counts(await replay(gateway))
    assert [("desk+7@clinic.example", "Hello")] == await said(ask)


async def test_where_it_stands_in_its_thread(gateway: Gateway, owner: Connection) -> None:
    """A lost mail does not become the one that our next mail answers: the latest stays that, also
    where the whole thread was lost."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    for n in (1, 2, 3):
        await by_smtp(gateway, account, mail(f"text {n}", n))

    async def thread() -> list[str]:
        (row,) = await owner.fetch("SELECT mail_ids FROM gateway.correspondence")
        return list(row["mail_ids"])

    before = [f"m-{n}@c.example" for n in (1, 2, 3)]
    assert before == await thread()
    await forget(owner, "messages", "body LIKE 'text 1%'")
    await replay(gateway)
    assert before == await thread()
    await forget(owner, "messages", "body LIKE 'text 1%'")
    await owner.execute("UPDATE gateway.correspondence SET mail_ids = mail_ids[2:]")
    await replay(gateway)
    assert before == await thread()
    for table in ("messages", "gateway.correspondence"):
        await forget(owner, table)
    await replay(gateway)
    assert before == await thread()
