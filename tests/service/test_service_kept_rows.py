"""Rows that a trigger of another program's keeps as they were, without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from channels.model import Channel
from tests.service.wires import connect, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

KEEP = """
CREATE FUNCTION public.crm_keeps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN {}; END $$;
CREATE TRIGGER crm_keeps BEFORE UPDATE ON public.messages
  FOR EACH ROW EXECUTE FUNCTION public.crm_keeps();
"""
RELEASE = "UPDATE gateway.queue SET run_at = now(), lease_until = now()"


@pytest.mark.parametrize("kept", ["OLD", "NULL"])
async def test_a_message_whose_row_is_kept(gateway: Gateway, ask: Ask, api: Api, kept: str) -> None:
    """It has left all the same: its events say so, and it is not sent again."""
    await connect(gateway, "resend", Channel.EMAIL)
    await run(gateway, KEEP.format(kept))
    api.says(200, {"id": "first"})
    sent = await send(ask, "email", "ann@customer.example", subject="Hello", body="Hello")
    for _ in range(3):
        await step(api.worker(gateway))
        await run(gateway, RELEASE)

    assert 1 == len(api.asked)
    assert 0 == await gateway.count("gateway.queue")
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]
    assert {"accepted", "sent"} <= {event["type"] for event in events}


async def run(gateway: Gateway, statement: str) -> None:
    """Do as the CRM's own login does."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
