"""`gateway send` and what may answer in the gateway's place."""

from __future__ import annotations

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
    async with TestServer(app) as server, lone_shell.clerk() as clerk:
        done = await clerk.run(
            *WORDS, GATEWAY_API_KEY=KEY, GATEWAY_URL=str(server.make_url("/old"))
        )

    assert "/old/v1/messages leads to /new/v1/messages" in done.complaint
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
    async with TestServer(app) as server, lone_shell.clerk() as clerk:
        for path in answers:
            url = str(server.make_url(path))
            found[path] = await clerk.run(*WORDS, GATEWAY_API_KEY=KEY, GATEWAY_URL=url)

    for path, (_, _, expected) in answers.items():
        assert expected in found[path].complaint
