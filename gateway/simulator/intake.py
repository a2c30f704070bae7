"""How every provider takes a request to send: recorded, answered, with the planned faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from gateway.simulator.plan import REFUSED_BY_STATUS, Fault, Plan
from gateway.simulator.state import Asked, State, cut


class ProviderError(Exception):
    """A request that a provider refuses: `code` is the provider's own, `status` HTTP's."""

    status: int
    code: int | str | None

    def response(self) -> web.Response:
        """The answer in the provider's words."""
        raise NotImplementedError


class UpstreamError(ProviderError):
    """An error of a proxy in between, not in the provider's format."""

    def __init__(self, status: int) -> None:
        """Answer with the HTTP `status`."""
        super().__init__(status)
        self.status = status
        self.code = None

    def response(self) -> web.Response:
        """Some HTML."""
        text = "<html>upstream</html>"
        return web.Response(status=self.status, text=text, content_type="text/html")


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A message that was taken: the answer, its id, and the task that runs through its statuses.

    `task` is None while it is scheduled.
    """

    response: web.Response
    sid: str | None
    task: asyncio.Task[None] | None = None


async def take(
    state: State,
    request: web.Request,
    asked: Asked,
    *,
    choose: Callable[[], tuple[Plan, Hashable]],
    refuse: Callable[[int], ProviderError | None],
    accept: Callable[[Plan], Accepted],
) -> web.StreamResponse:
    """Answer one request to send, and lose or delay the answer as its plan says.

    `choose` checks the credentials and finds the plan, with a key that attempts at one message have
    in common; `refuse` gives the provider's error for the status of a fault, None if it has none;
    `accept` checks the message and keeps it. `choose` and `accept` raise `ProviderError`.
    """
    state.requests.append(asked)
    try:
        plan, message = choose()
        fault = plan.next_fault(message)
        asked.fault = fault
        if fault is Fault.RESET:
            return cut(request)
        if fault in REFUSED_BY_STATUS:
            raise refuse(int(fault)) or UpstreamError(int(fault))
        accepted = accept(plan)
    except ProviderError as error:
        asked.status, asked.error_code = error.status, error.code
        return error.response()
    asked.sid = accepted.sid
    if Fault.BEFORE_RESPONSE in plan.faults and accepted.task is not None:
        # Not wait_for: it would cancel the callbacks after the time-out.
        await asyncio.wait({accepted.task}, timeout=state.patience)
    await asyncio.sleep(plan.body.answer_delay_ms / 1000)
    if fault is Fault.TIMEOUT_AFTER_ACCEPT:
        await state.hold(request)
    if fault in {Fault.TIMEOUT_AFTER_ACCEPT, Fault.RESET_AFTER_ACCEPT}:
        return cut(request)
    asked.status = accepted.response.status
    return accepted.response


def read_object(raw: bytes) -> dict[str, Any] | None:
    """The body as a JSON object; None if it is not one."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None
