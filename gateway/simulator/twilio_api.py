"""What the resources of api.twilio.com share: forms as requests, JSON answers, Twilio's errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from gateway.simulator.plan import Plan, error_code
from gateway.simulator.state import Asked, State
from gateway.simulator.twilio_errors import ApiError
from gateway.simulator.twilio_rules import Form

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(handler: Handler) -> Handler:
    """Turn an `ApiError` of a handler into its answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return error.response()

    return answer


async def read_form(request: web.Request) -> dict[str, list[str]]:
    """The parameters of a form, repeated ones in order; empty for another kind of body."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    text = (await request.read()).decode("utf-8", "replace")
    return parse_qs(text, keep_blank_values=True)


def asked_for(state: State, request: web.Request, form: Form) -> Asked:
    """The record of a request."""
    return Asked(
        provider="twilio",
        method=request.method,
        path=request.path,
        params={name: some[0] if len(some) == 1 else list(some) for name, some in form.items()},
        at=state.clock(),
    )


def refusal(status: int) -> ApiError | None:
    """Twilio's error for a status; None if it has none."""
    code = {429: 20429, 500: 20500, 503: 20503}.get(status)
    return None if code is None else ApiError(code)


def refused(plan: Plan, default: int, named: Mapping[str, str]) -> ApiError:
    """The error of the outcome `refused`."""
    code = error_code(plan.body.error_code, default)
    return ApiError(code if isinstance(code, int) else default, named)


def json_answer(value: object, *, status: int = 200) -> web.Response:
    """A resource, or a page of them."""
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
