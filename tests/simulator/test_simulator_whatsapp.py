"""WhatsApp through Twilio: templates, the 24-hour window, files that come in."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestServer

from gateway.simulator import build_simulator

if TYPE_CHECKING:
    from tests.simulator.conftest import Hook, Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = {"account_sid": SID, "auth_token": TOKEN}
CONTENT = "HX" + "a" * 32
PAIR = {"To": "whatsapp:+15551230001", "From": "whatsapp:+15551230002"}
WROTE = {"channel": "whatsapp", "from": "+15551230001", "to": "+15551230002", "body": "Hi"}


@pytest.mark.parametrize(
    ("sid", "variables", "answer"),
    [
        (CONTENT, '{"1": "Ana", "day": "Monday"}', "Hi Ana, see you on Monday"),
        (CONTENT, '{"1": "Ana"}', 21656),
        (CONTENT, '{"1": "Ana", "day": ""}', 21656),
        (CONTENT, None, 21656),
        ("HX" + "b" * 32, "{}", 21655),
    ],
)
async def test_templates_are_filled_where_the_account_has_some(
    sim: Sim, sid: str, variables: str | None, answer: object
) -> None:
    """Every variable must be given; the body is the template with them."""
    contents = {CONTENT: "Hi {{1}}, see you on {{ day }}"}
    await sim.account("twilio", **ACCOUNT, contents=contents)

    _, made = await sim.send(**PAIR, Body=None, ContentSid=sid, ContentVariables=variables)

    assert made.get("code", made.get("body")) == answer


@pytest.mark.parametrize("by_account", [True, False])
async def test_free_texts_fail_outside_the_window(
    aiohttp_server: Callable[..., Awaitable[TestServer]],
    bare_sim: Sim,
    hook: Hook,
    *,
    by_account: bool,
) -> None:
    """63016 by callback, until the person writes, and again a day later; templates always go."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    server = await aiohttp_server(build_simulator(clock=lambda: now, retry_wait=0.01))
    sim = replace(bare_sim, base=str(server.make_url("")).rstrip("/"))
    webhooks = {name: f"{hook.base}/{name}" for name in ("status", "message")}
    await sim.account("twilio", **ACCOUNT, webhooks=webhooks, enforce_window=by_account)
    plan: dict[str, Any] = {} if by_account else {"enforce_window": True}
    await sim.plan(match=None, faults=["before_response"], **plan)

    async def sent(**params: Any) -> tuple[int, str, str | None]:
        before = len(hook.received)
        status, _ = await sim.send(**PAIR, **params)
        assert status == 201
        last = hook.received[-1].params
        return len(hook.received) - before, last["MessageStatus"], last.get("ErrorCode")

    early = await sent()
    template = await sent(Body=None, ContentSid=CONTENT)
    await sim.inbound(**WROTE)
    opened = await sent()
    now += timedelta(hours=24)
    still = await sent()
    now += timedelta(seconds=1)
    late = await sent()

    delivered, failed = (3, "delivered", None), (1, "failed", "63016")
    assert [early, template, opened] == [failed, delivered, delivered]
    assert [still, late] == [delivered, failed]


async def test_the_window_is_open_unless_told_otherwise(sim: Sim) -> None:
    """Plain tests of the API need nobody to write first."""
    await sim.send(**PAIR)

    (message,) = await sim.settled(3)
    assert message["status"] == "delivered"


async def test_files_given_inline_are_served_as_media(sim: Sim, hook: Hook) -> None:
    """MediaUrl is the simulator's own, and gives the file to the account alone."""
    picture = b"GIF89a..."
    media = {"content": base64.b64encode(picture).decode(), "content_type": "image/gif"}
    await sim.inbound(**WROTE, media=[media])
    (received,) = hook.received
    url = received.params["MediaUrl0"]

    status, file = await sim.ask("GET", url.removeprefix(sim.base), (SID, TOKEN))
    refused, _ = await sim.ask("GET", url.removeprefix(sim.base))

    assert (received.params["NumMedia"], received.params["MediaContentType0"]) == ("1", "image/gif")
    assert (status, file, refused) == (200, picture.decode(), 401)


@pytest.mark.parametrize(
    ("media", "status"),
    [({"content": "!"}, 422), ({}, 422), ({"url": "http://a.test", "content": ""}, 422)],
)
async def test_a_file_is_a_url_or_base64(sim: Sim, media: dict[str, str], status: int) -> None:
    """Neither, both, or what is not base64 is named in the problem."""
    answered, _ = await sim.inbound(**WROTE, media=[media])

    assert answered == status
