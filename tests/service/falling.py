"""For the tests of fallbacks: a request with one, and the worker's step that sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from channels.model import Channel
from gateway.accept.falling_back import FallingBack
from gateway.observability.metrics import Metrics
from tests.service.wires import connect, from_twilio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA, MAIL = "+447700900123", "ada@example.com"
SID = "SM" + "3" * 32
BY_MAIL = {"channel": "email", "after": 60}
SMS = {"body": "Hello", "subject": "From us", "fallback": [BY_MAIL]}


async def known(gateway: Gateway, ask: Ask, api: Api) -> dict[str, Any]:
    """A lead with a number and a mailbox; there is an e-mail sender, and providers accept all."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    api.answers = lambda request: (
        web.json_response({"sid": SID}, status=201)
        if request.path.startswith("/2010")
        else web.Response(status=202, headers={"X-Message-Id": "sg-1"})
    )
    lead = {"first_name": "Ada", "phone": ADA, "email": MAIL}
    found: dict[str, Any] = (await ask("POST", "/v1/leads", lead)).body
    return found


def refuse_sms(api: Api) -> None:
    """Let Twilio refuse every message for good."""
    api.says(400, {"code": 21211, "message": "Invalid 'To'", "status": 400})


async def follow(gateway: Gateway) -> int:
    """Follow with the fallbacks that are due, as a worker does once a second."""
    return await FallingBack(gateway.database, Metrics()).follow()


async def run(gateway: Gateway, statement: str, *values: Any) -> Any:
    """Run one statement as a superuser; returns its value."""
    async with gateway.database.as_service() as db:
        await db.execute("RESET ROLE")
        return await db.fetchval(statement, *values)


async def late(gateway: Gateway) -> None:
    """Make all fallbacks due now."""
    await run(gateway, "UPDATE gateway.fallbacks SET due_at = now()")


async def told(gateway: Gateway, status: str, sid: str = SID) -> None:
    """Twilio reports a status of a message."""
    fields = {"MessageSid": sid, "MessageStatus": status}
    assert 200 == (await from_twilio(gateway, "status", fields)).status


async def outbound(ask: Ask) -> list[dict[str, Any]]:
    """The outbound messages, sent or not, oldest first."""
    rows: list[dict[str, Any]] = (await ask("GET", "/v1/messages?direction=outbound")).body["data"]
    return rows[::-1]


async def shown(ask: Ask) -> Sequence[tuple[str, str]]:
    """Channel and status of each outbound message, oldest first."""
    return [(row["channel"], row["status"]) for row in await outbound(ask)]


async def event(ask: Ask, message: dict[str, Any], kind: str) -> dict[str, Any]:
    """The detail of a message's only event of this type."""
    events = (await ask("GET", f"/v1/messages/{message['id']}/events")).body["data"]
    (found,) = [each for each in events if each["type"] == kind]
    detail: dict[str, Any] = found["detail"]
    return detail
