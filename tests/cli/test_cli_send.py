"""`gateway send` and what may answer in the gateway's place."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cli.shell import Shell

KEY = "gw_live_nothing"
WORDS = ("send", "--channel", "sms", "--to", "+15557650001", "--body", "Hello")


async def test_an_address_that_leads_elsewhere(lone_shell: Shell) -> None:
    """A redirect, as from http to https, is named and not followed: who follows asks by GET and
    without the key, sends nothing, and shows an answer to something else."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        if request.path.startswith("/old"):
            return web.Response(status=301, headers={"Location": "/new/v1/messages"})
        return web.json_response({"data": [], "next_cursor": None})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        clerk = lone_shell.clerk()
        done = await clerk.run(
            *WORDS, GATEWAY_API_KEY=KEY, GATEWAY_URL=str(server.make_url("/old"))
        )

    assert "/old/v1/messages redirects to /new/v1/messages" in done.complaint
    assert "GATEWAY_URL" in done.complaint
    assert ["POST /old/v1/messages"] == asked


async def test_what_is_no_answer_of_a_gateway(lone_shell: Shell) -> None:
    """Whatever stands there, a proxy or another program, it is one line with what that said."""
    answers = {
        "/list": (200, '{"data": []}', "GATEWAY_URL"),
        "/page": (200, "<html>", "GATEWAY_URL"),
        "/nothing": (204, "", "GATEWAY_URL"),
        "/proxy": (502, "<html>", "502: "),
        "/odd": (422, '{"errors": [{"x": 1}, 2], "detail": null}', "422: "),
        "/null": (500, '{"errors": null, "detail": "Out of order."}', "500: Out of order."),
    }

    async def answer(request: web.Request) -> web.Response:
        status, text, _ = answers[request.path.removesuffix("/v1/messages")]
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    found = {}
    async with TestServer(app) as server:
        clerk = lone_shell.clerk()
        for path in answers:
            url = str(server.make_url(path))
            found[path] = await clerk.run(*WORDS, GATEWAY_API_KEY=KEY, GATEWAY_URL=url)

    for path, (_, _, expected) in answers.items():
        assert expected in found[path].complaint


async def test_a_person_sees_only_what_there_is(lone_shell: Shell) -> None:
    """Without --json a message is shown without the values that it does not have."""
    message = {"id": "01a21d68-5e00-7c82-bed7-a6e6c361f80d", "to_address": "+15557650001"}
    missing = dict.fromkeys(("external_id", "error_code", "error_message"))

    async def send(_: web.Request) -> web.Response:
        return web.json_response(message | missing | {"status": "pending"}, status=202)

    app = web.Application()
    app.router.add_post("/v1/messages", send)
    async with TestServer(app) as server:
        url = str(server.make_url(""))
        done = await lone_shell.clerk().run(*WORDS, GATEWAY_API_KEY=KEY, GATEWAY_URL=url)

    assert ["id", "status", "to_address"] == [line.split()[0] for line in done.out.splitlines()]


async def test_answers_that_are_lost(lone_shell: Shell) -> None:
    """Whose answer is lost is asked once more under the same key, and one that is waited for is
    looked for again: an error would have it sent twice."""
    keys: list[str] = []
    looks = 0
    message: dict[str, Any] = {
        "id": "01a21d68-5e00-7c82-bed7-a6e6c361f80d",
        "to_address": "+15557650001",
        **dict.fromkeys(("external_id", "error_code", "error_message")),
    }

    async def send(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            assert request.transport is not None
            request.transport.close()
        return web.json_response(message | {"status": "pending"}, status=202)

    async def look(_: web.Request) -> web.Response:
        nonlocal looks
        looks += 1
        if looks < 3:
            return web.json_response({"detail": "Try again."}, status=(503, 500)[looks - 1])
        return web.json_response(message | {"status": "delivered"})

    app = web.Application()
    app.router.add_post("/v1/messages", send)
    app.router.add_get(f"/v1/messages/{message['id']}", look)
    async with TestServer(app) as server:
        clerk = lone_shell.clerk()
        url = str(server.make_url(""))
        done = await clerk.run(*WORDS, "--wait", "--json", GATEWAY_API_KEY=KEY, GATEWAY_URL=url)

    assert message | {"status": "delivered"} == done.json
    assert (2, 1, 3) == (len(keys), len(set(keys)), looks)


@pytest.mark.parametrize(("status", "code"), [("sent", 0), ("pending", 1), ("failed", 1)])
async def test_what_is_not_delivered_in_time(lone_shell: Shell, status: str, code: int) -> None:
    """Whoever waited in vain is told so, and where to look; what has failed says that itself."""
    message: dict[str, Any] = {
        "id": "01a21d68-5e00-7c82-bed7-a6e6c361f80d",
        "to_address": "+15557650001",
        **dict.fromkeys(("external_id", "error_code", "error_message")),
        "status": status,
    }

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(message)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url(""))
        asked = (*WORDS, "--wait", "--timeout", "1", "--json")
        done = await lone_shell.clerk().run(*asked, GATEWAY_API_KEY=KEY, GATEWAY_URL=url)

    said = (
        f"It was not delivered within 1 seconds: it is {status}. "
        f"Look at it later with: gateway why {message['id']}\n"
    )
    assert (code, message) == (done.code, orjson.loads(done.out))
    assert ("" if status == "failed" else said) == done.err
