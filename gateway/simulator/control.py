"""`/_sim`: the simulator's own API, to plan what it does, and to see what it was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.simulator.plan import PlanBody
from gateway.simulator.provider import (
    Handshake,
    HandshakeBody,
    InboundBody,
    Provider,
    UnfitError,
)
from gateway.simulator.state import State

PREFIX = "/_sim"
# An inbound mail may have 30 MB, in base64.
MAX_BODY_BYTES = 64 * 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(
    status: int, detail: str, errors: Sequence[Mapping[str, str]] | None = None
) -> web.Response:
    """An RFC 9457 answer."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors is not None:
        body["errors"] = errors
    return web.Response(
        status=status, body=orjson.dumps(body), content_type="application/problem+json"
    )


class _BodyError(Exception):
    """A body that cannot be read; `answer` says why."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__()
        self.answer = answer


class Control:
    """The handlers of `/_sim`."""

    def __init__(
        self,
        state: State,
        providers: Mapping[str, Provider],
        handshakes: Mapping[str, Handshake],
    ) -> None:
        """Serve these providers by name; `handshakes` are of those that verify webhooks."""
        self._state = state
        self._handshakes = handshakes
        self._providers = providers

    def add_routes(self, app: web.Application) -> None:
        """Add the routes below `/_sim`."""
        router = app.router
        router.add_post(f"{PREFIX}/accounts", _answering(self._account))
        router.add_post(f"{PREFIX}/plan", _answering(self._plan))
        router.add_get(f"{PREFIX}/plan", _answering(self._plans))
        router.add_post(f"{PREFIX}/inbound", _answering(self._inbound))
        router.add_post(f"{PREFIX}/handshake", _answering(self._handshake))
        router.add_get(f"{PREFIX}/requests", _answering(self._requests))
        router.add_get(f"{PREFIX}/messages", _answering(self._messages))
        router.add_get(f"{PREFIX}/health", _answering(self._health))
        router.add_get(PREFIX, _answering(self._about))
        router.add_delete(PREFIX, _answering(self._forget))

    async def _account(self, request: web.Request) -> web.Response:
        body = await _object(request)
        name = body.pop("provider", None)
        if not isinstance(name, str) or name not in self._providers:
            known = ", ".join(sorted(self._providers))
            raise _BodyError(_invalid("provider", f"must be one of: {known}; got {name!r}"))
        nested = body.pop("credentials", {})
        if not isinstance(nested, dict):
            raise _BodyError(_invalid("credentials", "must be an object"))
        twice = sorted(body.keys() & nested.keys())
        if twice:
            raise _BodyError(_invalid(f"credentials.{twice[0]}", "is given twice"))
        return _json(self._providers[name].register({**nested, **body}), status=201)

    async def _plan(self, request: web.Request) -> web.Response:
        plan = self._state.plans.add(PlanBody.model_validate(await _object(request)))
        return _json(_dump(plan.body), status=201)

    async def _plans(self, _request: web.Request) -> web.Response:
        return _json({"data": [_dump(body) for body in self._state.plans.bodies()]})

    async def _inbound(self, request: web.Request) -> web.Response:
        body = InboundBody.model_validate(await _object(request))
        provider = self._receiver(body)
        sid, delivery = await provider.inbound(body)
        return _json(
            {
                "provider": provider.name,
                "sid": sid,
                "status": delivery.status,
                "content_type": delivery.content_type,
                "body": delivery.answer,
                "attempts": delivery.as_json()["attempts"],
            }
        )

    def _receiver(self, body: InboundBody) -> Provider:
        """The provider whose account is meant, by `AccountBook.fitness`; raises `UnfitError`."""
        able = [
            some
            for some in self._providers.values()
            if body.channel in some.channels and body.provider in {None, some.name}
        ]
        if not able:
            who = body.provider or "no provider here"
            how = "does not receive" if body.provider else "receives"
            raise _BodyError(_invalid("channel", f"{who} {how} {body.channel!r}"))
        best = max(some.accounts.fitness(body) for some in able)
        fitting = [some for some in able if some.accounts.fitness(body) == best]
        if best == 1:
            fitting = [some for some in fitting if some.accounts.has_secret_number] or fitting
        if best and len(fitting) > 1:
            names = ", ".join(some.name for some in fitting)
            raise UnfitError(f"{names} could each receive for {body.to}: name the 'provider'")
        return fitting[0]

    async def _handshake(self, request: web.Request) -> web.Response:
        body = HandshakeBody.model_validate(await _object(request))
        shake = self._handshakes.get(body.provider)
        if shake is None:
            raise _BodyError(_invalid("provider", f"{body.provider!r} shakes no hands"))
        delivery, is_right = await shake(body.account)
        return _json({"status": delivery.status, "body": delivery.answer, "verified": is_right})

    async def _requests(self, _request: web.Request) -> web.Response:
        return _json({"data": [asked.as_json() for asked in self._state.requests]})

    async def _messages(self, _request: web.Request) -> web.Response:
        data = [
            {"provider": provider.name, **message}
            for provider in self._providers.values()
            for message in provider.messages()
        ]
        return _json({"data": data})

    async def _health(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _about(self, _request: web.Request) -> web.Response:
        """Which providers are simulated, and where the mail server listens."""
        return _json({"providers": sorted(self._providers), "smtp": self._state.smtp or None})

    async def _forget(self, _request: web.Request) -> web.Response:
        await self._state.forget()
        for provider in self._providers.values():
            provider.forget()
        return web.Response(status=204)


def _answering(handler: Handler) -> Handler:
    """Answer the errors of a request as problems."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except _BodyError as error:
            return error.answer
        except UnfitError as error:
            return problem(error.status, error.detail)
        except ValidationError as error:
            errors = [
                {
                    "field": ".".join(str(part) for part in one["loc"]),
                    "message": _message(one["msg"], one["type"], one["input"]),
                }
                for one in error.errors(include_url=False, include_context=False)
            ]
            named = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
            return problem(422, named, errors)

    return answer


def _message(text: str, kind: str, given: object) -> str:
    """pydantic's message, with the given value if it should be one of our own words."""
    return f"{text}; got {given!r}" if kind in {"enum", "literal_error"} else text


def _invalid(field: str, message: str) -> web.Response:
    return problem(422, f"{field}: {message}", [{"field": field, "message": message}])


async def _object(request: web.Request) -> dict[str, object]:
    try:
        body = orjson.loads(await request.clone(client_max_size=MAX_BODY_BYTES).read())
    except orjson.JSONDecodeError as error:
        raise _BodyError(problem(400, f"The body is not JSON: {error}")) from None
    if not isinstance(body, dict):
        raise _BodyError(problem(422, "The body must be a JSON object"))
    return body


def _dump(body: BaseModel) -> dict[str, object]:
    return body.model_dump(mode="json", by_alias=True, exclude_none=True)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
