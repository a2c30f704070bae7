"""Messages of api.twilio.com: create, fetch, list, cancel, redact, delete (calls: twilio_calls).

https://www.twilio.com/docs/messaging/api/message-resource. Basic credentials are checked, and
callbacks and inbound messages are signed with the account's primary auth token.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from aiohttp import web

from gateway.simulator.callbacks import Delivery
from gateway.simulator.files import file_of
from gateway.simulator.intake import Accepted, take
from gateway.simulator.plan import Plan, bare
from gateway.simulator.provider import InboundBody
from gateway.simulator.segments import segments
from gateway.simulator.state import State
from gateway.simulator.twilio_accounts import Accounts, TwilioAccount
from gateway.simulator.twilio_api import (
    answering,
    asked_for,
    json_answer,
    read_form,
    refusal,
    refused,
)
from gateway.simulator.twilio_book import API_VERSION, Book
from gateway.simulator.twilio_calls import Calls
from gateway.simulator.twilio_errors import ApiError
from gateway.simulator.twilio_fate import Fate
from gateway.simulator.twilio_files import TwilioFiles
from gateway.simulator.twilio_messages import Message
from gateway.simulator.twilio_post import post
from gateway.simulator.twilio_rules import Form, channel_of, check, first, spell
from gateway.simulator.twilio_webhooks import START_WORDS, STOP_WORDS, inbound_params
from gateway.simulator.window import Window


class Twilio:
    """The simulated Twilio."""

    name = "twilio"
    channels = frozenset({"sms", "whatsapp", "call"})

    def __init__(self, state: State) -> None:
        """Start with no account: every request is refused."""
        self._state = state
        self.accounts = Accounts()
        self._book: Book[Message] = Book("Messages", "DateSent")
        self._window = Window()
        self._fate = Fate(state, self._window)
        self._files = TwilioFiles(state, self.accounts)
        self._calls = Calls(state, self.accounts, self._files)
        self._opted_out: set[tuple[str, str]] = set()

    # The provider's part of `/_sim`

    def add_routes(self, app: web.Application) -> None:
        """Answer on the paths of messages, calls and files."""
        self._files.add_routes(app)
        self._calls.add_routes(app)
        messages = f"/{API_VERSION}/Accounts/{{account_sid}}/Messages"
        app.router.add_post(f"{messages}.json", self._create)
        app.router.add_get(f"{messages}.json", answering(self._list))
        app.router.add_get(f"{messages}/{{sid}}.json", answering(self._fetch))
        app.router.add_post(f"{messages}/{{sid}}.json", answering(self._update))
        app.router.add_delete(f"{messages}/{{sid}}.json", answering(self._delete))

    def error(self, request: web.Request, status: int) -> web.Response | None:
        """Twilio's error body for a path below its API version."""
        if not request.path.startswith(f"/{API_VERSION}"):
            return None
        codes = {404: 20404, 405: 20004, 413: 20413}
        return ApiError(codes.get(status, 20001), {"path": request.path}, status=status).response()

    def register(self, fields: Mapping[str, Any]) -> dict[str, object]:
        """Accept an account, or replace the one with the same sid."""
        account = self.accounts.register(fields)
        return {"provider": self.name, "id": account.account_sid, "webhooks": account.webhooks}

    def messages(self) -> list[dict[str, object]]:
        """The resources, each with its callbacks and their answers."""
        return [
            message.resource() | {"callbacks": [some.as_json() for some in message.callbacks]}
            for message in self._book
        ] + self._calls.calls()

    def forget(self) -> None:
        """Drop accounts, messages and opt-outs."""
        self.accounts.clear()
        self._book.clear()
        self._opted_out.clear()
        self._window.clear()
        self._files.clear()
        self._calls.clear()

    async def inbound(self, body: InboundBody) -> tuple[str, Delivery]:
        """Post an inbound message to the `message` webhook of the account that owns `to`.

        A call goes to its `call` webhook. `params` are parameters of the form.
        """
        if body.channel == "call":
            return await self._calls.inbound(body)
        prefix = "whatsapp:" if body.channel == "whatsapp" else ""
        to, from_ = (
            prefix + address.removeprefix("whatsapp:") for address in (body.to, body.from_)
        )
        account = self.accounts.owner(to, body.account)
        url = self.accounts.webhook(account, "message")
        now = self._state.clock()
        if prefix:
            self._window.note(ours=to, theirs=from_, at=now)
        else:
            self._note_opt_out(to, from_, body.body)
        sid = self._sid(media=bool(body.media))
        message = Message(
            serial=self._book.next_serial(),
            sid=sid,
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
            media=await self._media(account, sid, body),
            num_segments=segments(body.body),
        )
        self._book.add(message)
        params = inbound_params(message, body)
        delivery = await post(self._state, account, message.callbacks, "message", url, params)
        return message.sid, delivery

    async def _media(self, account: TwilioAccount, sid: str, body: InboundBody) -> tuple[str, ...]:
        """The URLs of a message's files; files that were given as base64 are served here."""
        return tuple(
            [
                media.url or self._files.keep_media(account, sid, await file_of(self._state, media))
                for media in body.media
            ]
        )

    def _note_opt_out(self, to: str, from_: str, body: str) -> None:
        """Keep Twilio's own list: https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out."""
        word, pair = body.strip().upper(), (bare(to), bare(from_))
        if word in STOP_WORDS:
            self._opted_out.add(pair)
        elif word in START_WORDS:
            self._opted_out.discard(pair)

    # The API

    async def _create(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        return await take(
            self._state,
            request,
            asked_for(self._state, request, form),
            choose=lambda: self._plan(self.accounts.open(request), form),
            refuse=refusal,
            accept=lambda plan: self._accept(self.accounts.open(request), form, plan),
        )

    def _plan(self, account: TwilioAccount, form: Form) -> tuple[Plan, Hashable]:
        """The plan for a request, and a key that attempts at one message have in common.

        The key has the callback URL, because two messages with the same text to the same number
        differ only in that.
        """
        to, from_ = spell(first(form, "To") or ""), spell(first(form, "From") or "")
        body = first(form, "Body") or ""
        plan = self._state.plans.find(to=to, from_=from_, body=body, channel=channel_of(to))
        return plan, (account.account_sid, to, from_, body, first(form, "StatusCallback"))

    def _accept(self, account: TwilioAccount, form: Form, plan: Plan) -> Accepted:
        """Check a request, keep the message and start its statuses; raises `ApiError`."""
        now = self._state.clock()
        wanted = check(form, account, now)
        if wanted.from_ and (bare(wanted.from_), bare(wanted.to)) in self._opted_out:
            raise ApiError(21610)
        if plan.body.outcome == "refused":
            raise refused(plan, 21211, {"to": wanted.to, "from_": wanted.from_ or ""})
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
            content_sid=wanted.content_sid,
            send_at=wanted.send_at,
            status_callback=wanted.status_callback,
            num_segments=segments(wanted.body),
        )
        self._book.add(message)
        if wanted.from_ is not None:
            self.accounts.note_sender(account, wanted.from_)
        message.task = self._state.spawn(self._fate.live(account, message, plan))
        return Accepted(
            response=json_answer(message.resource(), status=201),
            sid=message.sid,
            task=None if message.send_at else message.task,
        )

    async def _list(self, request: web.Request) -> web.Response:
        account = self.accounts.open(request)
        return json_answer(self._book.page(account.account_sid, request.query))

    async def _fetch(self, request: web.Request) -> web.Response:
        return json_answer(self._message(request)[1].resource())

    async def _update(self, request: web.Request) -> web.Response:
        """Cancel a scheduled message, or redact a body (the only allowed value is empty)."""
        account, message = self._message(request)
        form = await read_form(request)
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
        return json_answer(message.resource())

    async def _delete(self, request: web.Request) -> web.Response:
        message = self._message(request)[1]
        if message.status in {"queued", "accepted", "sending", "scheduled"}:
            raise ApiError(20009)
        self._book.remove(message)
        return web.Response(status=204)

    def _message(self, request: web.Request) -> tuple[TwilioAccount, Message]:
        account = self.accounts.open(request)
        sid = request.match_info["sid"]
        return account, self._book.get(account.account_sid, sid, request.path)

    def _sid(self, *, media: bool) -> str:
        return f"{'MM' if media else 'SM'}{self._state.hex_id()}"
