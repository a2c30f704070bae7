"""What many do at the same moment for one person."""

from __future__ import annotations

import asyncio

from tests.service.conftest import Ask, Gateway
from tests.service.wires import from_twilio, inbound_of

ADA = "+447700900123"


async def test_both_write_at_once(gateway: Gateway, ask: Ask) -> None:
    """What a lead writes and what is written to it at the same moment hold nobody up."""
    await ask("POST", "/v1/leads", {"first_name": "Ada", "phone": ADA})
    out = {"channel": "sms", "to": ADA, "body": "x"}
    into = {"AccountSid": "AC" + "a" * 32, "From": ADA, "To": "+15551230001", "Body": "x"}
    for turn in range(12):
        sids = [f"SM{turn:016}{n:016}" for n in range(6)]
        answers = await asyncio.gather(
            *(ask("POST", "/v1/messages", out) for _ in range(8)),
            *(from_twilio(gateway, "message", into | {"MessageSid": sid}) for sid in sids),
        )
        assert [202] * 8 + [200] * 6 == [answer.status for answer in answers]

    assert 72 == len(await inbound_of(ask, limit="200"))
    (lead,) = (await ask("GET", "/v1/leads")).body["data"]
    assert lead["last_contacted_at"] is not None
