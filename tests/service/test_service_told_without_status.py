"""A report without a status, such as a delay, tells that the provider has the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from channels.model import Channel
from tests.service.test_service_dispatch import events_of, hurry
from tests.service.test_service_stopping import MAIL, end_lease
from tests.service.wires import connect, from_sendgrid, row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

DEFERRED = {"event": "deferred", "sg_event_id": "one", "sg_message_id": "sg-1.recv"}


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_delay_tells_that_it_was_taken(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    is_gone: bool,  # noqa: FBT001
) -> None:
    """A mail whose worker is gone, or whose answer was lost, is `sent` once a report has told its
    id, also where that gives no status: nothing more may come."""
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    mail = await send(ask, "email", "ada@customer.example", **MAIL)
    worker = api.worker(gateway)
    if is_gone:
        await api.worker(gateway).claim(1)
        await end_lease(gateway)
    else:
        api.says(502)
        await step(worker)
    told = DEFERRED | {"message_id": mail["id"]}
    assert 200 == (await from_sendgrid(gateway, account, [told])).status
    await hurry(gateway)
    await step(worker)

    row = await row_of(ask, mail)
    assert ("sent", "sg-1") == (row["status"], row["external_id"])
    assert 0 == await gateway.count("gateway.queue")


async def test_why_says_who_has_it(gateway: Gateway, ask: Ask, api: Api) -> None:
    """One that stays `unknown`, as its provider cannot be asked, is `sent`, and said to have been
    handed to it, once a report has told its id."""
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    mail = await send(ask, "email", "ada@customer.example", **MAIL)
    worker = api.worker(gateway)
    api.says(502)
    for _ in range(2):
        await step(worker)
        await hurry(gateway)
    assert "cannot_be_asked" in await events_of(ask, mail["id"])
    path = f"/v1/messages/{mail['id']}/why"
    assert "It is not known whether SendGrid took" in (await ask("GET", path)).body["summary"]
    told = DEFERRED | {"message_id": mail["id"]}
    assert 200 == (await from_sendgrid(gateway, account, [told])).status
    assert "was handed to SendGrid" in (await ask("GET", path)).body["summary"]
    row = await row_of(ask, mail)
    assert ("sent", "sg-1") == (row["status"], row["external_id"])
    assert 1 == (await events_of(ask, mail["id"])).count("sent")
