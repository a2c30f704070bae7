"""What all providers share: the clock, the plans, the log of requests, the running tasks."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from time import monotonic
from typing import Any, cast

from aiohttp import web

from gateway.simulator.callbacks import Callback, Caller, Delivery
from gateway.simulator.plan import PlanBook

# Seconds: how often a held request checks whether its client has gone, and how long it is held.
HOLD_POLL_S = 0.05
HOLD_LIMIT_S = 600.0


@dataclass(kw_only=True, slots=True)
class Asked:
    """One request to a provider to send a message, and the answer.

    `params` are the fields of a form, the JSON of a body, or what an SMTP client said.

    `status` is None until an answer has gone out; it stays None if the answer is lost.
    """

    provider: str
    method: str
    path: str
    params: dict[str, Any]
    at: datetime
    status: int | None = None
    sid: str | None = None
    error_code: int | str | None = None
    fault: str | None = None

    def as_json(self) -> dict[str, object]:
        """The request as `GET /_sim/requests` shows it."""
        return {
            "provider": self.provider,
            "method": self.method,
            "path": self.path,
            "params": self.params,
            "status": self.status,
            "sid": self.sid,
            "error_code": self.error_code,
            "fault": self.fault,
            "at": self.at.isoformat(),
        }


@dataclass(kw_only=True)
class State:
    """The simulator's memory, and the tasks that take messages through their statuses.

    `patience` is how many seconds the fault `before_response` waits for its callbacks: if their
    receiver hangs, the answer must not be lost.
    """

    clock: Callable[[], datetime]
    random: Random
    keep_requests: int
    patience: float
    plans: PlanBook = field(default_factory=PlanBook)
    caller: Caller | None = None
    # The address at which the simulator was last reached; URLs of its own files begin with it.
    base: str = ""
    # The address of the SMTP server, if there is one: `host:port`.
    smtp: str = ""

    def __post_init__(self) -> None:
        """Start empty."""
        self.requests: deque[Asked] = deque(maxlen=self.keep_requests)
        self._tasks: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self._closing = False

    def hex_id(self) -> str:
        """32 random hexadecimal digits; they do not repeat after `forget`, which keeps `random`."""
        return f"{self.random.getrandbits(128):032x}"

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` in the background, until it ends or `forget` cancels it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def deliver(self, callback: Callback, delivery: Delivery) -> None:
        """Make a callback; the outcome is recorded in `delivery`."""
        await self._started().deliver(callback, delivery)

    async def fetch(self, url: str) -> bytes:
        """The file at `url`; raises `UnreachableError`."""
        return await self._started().fetch(url)

    def _started(self) -> Caller:
        if self.caller is None:
            message = "the simulator has not been started"
            raise RuntimeError(message)
        return self.caller

    async def hold(self, request: web.Request) -> None:
        """Leave `request` without an answer until its client gives up, or `forget` is called."""
        await self.hold_while(lambda: request.transport)

    async def hold_while(self, transport: Callable[[], asyncio.BaseTransport | None]) -> None:
        """Wait until the connection of `transport` is closed, or `forget` is called."""
        released = self._released
        end = monotonic() + HOLD_LIMIT_S
        while not self._closing and monotonic() < end:
            # aiohttp does not tell a handler that its client has gone.
            held = transport()
            if held is None or held.is_closing():
                return
            try:
                async with asyncio.timeout(HOLD_POLL_S):
                    await released.wait()
            except TimeoutError:
                continue
            return

    async def forget(self) -> None:
        """Drop plans and requests, and cancel everything under way."""
        self.plans.clear()
        self.requests.clear()
        self.release()
        self._released = asyncio.Event()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def release(self) -> None:
        """Release every held request."""
        self._released.set()

    def close(self) -> None:
        """Hold no more requests: the server is stopping."""
        self._closing = True
        self.release()


def cut(request: web.Request) -> web.Response:
    """Break the connection with a TCP reset; the returned answer reaches nobody."""
    reset(request.transport)
    return web.Response(status=499)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Break a connection with a TCP reset."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # Zero linger makes close() send RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # uvloop's transports have asyncio's methods without being its classes.
    cast("asyncio.WriteTransport", transport).abort()
