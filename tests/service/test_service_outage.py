"""A provider that answers nothing for a while: what it surely does not have is sent once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from tests.service.wires import send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


def silent(request: web.Request) -> web.Response:
    """Nothing was taken, and its list says so."""
    if request.method == "POST":
        return web.Response(status=504)
    return web.json_response({"messages": [], "next_page_uri": None})


async def hurry(gateway: Gateway) -> float:
    """Let the one that waits be due now; in how many seconds it would have been."""
    async with gateway.database.as_service() as db:
        seconds: float = await db.fetchval(
            "SELECT extract(epoch FROM run_at - now())::double precision FROM gateway.queue"
        )
        await db.execute("UPDATE gateway.queue SET run_at = now()")
    return seconds


async def test_an_outage_fails_no_message(gateway: Gateway, ask: Ask, api: Api) -> None:
    """It is sent once more at once, from then on after pauses that grow as after refusals: so
    many attempts span hours, not minutes."""
    api.answers = silent
    await send(ask, "sms", "+447700900123", body="Hello")
    worker = api.worker(gateway, sure_after=0)
    pauses = []
    for _ in range(9):
        assert 1 == await step(worker)  # it is sent,
        await hurry(gateway)
        assert 1 == await step(worker)  # and asked about
        pauses.append(await hurry(gateway))

    assert 9 == sum(request.method == "POST" for request, _ in api.asked)
    assert pauses[0] <= 0
    assert all(2 ** (n - 1) < pauses[n] <= 2**n + 1 for n in range(1, 9)), pauses
