"""api.twilio.com, as far as messages go: create, fetch, list, cancel, redact, delete.

https://www.twilio.com/docs/messaging/api/message-resource. Basic credentials are checked,
callbacks and inbound messages are signed with the account's primary auth token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from gateway.simulator.callbacks import Delivery
from gateway.simulator.plan import REFUSED_BY_STATUS, Fault, Plan, bare
from gateway.simulator.provider import InboundBody, UnfitError
from gateway.simulator.segments import segments
from gateway.simulator.state import Asked, State, cut
from gateway.simulator.twilio_accounts import Accounts, TwilioAccount
from gateway.simulator.twilio_errors import ApiError
from gateway.simulator.twilio_fate import Fate, error_code
from gateway.simulator.twilio_messages import API_VERSION, Message, MessageBook
from gateway.simulator.twilio_rules import Form, channel_of, check, first, spell
from gateway.simulator.twilio_webhooks import START_WORDS, STOP_WORDS, inbound_params

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Twilio:
    """The simulated Twilio."""

    name = "twilio"
    channels = frozenset({"sms", "whatsapp"})

    def __init__(self, state: State) -> None:
        """Start with no account: every request is refused."""
        self._state = state
        self._accounts = Accounts()
        self._book = MessageBook()
        self._fate = Fate(state)
        self._opted_out: set[tuple[str, str]] = set()

    # The provider's part of `/_sim`

    def add_routes(self, app: web.Application) -> None:
        """Answer on the paths of the Messages resource."""
        messages = f"/{API_VERSION}/Accounts/{{account_sid}}/Messages"
        app.router.add_post(f"{messages}.json", self._create)
        app.router.add_get(f"{messages}.json", _answering(self._list))
        app.router.add_get(f"{messages}/{{sid}}.json", _answering(self._fetch))
        app.router.add_post(f"{messages}/{{sid}}.json", _answering(self._update))
        app.router.add_delete(f"{messages}/{{sid}}.json", _answering(self._delete))

    def error(self, request: web.Request, status: int) -> web.Response | None:
        """Twilio's error body for a path below its API version."""
        if not request.path.startswith(f"/{API_VERSION}"):
            return None
        codes = {404: 20404, 405: 20004, 413: 20413}
        return ApiError(codes.get(status, 20001), {"path": request.path}, status=status).response()

    def register(self, fields: Mapping[str, Any]) -> dict[str, object]:
        """Accept an account, or replace the one with the same sid."""
        account = self._accounts.register(fields)
        return {"provider": self.name, "id": account.account_sid, "webhooks": account.webhooks}

    def messages(self) -> list[dict[str, object]]:
        """The resources, each with what its callbacks were answered."""
        return [
            message.resource() | {"callbacks": [some.as_json() for some in message.callbacks]}
            for message in self._book
        ]

    def forget(self) -> None:
        """Drop accounts, messages and opt-outs."""
        self._accounts.clear()
        self._book.clear()
        self._opted_out.clear()

    async def inbound(self, body: InboundBody) -> tuple[str, Delivery]:
        """Post an inbound message to the `message` webhook of the account that owns `to`."""
        prefix = "whatsapp:" if body.channel == "whatsapp" else ""
        to, from_ = (
            prefix + address.removeprefix("whatsapp:") for address in (body.to, body.from_)
        )
        account = self._accounts.owner(to, body.account)
        url = account.webhooks.get("message")
        if url is None:
            raise UnfitError(f"account {account.account_sid} has no webhook 'message'")
        if not prefix:
            self._note_opt_out(to, from_, body.body)
        now = self._state.clock()
        message = Message(
            serial=self._book.next_serial(),
            sid=self._sid(media=bool(body.media)),
            account_sid=account.account_sid,
            to=to,
            from_=from_,
            body=body.body,
            status="received",
            direction="inbound",
            created=now,
            updated=now,
            sent=now,
            service=account.messaging_service_sid,
            media=tuple(media.url for media in body.media),
            num_segments=segments(body.body),
        )
        self._book.add(message)
        params = inbound_params(message, body)
        delivery = await self._fate.call(account, message, "message", url, params)
        return message.sid, delivery

    def _note_opt_out(self, to: str, from_: str, body: str) -> None:
        """Keep Twilio's own list: https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out."""
        word, pair = body.strip().upper(), (bare(to), bare(from_))
        if word in STOP_WORDS:
            self._opted_out.add(pair)
        elif word in START_WORDS:
            self._opted_out.discard(pair)

    # The API

    async def _create(self, request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        asked = Asked(
            provider=self.name,
            method=request.method,
            path=request.path,
            params={name: some[0] if len(some) == 1 else some for name, some in form.items()},
            at=self._state.clock(),
        )
        self._state.requests.append(asked)
        try:
            account = self._accounts.open(request)
            plan, fault = self._plan(account, form)
            asked.fault = fault
            if fault is Fault.RESET:
                return cut(request)
            if fault in REFUSED_BY_STATUS:
                return self._refused(fault, asked)
            message = self._accept(account, form, plan)
        except ApiError as error:
            asked.status, asked.error_code = error.status, error.code
            return error.response()
        asked.sid = message.sid
        return await self._answer(request, asked, message, plan)

    async def _answer(
        self, request: web.Request, asked: Asked, message: Message, plan: Plan
    ) -> web.StreamResponse:
        """Answer for an accepted message, or lose the answer as the plan says."""
        response = _json(message.resource(), status=201)
        if Fault.BEFORE_RESPONSE in plan.faults and message.task and message.send_at is None:
            # Not wait_for: the callbacks go on when the time is over.
            await asyncio.wait({message.task}, timeout=self._state.patience)
        await asyncio.sleep(plan.body.answer_delay_ms / 1000)
        if asked.fault == Fault.TIMEOUT_AFTER_ACCEPT:
            await self._state.hold(request)
        if asked.fault in {Fault.TIMEOUT_AFTER_ACCEPT, Fault.RESET_AFTER_ACCEPT}:
            return cut(request)
        asked.status = response.status
        return response

    def _plan(self, account: TwilioAccount, form: Form) -> tuple[Plan, Fault | None]:
        """The plan for a request and the fault of its answer.

        Attempts of one message are told by what they have in common; the callback URL is part of
        it, because two messages with the same text to the same number differ there alone.
        """
        to, from_ = spell(first(form, "To") or ""), spell(first(form, "From") or "")
        body = first(form, "Body") or ""
        plan = self._state.plans.find(to=to, from_=from_, body=body, channel=channel_of(to))
        key = (account.account_sid, to, from_, body, first(form, "StatusCallback"))
        return plan, plan.next_fault(key)

    def _refused(self, fault: Fault, asked: Asked) -> web.Response:
        asked.status = status = int(fault)
        code = {429: 20429, 500: 20500, 503: 20503}.get(status)
        if code is not None:
            asked.error_code = code
            return ApiError(code).response()
        # A proxy in between has no words of Twilio's.
        return web.Response(status=status, text="<html>upstream</html>", content_type="text/html")

    def _accept(self, account: TwilioAccount, form: Form, plan: Plan) -> Message:
        """Check a request, keep the message and set it on its way; raises `ApiError`."""
        now = self._state.clock()
        wanted = check(form, account, now)
        if wanted.from_ and (bare(wanted.from_), bare(wanted.to)) in self._opted_out:
            raise ApiError(21610)
        if plan.body.outcome == "refused":
            code = error_code(plan.body.error_code, 21211)
            named = {"to": wanted.to, "from_": wanted.from_ or ""}
            raise ApiError(code if isinstance(code, int) else 21211, named)
        status = "queued" if wanted.service is None else "accepted"
        message = Message(
            serial=self._book.next_serial(),
            sid=self._sid(media=bool(wanted.media)),
            account_sid=account.account_sid,
            to=wanted.to,
            from_=wanted.from_,
            body=wanted.body,
            status="scheduled" if wanted.send_at else status,
            direction="outbound-api",
            created=now,
            updated=now,
            service=wanted.service,
            media=wanted.media,
            send_at=wanted.send_at,
            status_callback=wanted.status_callback,
            num_segments=segments(wanted.body),
        )
        self._book.add(message)
        message.task = self._state.spawn(self._fate.live(account, message, plan))
        return message

    async def _list(self, request: web.Request) -> web.Response:
        account = self._accounts.open(request)
        return _json(self._book.page(account.account_sid, request.query))

    async def _fetch(self, request: web.Request) -> web.Response:
        return _json(self._message(request)[1].resource())

    async def _update(self, request: web.Request) -> web.Response:
        """Cancel a scheduled message, or redact a body (the only value is the empty one)."""
        account, message = self._message(request)
        form = await _form(request)
        if first(form, "Status") == "canceled":
            if message.status != "scheduled" or message.task is None:
                raise ApiError(30409)
            message.task.cancel()
            message.advance("canceled", self._state.clock())
            message.task = self._state.spawn(self._fate.report(account, message))
        elif form.get("Status") or form.get("Body") != [""]:
            raise ApiError(20001)
        else:
            message.body = ""
        return _json(message.resource())

    async def _delete(self, request: web.Request) -> web.Response:
        message = self._message(request)[1]
        if message.status in {"queued", "accepted", "sending", "scheduled"}:
            raise ApiError(20009)
        self._book.remove(message)
        return web.Response(status=204)

    def _message(self, request: web.Request) -> tuple[TwilioAccount, Message]:
        account = self._accounts.open(request)
        sid = request.match_info["sid"]
        return account, self._book.get(account.account_sid, sid, request.path)

    def _sid(self, *, media: bool) -> str:
        return f"{'MM' if media else 'SM'}{self._state.hex_id()}"


def _answering(handler: Handler) -> Handler:
    """Turn an `ApiError` of a handler into its answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return error.response()

    return answer


async def _form(request: web.Request) -> dict[str, list[str]]:
    """The parameters of a form, repeated ones in order; another kind of body has none."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    text = (await request.read()).decode("utf-8", "replace")
    return parse_qs(text, keep_blank_values=True)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
