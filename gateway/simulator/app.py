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
from gateway.simulator.meta import Meta
from gateway.simulator.provider import Provider
from gateway.simulator.sendgrid import SendGrid
from gateway.simulator.smtp import Smtp
from gateway.simulator.state import State
from gateway.simulator.twilio import Twilio

KEEP_REQUESTS = 200_000
MAX_BODY_BYTES = 10 * 1024 * 1024
# How many callbacks are under way at once, for all messages together.
CONNECTIONS = 256


STATE = web.AppKey("STATE", State)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _now() -> datetime:
    return datetime.now(UTC)


def _errors(providers: tuple[Provider, ...]) -> Middleware:
    """Give HTTP errors the body of the provider that the path belongs to."""

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


def _based(state: State) -> Middleware:
    """Remember the address of the simulator, for the URLs of files that it serves itself."""

    @web.middleware
    async def based(request: web.Request, handler: Handler) -> web.StreamResponse:
        state.base = str(request.url.origin())
        return await handler(request)

    return based


def build_simulator(
    *,
    clock: Callable[[], datetime] = _now,
    seed: int | None = None,
    keep_requests: int = KEEP_REQUESTS,
    retry_wait: float = 0.1,
    patience: float = 5.0,
    smtp_port: int | None = None,
    smtp_host: str = "127.0.0.1",
    smtp_else_any: bool = False,
) -> web.Application:
    """The application: the providers' paths and `/_sim`; with `smtp_port` a mail server, too.

    The mail server listens while the application runs. Port 0 takes a free one; with
    `smtp_else_any` so does a port that is in use; `/_sim` tells which.

    The same `seed` gives the same ids and the same shuffling; `keep_requests` is how many of the
    newest requests are remembered; `retry_wait` are seconds before a callback's first retry,
    doubled each time; `patience` are seconds for the callbacks of `before_response`. `clock` gives
    times with a zone.
    """
    # For ids and the order of callbacks, which must be repeatable rather than unpredictable.
    random = Random(seed)  # noqa: S311
    state = State(clock=clock, random=random, keep_requests=keep_requests, patience=patience)
    meta, smtp = Meta(state), Smtp(state)
    each: tuple[Provider, ...] = (Twilio(state), SendGrid(state), meta, smtp)
    providers = {some.name: some for some in each}

    app = web.Application(
        client_max_size=MAX_BODY_BYTES, middlewares=[_based(state), _errors(each)]
    )
    Control(state, providers, {meta.name: meta.handshake}).add_routes(app)
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

    async def mailing(_app: web.Application) -> AsyncIterator[None]:
        if smtp_port is None:
            yield
            return
        # aiosmtpd is only needed if the mail server runs.
        from gateway.simulator.smtp_server import serve_smtp  # noqa: PLC0415

        async with serve_smtp(state, smtp, smtp_host, smtp_port, else_any=smtp_else_any):
            yield

    async def let_go(_app: web.Application) -> None:
        state.close()

    app[STATE] = state
    app.cleanup_ctx.extend((calling, mailing))
    app.on_shutdown.append(let_go)
    return app


async def run(
    host: str = "127.0.0.1",
    port: int = 9090,
    ready: Callable[[str], None] | None = None,
    *,
    seed: int | None = None,
    keep_requests: int = KEEP_REQUESTS,
    smtp_port: int | None = None,
    smtp_else_any: bool = False,
    mail_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until cancelled; `ready` gets the base address once requests are answered.

    `mail_ready` gets the `host:port` of the mail server, empty without `smtp_port`.

    Port 0 takes a free one. Raises `OSError` if a port is in use.
    """
    app = build_simulator(
        seed=seed,
        keep_requests=keep_requests,
        smtp_port=smtp_port,
        smtp_host=host,
        smtp_else_any=smtp_else_any,
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        if ready is not None:
            bound = runner.addresses[0]
            name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
            ready(f"http://{name}:{bound[1]}")
        if mail_ready is not None:
            mail_ready(app[STATE].smtp)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
