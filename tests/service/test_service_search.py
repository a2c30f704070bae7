"""GET /v1/messages?q= and GET /v1/conversations?q=: what callers find, and what they are told."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

import pytest

from channels.model import Channel
from gateway.store import conversations as stored
from gateway.store import messages, unlinking
from gateway.store.database import ApiKey, Connection
from gateway.store.searching import SearchError, corresponding, searching
from gateway.store.unlinking import Apart
from tests.service.wires import connect

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")


async def said(ask: Ask, body: str, key: str | None = None, **more: Any) -> str:
    """The id of a message that was accepted."""
    sent = await ask("POST", "/v1/messages", {**SMS, "body": body, **more}, key=key)
    assert 202 == sent.status, sent.body
    return str(sent.body["id"])


async def found(ask: Ask, q: str, **more: Any) -> list[str]:
    """The ids of the messages that words find."""
    answer = await ask("GET", f"/v1/messages?q={quote(q)}", **more)
    assert 200 == answer.status, answer.body
    return [one["id"] for one in answer.body["data"]]


async def conversations(ask: Ask, q: str, **more: Any) -> list[str]:
    """The ids of the conversations that words find."""
    answer = await ask("GET", f"/v1/conversations?q={quote(q)}", **more)
    assert 200 == answer.status, answer.body
    return [one["id"] for one in answer.body["data"]]


async def test_words_find_messages(ask: Ask, gateway: Gateway) -> None:
    """Words, phrases, beginnings, words that must not be there and choices, for keys and staff."""
    fox = await said(ask, "The quick brown fox")
    hare = await said(ask, "A quick hare, brown as well")
    for key in (gateway.a.key, gateway.a.member):
        for q, expected in {
            "quick": [hare, fox],
            "QUICK brown": [hare, fox],
            '"quick brown"': [fox],
            "qui*": [hare, fox],
            "quick -fox": [hare],
            "fox or hare": [hare, fox],
            "qui": [],
        }.items():
            assert expected == await found(ask, q, key=key), q


async def test_accents_in_both_forms(ask: Ask) -> None:
    """É as one letter or as two is the same: in words, phrases, beginnings, exclusions, names."""
    lait = await said(ask, unicodedata.normalize("NFD", "Un café au lait"))
    noir = await said(ask, unicodedata.normalize("NFC", "Le café noir"))
    ids = [noir, lait]
    for form in FORMS:
        for q, expected in {
            "café": ids,
            "CAFÉ noir": [noir],
            '"café au"': [lait],
            "caf*": ids,
            "café*": ids,
            "lait -café": [],
            "noir or café": ids,
        }.items():
            assert expected == await found(ask, unicodedata.normalize(form, q)), (form, q)
    typed = "Ti\u00ea\u0301ng"  # as Windows' Vietnamese keyboard writes it: in neither form
    assert [await said(ask, typed)] == await found(ask, typed)
    lead = {"first_name": unicodedata.normalize("NFD", "José"), "phone": "+447700900009"}
    await ask("POST", "/v1/leads", lead)
    jose = await said(ask, "Hola", to="+447700900009")
    for form in FORMS:
        assert [jose] == await found(ask, unicodedata.normalize(form, "josé"))
        assert 1 == len(await conversations(ask, unicodedata.normalize(form, "josé")))


async def test_contacts_find_messages_and_conversations(ask: Ask, gateway: Gateway) -> None:
    """A contact is found by name, mailbox and number; in A's organization A's alone."""
    lead = {"first_name": "Zelda", "last_name": "Fitz", "phone": "+447700900001"}
    await ask("POST", "/v1/leads", lead)
    await ask("POST", "/v1/leads", lead, key=gateway.b.key)
    zelda = await said(ask, "one", to="+447700900001")
    other = await said(ask, "two", to="+447700900002")
    theirs = await said(ask, "three", to="+447700900001", key=gateway.b.key)
    for q in ("zelda", "Zelda FITZ", "fitz*", "07700 900 001", "900001"):
        assert [zelda] == await found(ask, q), q
        assert [theirs] == await found(ask, q, key=gateway.b.key), q
        assert 1 == len(await conversations(ask, q)), q
        assert [] != await conversations(ask, q, key=gateway.b.member), q
        assert await conversations(ask, q) != await conversations(ask, q, key=gateway.b.key), q
    assert [other, zelda] == await found(ask, "7700900*")
    assert 1 == len(await conversations(ask, "two"))
    assert 2 == len(await conversations(ask, "one or two"))
    assert [] == await conversations(ask, "three")


async def test_pages_of_a_search(ask: Ask) -> None:
    """A search has the same pages and the same cursor as the list, and keeps its filters."""
    ids = [await said(ask, f"parcel {n}", reference=f"r{n % 2}") for n in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        answer = await ask("GET", f"/v1/messages?q=parcel&limit=3{cursor}")
        seen += [one["id"] for one in answer.body["data"]]
        if answer.body["next_cursor"] is None:
            break
        cursor = f"&cursor={answer.body['next_cursor']}"
    assert ids[::-1] == seen
    odd = await ask("GET", "/v1/messages?q=parcel&reference=r1&status=pending")
    assert ids[5:0:-2] == [one["id"] for one in odd.body["data"]]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/conversations"])
async def test_what_cannot_be_searched_for(ask: Ask, path: str) -> None:
    """A search that can find no end, or has no beginning, is a 422 that says so."""
    for q, reason in (
        ("", "names no word to look for"),
        ('"', "names no word to look for"),
        ("-parcel", "names no word to look for"),
        ("&|!():*", "names no word to look for"),
        ("a " * 100, "names too many words: 40 at most"),
        ("word " * 10_000, "String should have at most 1000 characters"),
    ):
        answer = await ask("GET", f"{path}?q={quote(q[:3000])}")

        assert (422, {"q": reason}) == (answer.status, answer.fields()), q[:20]


async def test_a_search_that_takes_too_long(gateway: Gateway) -> None:
    """What PostgreSQL cannot answer within the time is refused with what would help."""
    caller = ApiKey(
        id=gateway.a.account_id, organization_id=gateway.a.organization_id, is_test=False
    )

    async def slow() -> None:
        async with gateway.database.as_caller(caller) as db, searching(db):
            await db.execute("SET LOCAL statement_timeout = 20")
            await db.execute("SELECT pg_sleep(5)")

    with pytest.raises(SearchError, match="finds too much to look through: add a word"):
        await slow()


async def test_an_address_walks_its_conversation(gateway: Gateway, ask: Ask) -> None:
    """Messages of a contact's address are looked for in its conversation alone; those of a sender,
    or of an address that no conversation has, everywhere."""
    sent = await said(ask, "one", to="+447700900001")
    caller = ApiKey(
        id=gateway.a.account_id, organization_id=gateway.a.organization_id, is_test=False
    )
    for address, expected in {
        "+447700900001": [sent],
        gateway.a.sender: [sent],
        "+447700900009": [],
    }.items():
        async with gateway.database.as_caller(caller) as db:
            page = await messages.search(
                db,
                gateway.a.organization_id,
                messages.MessageFilter(address=address),
                None,
                10,
                most_bytes=2**20,
            )
        assert expected == [str(row["id"]) for row in page.rows]


async def test_what_needs_too_many_contacts(ask: Ask, gateway: Gateway) -> None:
    """Where the messages of more contacts are asked for than can be looked for together, the list
    and the export are refused; nothing is left out in silence."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "INSERT INTO gateway.conversations (organization_id, id, name)"
            " SELECT $1, gen_random_uuid(), 'Guest' FROM generate_series(1, 20001)",
            gateway.a.organization_id,
        )
    for path in ("/v1/messages?q=guest", "/v1/messages/export?q=guest"):
        answer = await ask("GET", path)
        assert 422 == answer.status
        assert answer.fields()["q"].startswith("finds more than 20,000 contacts: add a word, or")


async def by_address(ask: Ask, address: str) -> int:
    """How many messages an address finds."""
    answer = await ask("GET", f"/v1/messages?limit=200&address={quote(address)}")
    return len(answer.body["data"])


async def long_one(ask: Ask, gateway: Gateway, address: str) -> UUID:
    """The conversation of an address with 120 messages of long texts."""
    one = UUID(await said(ask, "Hello", to=address))
    async with gateway.database.as_service() as db:
        await db.execute(
            "INSERT INTO messages (organization_id, channel, direction, from_address, to_address,"
            " body, conversation_id) SELECT organization_id, channel, direction, from_address,"
            " to_address, repeat('long ', 4000), conversation_id FROM messages,"
            " generate_series(1, 119) WHERE id = $1",
            one,
        )
        where: UUID = await db.fetchval("SELECT conversation_id FROM messages WHERE id = $1", one)
    return where


async def test_an_address_amid_a_merge(gateway: Gateway, ask: Ask) -> None:
    """While its conversation is merged in steps, or it is set apart in steps, an address finds all
    its messages; afterwards it is looked for in its conversation alone."""
    address, mine = "+447700900001", gateway.a.organization_id
    where = await long_one(ask, gateway, address)
    kept = await long_one(ask, gateway, "+447700900002")
    async with gateway.database.as_service() as db:
        assert await stored.merge(db, mine, merged=where, kept=kept) is None
    assert 120 == await by_address(ask, address)
    apart = UUID(int=7)
    async with gateway.database.as_service() as db:
        step = await unlinking.set_apart(db, mine, where, address, apart)
    assert step == Apart(conversation_id=apart, is_new=True, is_done=False)
    assert 120 == await by_address(ask, address)
    while step and not step.is_done:
        async with gateway.database.as_service() as db:
            step = await unlinking.set_apart(db, mine, where, address, UUID(int=8))
    async with gateway.database.as_service() as db:
        assert [apart] == [
            row[0]
            for row in await db.fetch(
                "SELECT DISTINCT conversation_id FROM messages WHERE to_address = $1", address
            )
        ]
        assert apart == await of_address(db, gateway, address)


async def of_address(db: Connection, gateway: Gateway, address: str) -> UUID | None:
    """In which one conversation an address is looked for, by A's key."""
    await db.execute(
        "SELECT set_config('gateway.organization_id', $1, true)", str(gateway.a.organization_id)
    )
    await db.execute("SET LOCAL ROLE gateway_api")
    return await corresponding(db, gateway.a.organization_id, address)


@pytest.mark.parametrize("address", ["info@clinic.example", "+15550001111", "desk@old.example"])
async def test_an_address_that_is_ours_as_well(gateway: Gateway, ask: Ask, address: str) -> None:
    """An alias of ours, or what was a sender of ours once, finds all its messages, in whosever
    conversation, though somebody wrote to it once as to anybody."""
    await connect(gateway, "sendgrid", Channel.EMAIL, "desk@clinic.example")
    async with gateway.database.as_service() as db:
        for former in ("+15550001111", "Desk@Old.example"):
            await db.execute(
                "INSERT INTO gateway.senders (organization_id, account_id, channel, address)"
                " SELECT organization_id, id, $2, $1 FROM gateway.provider_accounts"
                " WHERE organization_id = $3 LIMIT 1",
                former, "email" if "@" in former else "sms", gateway.a.organization_id,
            )  # fmt: skip
        await db.execute(
            "DELETE FROM gateway.senders WHERE address IN ('+15550001111', 'Desk@Old.example')"
        )
    mail = {"channel": "email", "subject": "Hello"} if "@" in address else {}
    await said(ask, "a copy", to=address, **mail)
    async with gateway.database.as_service() as db:
        await db.execute(
            "INSERT INTO messages (organization_id, channel, direction, from_address, to_address,"
            " subject, body, status) SELECT $1, $2, 'inbound', $3 || n, $4, 's', 'b', 'received'"
            " FROM generate_series(1, 3) n",
            gateway.a.organization_id, "email" if mail else "sms",
            "someone@x.example" if mail else "+4477009000", address,
        )  # fmt: skip
    assert 4 == await by_address(ask, address)


@pytest.mark.parametrize("others", [10, 30])
async def test_a_mail_domain_of_everybody(gateway: Gateway, ask: Ask, others: int) -> None:
    """A contact at a mail domain that many contacts have is looked for in its conversation, though
    a sender of ours is there; at one that few have it may be an alias of ours."""
    await connect(gateway, "sendgrid", Channel.EMAIL, "clinic@mail.example")
    await said(ask, "Hello", channel="email", subject="Hello", to="ann@mail.example")
    async with gateway.database.as_service() as db:
        where: UUID = await db.fetchval(
            "INSERT INTO gateway.conversation_addresses"
            " (organization_id, conversation_id, address, written)"
            " SELECT organization_id, conversation_id, n || address, written"
            " FROM gateway.conversation_addresses, generate_series(1, $1) n"
            " WHERE address = 'ann@mail.example' RETURNING conversation_id",
            others,
        )
        found = await of_address(db, gateway, "ann@mail.example")
    assert (where if others > 20 else None) == found


@pytest.mark.parametrize("merged", ["", "the source", "the new one"])
async def test_an_address_whose_move_is_over(gateway: Gateway, ask: Ask, merged: str) -> None:
    """An address that was set apart in steps is looked for in its conversation again when the rest
    came by a merge, or is gone."""
    address, mine, apart = "+447700900001", gateway.a.organization_id, UUID(int=7)
    where = await long_one(ask, gateway, address)
    async with gateway.database.as_service() as db:
        await db.execute(
            "INSERT INTO gateway.conversation_addresses"
            " (organization_id, conversation_id, address, written) VALUES ($1, $2, 'a@x', 'a@x')",
            *(mine, where),
        )
        step = await unlinking.set_apart(db, mine, where, address, apart)
    assert step == Apart(conversation_id=apart, is_new=True, is_done=False)
    kept, gone = (where, apart) if merged == "the new one" else (apart, where)
    done: bool | None = None
    async with gateway.database.as_service() as db:
        if merged:
            while done is None:
                done = await stored.merge(db, mine, merged=gone, kept=kept)
        else:
            await db.execute("DELETE FROM messages WHERE conversation_id = $1", where)
            assert await unlinking.set_apart(db, mine, where, address, UUID(int=8)) is None
        assert kept == await of_address(db, gateway, address)


async def test_an_address_in_any_form(gateway: Gateway, ask: Ask) -> None:
    """Whatever was accepted as `to` finds the message, and so does another way to write the same
    address, theirs or ours: in the list, in a search for words, and in the export."""
    ours = "Clinic@Example.com"
    await connect(gateway, "sendgrid", Channel.EMAIL, ours)
    mail = {"channel": "email", "subject": "Hello"}
    sms = await said(ask, "parcel", to="07700 900 321")
    mails = [await said(ask, "parcel", **mail, to=to) for to in ("C.Y@T.example", "c.y@t.example")]
    for address, expected in {
        "07700 900 321": [sms],
        "(0)7700-900321": [sms],
        "+447700900321": [sms],
        "whatsapp:+447700900321": [sms],
        gateway.a.sender: [sms],
        "C.Y@T.example": mails[::-1],
        "c.y@t.example": mails[::-1],
        "CLINIC@EXAMPLE.com": mails[::-1],
        "07700 900 322": [],
        "y@t.example": [],
        "12345": [],
    }.items():
        given = f"address={quote(address)}"
        for query in (given, f"{given}&q=parcel", f"{given}&q=parcel&limit=2"):
            answer = await ask("GET", f"/v1/messages?{query}")
            assert (200, expected) == (answer.status, [m["id"] for m in answer.body["data"]]), query
        exported = await ask("GET", f"/v1/messages/export?{given}&format=jsonl")
        assert expected == [json.loads(line)["id"] for line in exported.body.splitlines()], address
