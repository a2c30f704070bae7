"""Replay of mails that came in over Resend, whose files it lists apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import time_machine

from channels.model import Channel
from tests.resend.test_resend_whole_way import connect, run_errands
from tests.resend.values import EMAIL_ID, NOW, RECEIVED, hook
from tests.service.wires import by_smtp, inbound_of, replay
from tests.service.wires import connect as connect_one

if TYPE_CHECKING:
    from tests.resend.conftest import FakeResend
    from tests.service.conftest import Ask, Gateway


async def test_files_of_a_message_id(gateway: Gateway, ask: Ask, resend_api: FakeResend) -> None:
    """A replay does not put the files of a mail to a later one that claims its Message-ID, be they
    stored or lost."""
    account_id = await connect(gateway)
    request = hook("email.received", tags=None)
    path, headers = f"/webhooks/resend/{account_id}/events", dict(request.headers)
    with time_machine.travel(NOW, tick=True):
        await gateway.ask("POST", path, key="", data=request.body, headers=headers)
    at = RECEIVED.removeprefix("https://api.resend.com") + EMAIL_ID
    mail = {
        "id": EMAIL_ID,
        "from": "ada@customer.example",
        "text": "Mine",
        "message_id": "<m1@customer.example>",
        "attachments": [{"id": "1"}],
    }
    listed = {"data": [{"filename": "a.txt", "download_url": f"{resend_api.url}/a"}]}
    resend_api.answers = {
        at: json.dumps(mail).encode(),
        f"{at}/attachments": json.dumps(listed).encode(),
        "/a": b"A file",
    }
    await run_errands(gateway, resend_api)
    smtp = await connect_one(gateway, "smtp", Channel.EMAIL, "x@clinic.example")
    forged = b"From: mallory@customer.example\r\nMessage-ID: <m1@customer.example>\r\n\r\nNo\r\n"
    assert 204 == (await by_smtp(gateway, smtp, forged)).status

    async def files() -> dict[str, list[str]]:
        return {
            row["body"].strip(): [file["filename"] for file in row["attachments"] or ()]
            for row in await inbound_of(ask)
        }

    for lost in ("false", "direction = 'inbound' AND body = 'Mine'"):
        async with gateway.database.as_service() as db:
            await db.execute(f"DELETE FROM messages WHERE {lost}")  # noqa: S608 (these two)
        await replay(gateway)
        await run_errands(gateway, resend_api)
        assert {"Mine": ["a.txt"], "No": []} == await files()
