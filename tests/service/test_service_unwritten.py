"""A defect of ours while a message is written: it fails at once, because nothing has left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from channels import mime
from channels.errors import Unwritten
from channels.model import Account, Channel, Content, Mail, Outbound
from channels.providers import resend, twilio
from gateway.ids import new_id
from gateway.registry import PROVIDERS
from tests.service.test_service_dispatch import hurry
from tests.service.test_service_stopping import end_lease
from tests.service.wires import CREDENTIALS, connect, row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "+447700900123"


class Unsayable:
    """No text: nothing can be made of it."""

    def __str__(self) -> str:
        raise LookupError


def defect(*_: Any) -> Any:
    """Fail as only a defect does."""
    raise LookupError


@pytest.mark.parametrize(
    ("provider", "channel"),
    [(name, channel) for name, row in PROVIDERS.items() for channel in row.carries],
)
async def test_every_provider(provider: str, channel: Channel, api: Api) -> None:
    """Whatever goes wrong while a request is written is told apart; no request is made."""
    body: Any = Unsayable()
    outbound = Outbound(
        message_id=new_id(),
        channel=channel,
        from_address="desk@clinic.example" if channel is Channel.EMAIL else "+15551230001",
        to_address="ada@customer.example" if channel is Channel.EMAIL else ADA,
        content=Content(body=body, subject="Hello"),
        mail=Mail(message_id="1@clinic.example"),
    )
    account = Account(
        id=new_id(),
        organization_id=new_id(),
        provider=provider,
        credentials=CREDENTIALS[provider],
        api_url=api.url,
    )
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Unwritten) as raised:
            await PROVIDERS[provider].send.send(account, outbound, session, "https://x.example/")
    assert isinstance(raised.value.__cause__, AttributeError | TypeError | LookupError)
    assert [] == api.asked


async def test_a_defect_before_it_leaves(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has failed, the log has the traceback, and people are told whose fault it is."""
    await connect(gateway, "ses", Channel.EMAIL)
    monkeypatch.setattr(mime, "format_datetime", defect)
    row = await send(ask, "email", "ada@customer.example", subject="Hello", body="Hello")
    with capture_logs() as logs:
        await step(api.worker(gateway))
    now = await row_of(ask, row)
    assert ("failed", "content") == (now["status"], now["error_code"])
    assert "The gateway could not put this message together." == now["error_message"]
    (line,) = [each for each in logs if each["log_level"] == "error"]
    assert "a message could not be written" == line["event"]
    assert isinstance(line["exc_info"].__cause__, LookupError)
    assert row["id"] == line["message_id"]
    why = (await ask("GET", f"/v1/messages/{row['id']}/why")).body
    assert "could not put this message together." in str(why)
    assert "a fault of the gateway itself" in str(why)
    assert ([], 0) == (api.asked, await gateway.count("gateway.queue"))


async def test_a_defect_afterwards(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a request has left, the message is unknown, whatever goes wrong then."""
    monkeypatch.setattr(twilio, "read", defect)
    row = await send(ask, "sms", ADA, body="Hello")
    worker = api.worker(gateway)
    with pytest.raises(LookupError):
        await step(worker)
    await end_lease(gateway)
    await step(worker)
    assert ("unknown", 1) == ((await row_of(ask, row))["status"], len(api.asked))


async def test_a_defect_of_the_second_request(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resend may have taken the first one: the message stays unknown, and is tried again; the log
    has the traceback."""
    await connect(gateway, "resend", Channel.EMAIL)
    api.says(504)
    row = await send(ask, "email", "ada@customer.example", subject="Hello", body="Hello")
    worker = api.worker(gateway, sure_after=0)
    for _ in range(2):
        await step(worker)
        await hurry(gateway)
    monkeypatch.setattr(resend, "build", defect)
    with capture_logs() as logs:
        await step(worker)
    (line,) = [each for each in logs if each["log_level"] == "error"]
    assert "a message could not be written" == line["event"]
    assert isinstance(line["exc_info"].__cause__, LookupError)
    assert ("unknown", 1) == ((await row_of(ask, row))["status"], len(api.asked))
    assert "has left" not in str((await ask("GET", f"/v1/messages/{row['id']}/why")).body)
    assert 1 == await gateway.count("gateway.queue")
