"""What the tests of fallbacks share: a request with one, and what a worker does with it."""

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
    """A lead who has a number and a mailbox; we send mails, too; every provider takes all."""
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
    """What a worker does once a second."""
    return await FallingBack(gateway.database, Metrics()).follow()


async def run(gateway: Gateway, statement: str, *values: Any) -> Any:
    """One statement, as a superuser."""
    async with gateway.database.as_service() as db:
        await db.execute("RESET ROLE")
        return await db.fetchval(statement, *values)


async def late(gateway: Gateway) -> None:
    """Let every message have had its time."""
    await run(gateway, "UPDATE gateway.fallbacks SET due_at = now()")


async def told(gateway: Gateway, status: str, sid: str = SID) -> None:
    """Twilio reports a status of a message that it has."""
    fields = {"MessageSid": sid, "MessageStatus": status}
    assert 200 == (await from_twilio(gateway, "status", fields)).status


async def outbound(ask: Ask) -> list[dict[str, Any]]:
    """All that we have sent or are about to, the oldest first."""
    rows: list[dict[str, Any]] = (await ask("GET", "/v1/messages?direction=outbound")).body["data"]
    return rows[::-1]


async def shown(ask: Ask) -> Sequence[tuple[str, str]]:
    """Channel and status of each of these."""
    return [(row["channel"], row["status"]) for row in await outbound(ask)]


async def event(ask: Ask, message: dict[str, Any], kind: str) -> dict[str, Any]:
    """The detail of the one event of a type."""
    events = (await ask("GET", f"/v1/messages/{message['id']}/events")).body["data"]
    (found,) = [each for each in events if each["type"] == kind]
    detail: dict[str, Any] = found["detail"]
    return detail
