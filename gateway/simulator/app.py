"""The simulator as one aiohttp application, and as a server of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from random import Random

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.simulator.callbacks import Caller
from gateway.simulator.control import Control, problem
from gateway.simulator.provider import Provider
from gateway.simulator.state import State
from gateway.simulator.twilio import Twilio

KEEP_REQUESTS = 200_000
MAX_BODY_BYTES = 10 * 1024 * 1024
# How many callbacks are on their way at once, over all messages.
CONNECTIONS = 256


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _now() -> datetime:
    return datetime.now(UTC)


def _errors(providers: tuple[Provider, ...]) -> Middleware:
    """Say HTTP errors in the words of whose path it is."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            for provider in providers:
                answer = provider.error(request, error.status)
                if answer is not None:
                    return answer
            return problem(error.status, f"{request.method} {request.path}: {error.reason}")

    return errors


def build_simulator(
    *,
    clock: Callable[[], datetime] = _now,
    seed: int | None = None,
    keep_requests: int = KEEP_REQUESTS,
    retry_wait: float = 0.1,
    patience: float = 5.0,
) -> web.Application:
    """The application: the providers' paths and `/_sim`.

    The same `seed` gives the same ids and the same shuffling; `keep_requests` is how many of the
    newest requests are remembered; `retry_wait` seconds before a callback's first retry, doubled
    each time; `patience` seconds for the callbacks of `before_response`. `clock` gives times with
    a zone.
    """
    # Chance decides ids and the order of callbacks: repeatable is worth more than unpredictable.
    random = Random(seed)  # noqa: S311
    state = State(clock=clock, random=random, keep_requests=keep_requests, patience=patience)
    providers: dict[str, Provider] = {some.name: some for some in (Twilio(state),)}

    app = web.Application(
        client_max_size=MAX_BODY_BYTES, middlewares=[_errors(tuple(providers.values()))]
    )
    Control(state, providers).add_routes(app)
    for provider in providers.values():
        provider.add_routes(app)

    async def calling(_app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
            state.caller = Caller(session, clock, retry_wait=retry_wait)
            yield
            await state.forget()
            state.caller = None

    async def let_go(_app: web.Application) -> None:
        state.close()

    app.cleanup_ctx.append(calling)
    app.on_shutdown.append(let_go)
    return app


async def run(
    host: str = "127.0.0.1",
    port: int = 9090,
    ready: Callable[[str], None] | None = None,
    *,
    seed: int | None = None,
    keep_requests: int = KEEP_REQUESTS,
) -> None:
    """Serve until cancelled; `ready` is told the base address once requests are answered.

    Port 0 takes a free one. Raises `OSError` where the port is taken.
    """
    app = build_simulator(seed=seed, keep_requests=keep_requests)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        if ready is not None:
            bound = runner.addresses[0]
            name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
            ready(f"http://{name}:{bound[1]}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
