"""Opt-outs that a provider reports before it has answered the send, so that nobody knows whose."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from channels.model import Account, Channel
from gateway.consent import early, recording
from gateway.ids import new_id
from gateway.observability.metrics import Metrics
from gateway.receive.unmatched import UnmatchedReports
from gateway.store.kept_reports import CONSENT
from gateway.store.reports import Event
from gateway.store.values import as_json
from tests.service.opting_out import ADA, SMS, meta_says, writes
from tests.service.wires import (
    connect,
    from_meta,
    from_twilio,
    row_of,
    send,
    step,
    suppressed,
    whatsapp_post,
    whatsapp_value,
)
from webhooks.model import ConsentChange, Reason

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

NAMELESS = {"MessageSid": "SM" + "4" * 32, "AccountSid": "AC" + "a" * 32,
            "MessageStatus": "undelivered", "ErrorCode": "21610"}  # fmt: skip


@pytest.mark.parametrize("is_missed", [True, False])
async def test_opted_out_before_the_answer(
    gateway: Gateway, ask: Ask, api: Api, *, is_missed: bool
) -> None:
    """A report that names nobody, and comes before the answer to the send does, stops whoever the
    message turns out to have gone to, once; also where a worker only finds it later."""
    api.says(201, {"sid": NAMELESS["MessageSid"]})
    if not is_missed:
        await from_twilio(gateway, "status", NAMELESS)
        assert set() == await suppressed(ask)
    sent = await send(ask, **SMS)
    if is_missed:  # neither transaction saw the other
        await from_twilio(gateway, "status", NAMELESS)
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE messages SET external_id = $1 WHERE id = $2::uuid",
                NAMELESS["MessageSid"],
                UUID(sent["id"]),
            )
        await UnmatchedReports(gateway.database, Metrics()).apply()
    else:
        await step(api.worker(gateway))

    assert "failed" == (await row_of(ask, sent))["status"]
    assert {("sms", ADA, "stop")} == await suppressed(ask)
    await from_twilio(gateway, "status", NAMELESS)
    assert 1 == await gateway.count("gateway.consent_events")
    failed = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]
    assert "consent" not in str(failed)


@pytest.mark.parametrize("is_missed", [True, False])
async def test_a_parameter_that_is_called_as_our_own_note(
    gateway: Gateway, ask: Ask, api: Api, *, is_missed: bool
) -> None:
    """What a provider tells under the name of our note is no note, and keeps no report back."""
    odd = {
        "MessageSid": "SM" + "4" * 32,
        "AccountSid": "AC" + "a" * 32,
        "MessageStatus": "delivered",
        CONSENT: "x",
    }
    api.says(201, {"sid": odd["MessageSid"]})
    if not is_missed:
        await from_twilio(gateway, "status", odd)
    sent = await send(ask, **SMS)
    if is_missed:
        await from_twilio(gateway, "status", odd)
        async with gateway.database.as_service() as db:
            # as a version before this one has kept it
            await db.execute(
                "UPDATE gateway.unmatched_reports"
                " SET detail = jsonb_set(detail, ARRAY[$1::text], '[\"x\"]')",
                CONSENT,
            )
            await db.execute("UPDATE messages SET external_id = $1", odd["MessageSid"])
        await UnmatchedReports(gateway.database, Metrics()).apply()
    else:
        await step(api.worker(gateway))

    assert "delivered" == (await row_of(ask, sent))["status"]


async def test_what_cannot_be_stored_of_one_report(
    gateway: Gateway, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept report whose opt-out is refused, by a rule of another program's, say, stays kept, and
    holds up no other."""
    sids = (NAMELESS["MessageSid"], "SM" + "5" * 32)
    for sid in sids:
        sent = await send(ask, **SMS)
        await from_twilio(
            gateway,
            "status",
            NAMELESS
            if sid == sids[0]
            else {"MessageSid": sid, "AccountSid": "AC" + "a" * 32, "MessageStatus": "delivered"},
        )
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE messages SET external_id = $1 WHERE id = $2::uuid", sid, UUID(sent["id"])
            )

    async def refuse(*_: object, **__: object) -> int:
        raise ValueError("refused")

    monkeypatch.setattr(recording, "store", refuse)
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert "delivered" == (await row_of(ask, sent))["status"]
    assert 1 == await gateway.count("gateway.unmatched_reports")

    monkeypatch.undo()
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert {("sms", ADA, "stop")} == await suppressed(ask)


@pytest.mark.parametrize("is_old", [True, False])
def test_which_list_it_was_said_of(*, is_old: bool) -> None:
    """What is kept says which of its provider's lists it is about; of old there is none."""
    now = datetime.now(UTC)
    account = Account(id=new_id(), organization_id=new_id(), provider="resend", credentials={})
    change = ConsentChange(
        channel=Channel.EMAIL,
        reason=Reason.COMPLAINT,
        group=None if is_old else "a stream",
        is_accounts=not is_old,
        message_id=new_id(),
        external_id="mail-1",
        word="email.complained",
        key="a key",
        occurred_at=now,
    )
    (kept,) = json.loads(as_json(early.as_kept(account, [change], None, now)))[CONSENT]
    if is_old:
        del kept["group"], kept["is_accounts"]
    event = Event(
        organization_id=account.organization_id,
        message_id=change.message_id or new_id(),
        id=new_id(),
        type="email.complained",
        status=None,
        source="resend",
        external_id="mail-1",
        consent=[kept],
    )
    assert {account.id: (account, [change])} == early.read([event])


async def test_wants_it_again_before_the_answer(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A START that comes after such a report outlasts it."""
    api.says(201, {"sid": NAMELESS["MessageSid"]})
    await from_twilio(gateway, "status", NAMELESS)
    await writes(gateway, "START")
    await send(ask, **SMS)
    await step(api.worker(gateway))

    assert set() == await suppressed(ask)
    assert 2 == await gateway.count("gateway.consent_events")


async def test_opted_out_at_meta_before_the_answer(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Meta's report may come before its answer, too, and say neither who nor which message."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    await meta_says(gateway, account, "Hello", 1, time.time() - 100)
    stopped = {"id": "wamid.7", "status": "failed", "timestamp": str(int(time.time()) - 10),
               "errors": [{"code": 131050, "title": "stopped"}]}  # fmt: skip
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(statuses=[stopped])))
    assert 1 == await gateway.count("gateway.unmatched_reports")
    assert set() == await suppressed(ask)
    api.says(200, {"messages": [{"id": "wamid.7"}]})
    await send(ask, "whatsapp", ADA, body="Hello")
    await step(api.worker(gateway))

    assert {("whatsapp", ADA, "unsubscribe")} == await suppressed(ask)
