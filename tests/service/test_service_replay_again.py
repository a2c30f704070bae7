"""Replay: what is not asked for, and what has been done since, stays as it is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from channels.model import Channel
from tests.service.losses import INBOUND, PHONE, STORED, age, forget, report, rows
from tests.service.wires import (
    connect,
    counts,
    from_meta,
    from_sendgrid,
    from_twilio,
    replay,
    send,
    suppressed,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.losses import Connection


async def test_what_was_undone_stays_undone(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A STOP that is older than its removal does not come back, be it known or lost."""
    await from_twilio(gateway, "message", INBOUND)
    await age(owner, 3)
    (row,) = (await ask("GET", "/v1/suppressions")).body["data"]
    removed = await ask("DELETE", f"/v1/suppressions/{row['id']}", key=gateway.a.owner)
    assert 204 == removed.status
    before = await rows(owner)

    await replay(gateway)
    assert before == await rows(owner)
    await forget(owner, "gateway.consent_events", "NOT is_lifted")
    assert (1, 1, 0, 0) == counts(await replay(gateway))
    assert set() == await suppressed(ask)


async def test_who_came_to_be_known_later(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A STOP that is known does not reach addresses that came up in the conversation since, one
    that is lost does: and so does the START that followed."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    user_id, now = "GB.13491208655302741918", time.time()

    async def say(body: str, ago: float, **more: str) -> None:
        text = whatsapp_text(body, wamid=f"wamid.{body}", sender=PHONE[1:], at=now - ago) | more
        assert (
            200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))).status
        )

    await say("STOP", 50)
    await say("Hi", 40, from_user_id=user_id)
    before = await rows(owner)
    assert (0, 3, 0, 0) == counts(await replay(gateway))
    assert before == await rows(owner)

    await say("START", 30)
    await forget(owner, "gateway.consent_events", "NOT is_lifted")
    await replay(gateway)
    assert set() == await suppressed(ask)
    after = await rows(owner)
    await replay(gateway)
    assert after == await rows(owner)


async def test_who_it_is(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A person is called as they call themselves by now, and what staff have set apart since stays
    apart; news of another address that was lost puts it into their conversation. Who has their
    former number since, and says STOP, does not say it for them."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    user_id, other = "GB.13491208655302741918", "+447700900999"
    text = whatsapp_text("Hi", wamid="wamid.1", sender=PHONE[1:]) | {"from_user_id": user_id}
    news = {
        "from": PHONE[1:],
        "id": "wamid.2",
        "timestamp": text["timestamp"],
        "type": "system",
        "system": {"type": "user_changed_number", "wa_id": other[1:], "body": "changed"},
    }
    for each, name in ((text, "Ada"), (text | {"id": "wamid.3"}, "Ada Byron"), (news, "Ada Byron")):
        person = {"profile": {"name": name}, "wa_id": PHONE[1:]}
        await from_meta(gateway, account, whatsapp_post(whatsapp_value(each, contacts=[person])))
    (conversation,) = (await ask("GET", "/v1/conversations")).body["data"]
    assert {PHONE, user_id, other} == set(conversation["contact"]["addresses"])
    assert "Ada Byron" == conversation["contact"]["name"]
    second = await owner.fetchval(
        "SELECT received_at FROM gateway.webhook_requests ORDER BY received_at OFFSET 1 LIMIT 1"
    )
    before = await rows(owner)
    assert 1 == (await replay(gateway, until=second)).known
    assert before == await rows(owner)

    path = f"/v1/conversations/{conversation['id']}/unlink"
    answer = await ask("POST", path, {"address": other}, key=gateway.a.owner)
    assert 201 == answer.status, answer.body
    before = await rows(owner)
    await replay(gateway)
    assert before == await rows(owner)

    await forget(owner, "gateway.conversation_addresses", "written = $1", other)
    await replay(gateway)
    assert 3 == await gateway.count("gateway.conversation_addresses")

    stop = whatsapp_text("STOP", wamid="wamid.4", sender=PHONE[1:], at=time.time() + 1)
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(stop)))
    before = await rows(owner)
    await replay(gateway)
    assert before == await rows(owner)


async def test_what_they_were_called(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A lost message does not undo what its author is called since; where all of them are lost,
    the latest says it."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    for n, name in enumerate(("Ada", "Ada Byron")):
        text = whatsapp_text("Hi", wamid=f"wamid.{n}", sender=PHONE[1:])
        person = {"profile": {"name": name}, "wa_id": PHONE[1:]}
        await from_meta(gateway, account, whatsapp_post(whatsapp_value(text, contacts=[person])))
    for lost in (["messages"], ["messages", "gateway.conversations"]):
        for table in lost:
            where = "true" if len(lost) > 1 else "external_id = 'wamid.0'"
            await forget(owner, table, where)
        assert 0 < (await replay(gateway)).new
        (conversation,) = (await ask("GET", "/v1/conversations")).body["data"]
        assert "Ada Byron" == conversation["contact"]["name"]


async def test_a_stop_that_was_lifted_before_the_news(gateway: Gateway, ask: Ask) -> None:
    """What was lifted before somebody had another number did not hold for that: whoever has their
    former number since, and says STOP again, does not say it for them."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    other, now = "+447700900999", time.time()

    async def say(body: str, ago: float) -> None:
        text = whatsapp_text(body, wamid=f"wamid.{ago}", sender=PHONE[1:], at=now - ago)
        await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))

    await say("STOP", 50)
    await say("START", 40)
    news = {
        "from": PHONE[1:],
        "id": "wamid.news",
        "timestamp": str(int(now - 30)),
        "type": "system",
        "system": {"type": "user_changed_number", "wa_id": other[1:], "body": "changed"},
    }
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(news)))
    (conversation,) = (await ask("GET", "/v1/conversations")).body["data"]
    path = f"/v1/conversations/{conversation['id']}/unlink"
    assert 201 == (await ask("POST", path, {"address": other}, key=gateway.a.owner)).status
    await say("STOP", -2)
    assert {("whatsapp", PHONE, "stop")} == await suppressed(ask)
    await replay(gateway)
    assert {("whatsapp", PHONE, "stop")} == await suppressed(ask)


async def test_an_error_in_other_words(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A failure that this version explains in other words is the same failure; one with another
    code, or at another time, is another one."""
    sent = await send(ask, "sms", PHONE, body="Hello")
    await report(gateway, sent, "undelivered", ErrorCode="30003")
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    mail = await send(ask, "email", "ada@customer.example", subject="Bill", body="Hello")
    common = {
        "email": "ada@customer.example",
        "message_id": mail["id"],
        "event": "bounce",
        "type": "blocked",
    }
    blocked = [
        common | {"sg_event_id": f"e{n}", "timestamp": 1764000000 + n, "reason": "450 Later"}
        for n in (1, 2)
    ]
    assert (await from_sendgrid(gateway, account, blocked)).status < 300
    before = await rows(owner)
    for words in (("ErrorCode=30003", "ErrorCode=30003&ErrorMessage=Gone"), ("Later", "Wait")):
        await owner.execute(
            "UPDATE gateway.webhook_requests SET body ="
            " replace(convert_from(body, 'UTF8'), $1, $2)::text::bytea",
            *words,
        )
    assert (0, 3, 0, 0) == counts(await replay(gateway))
    after = await rows(owner)
    assert before["gateway.message_events"] == after["gateway.message_events"]
    await forget(owner, "gateway.message_events", "occurred_at = to_timestamp(1764000002)")
    assert (1, 2, 0, 0) == counts(await replay(gateway))
    await owner.execute(
        "UPDATE gateway.webhook_requests SET body ="
        " replace(convert_from(body, 'UTF8'), '30003', '30005')::text::bytea"
    )
    assert (1, 2, 0, 0) == counts(await replay(gateway))


async def test_which_requests(gateway: Gateway, owner: Connection) -> None:
    """Only those of an account, since and before a time, are applied; the others' stay lost, and
    those of another organization."""
    for n, account in enumerate((gateway.a, gateway.b, gateway.a, gateway.a)):
        sid = "SM" + str(n) * 32
        fields = {"MessageSid": sid, "From": PHONE, "To": account.sender, "Body": str(n)}
        await from_twilio(gateway, "message", fields, account_id=account.account_id)
    times = [
        row["received_at"]
        for row in await owner.fetch(
            "SELECT received_at FROM gateway.webhook_requests ORDER BY received_at"
        )
    ]
    await forget(owner, "messages")
    of_a = (gateway.a.organization_id, gateway.a.account_id)

    async def stored() -> list[str]:
        found = await owner.fetch("SELECT body FROM messages ORDER BY body")
        return [row["body"] for row in found]

    trial = await replay(gateway, is_trial=True)
    assert ((4, 0, 0, 0), []) == (counts(trial), await stored())
    await replay(gateway, account=of_a, until=times[2])
    assert ["0"] == await stored()
    await replay(gateway, account=of_a, since=times[3])
    assert ["0", "3"] == await stored()
    await replay(gateway, since=times[1], until=times[2])
    assert ["0", "1", "3"] == await stored()
    assert 4 == (await replay(gateway)).requests
    assert gateway.b.organization_id == await owner.fetchval(
        "SELECT organization_id FROM messages WHERE body = '1'"
    )


async def test_an_account_that_is_gone(gateway: Gateway, owner: Connection) -> None:
    """A request whose account is deleted while it is replayed is said to be that."""
    await from_twilio(gateway, "message", INBOUND)
    await owner.execute(
        "ALTER TABLE gateway.webhook_requests"
        " DROP CONSTRAINT webhook_requests_organization_id_account_id_fkey"
    )
    await forget(owner, "gateway.provider_accounts", "id = $1", gateway.a.account_id)
    result = await replay(gateway)
    (failure,) = result.failures
    assert "it cannot be read: its account was deleted meanwhile" == failure.reason


async def test_at_once(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """Two replays beside each other, and beside the same reports as they come again, end in the
    rows that one leaves."""
    sent = await send(ask, "sms", PHONE, body="Hello")
    for word in ("sent", "delivered", "read"):
        await report(gateway, sent, word)
    await from_twilio(gateway, "message", INBOUND)
    before = await rows(owner, *STORED, "id", "occurred_at", "delivered_at", "read_at")
    await forget(owner, "gateway.message_events", "type IN ('delivered', 'read')")
    await forget(owner, "messages", "direction = 'inbound'")
    await owner.execute("UPDATE gateway.conversations SET unread_count = 0")
    await owner.execute("UPDATE messages SET status = 'sent', delivered_at = NULL, read_at = NULL")

    await asyncio.gather(
        replay(gateway), replay(gateway), report(gateway, sent, "read"),
        from_twilio(gateway, "message", INBOUND),
    )  # fmt: skip

    after = await rows(owner, *STORED, "id", "occurred_at", "delivered_at", "read_at")
    for table in ("messages", "gateway.message_events", "gateway.suppressions"):
        assert before[table] == after[table]
    assert 1 == await owner.fetchval("SELECT sum(unread_count) FROM gateway.conversations")
