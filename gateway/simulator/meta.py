"""The WhatsApp part of graph.facebook.com: messages, media, and the webhook.

https://developers.facebook.com/docs/whatsapp/cloud-api. The access token is checked, and webhooks
are signed with the app secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Hashable, Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import web

from gateway.simulator.callbacks import Callback, Delivery
from gateway.simulator.fate import travel
from gateway.simulator.files import file_of
from gateway.simulator.intake import Accepted, ProviderError, read_object, take
from gateway.simulator.meta_accounts import MetaAccount, MetaAccounts
from gateway.simulator.meta_errors import MetaError
from gateway.simulator.meta_media import MetaMedia
from gateway.simulator.meta_rules import check, recipient
from gateway.simulator.meta_webhooks import inbound, notification, status
from gateway.simulator.plan import Plan, error_code, steps_of
from gateway.simulator.provider import InboundBody, UnfitError
from gateway.simulator.records import Record, Records
from gateway.simulator.state import Asked, State
from gateway.simulator.window import Window

Json = dict[str, Any]

VERSION = r"/{version:v\d+\.\d+}"
STEPS: Mapping[str, tuple[str, ...]] = {
    "queued": (),
    "sending": (),
    "sent": ("sent",),
    "delivered": ("sent", "delivered"),
    "read": ("sent", "delivered", "read"),
    "failed": ("failed",),
    "undelivered": ("sent", "failed"),
}
UNDELIVERABLE = 131026
OUTSIDE_WINDOW = 131047


class Meta:
    """The simulated WhatsApp Cloud API."""

    name = "meta"
    channels = frozenset({"whatsapp"})

    def __init__(self, state: State) -> None:
        """Start with no account: every request is refused."""
        self._state = state
        self.accounts = MetaAccounts()
        self._records = Records()
        self._window = Window()
        self._media = MetaMedia(state, self.accounts)

    def add_routes(self, app: web.Application) -> None:
        """Answer on the paths of messages and media."""
        app.router.add_post(VERSION + "/{phone_number_id}/messages", self._send)
        self._media.add_routes(app, VERSION)

    def error(self, request: web.Request, status: int) -> web.Response | None:
        """The Graph API's error body, for a path below one of its versions."""
        if not re.match(r"/v\d+\.\d+(/|$)", request.path):
            return None
        return MetaError(33 if status == 404 else 100, status=status).response()

    def register(self, fields: Mapping[str, Any]) -> dict[str, object]:
        """Accept an account, or replace the one with the same phone number."""
        account = self.accounts.register(fields)
        return {"provider": self.name, "id": account.key, "webhooks": account.webhooks}

    def messages(self) -> list[dict[str, object]]:
        """Every message, with the webhooks posted for it."""
        return self._records.as_json()

    def forget(self) -> None:
        """Drop accounts, messages and files."""
        self.accounts.clear()
        self._records.clear()
        self._window.clear()
        self._media.clear()

    async def handshake(self, phone_number_id: str) -> tuple[Delivery, bool]:
        """Send the webhook a challenge, as Meta does when a webhook is set up."""
        account = self.accounts.owner("", phone_number_id)
        url = self.accounts.webhook(account, "events").partition("#")[0]
        challenge = str(self._state.random.randrange(10**9, 10**10))
        query = urlencode(
            {
                "hub.mode": "subscribe",
                "hub.challenge": challenge,
                "hub.verify_token": account.verify_token or "",
            }
        )
        delivery = Delivery(event="handshake", url=url)
        asked = f"{url}{'&' if '?' in url else '?'}{query}"
        callback = Callback(
            url=asked, method="GET", body=b"", headers={"User-Agent": "facebookplatform/1.0"}
        )
        await self._state.deliver(callback, delivery)
        return delivery, delivery.status == 200 and delivery.answer == challenge

    async def inbound(self, body: InboundBody) -> tuple[str, Delivery]:
        """Post a message to the `events` webhook of the account with the number `to`."""
        account = self.accounts.owner(body.to, body.account)
        account.note_written_to(body.to)
        url = self.accounts.webhook(account, "events")
        files = [await file_of(self._state, media) for media in body.media]
        if len(files) > 1:
            raise UnfitError("a WhatsApp message has at most one file", status=422)
        media = [(self._media.keep(file), file) for file in files]
        now = self._state.clock()
        self._window.note(ours=account.number, theirs=body.from_, at=now)
        record = Record(
            sid=self._wamid(body.from_),
            account=account.key,
            channel="whatsapp",
            to=account.number,
            from_=body.from_,
            body=body.body,
            status="received",
            direction="inbound",
            at=now,
        )
        self._records.add(record)
        value = inbound(account, body, record.sid, now, media)
        delivery = Delivery(event="messages", url=url)
        record.callbacks.append(delivery)
        await self._state.deliver(notification(account, value), delivery)
        return record.sid, delivery

    async def _send(self, request: web.Request) -> web.StreamResponse:
        body = read_object(await request.read())
        asked = Asked(
            provider=self.name,
            method=request.method,
            path=request.path,
            params=body if body is not None else {},
            at=self._state.clock(),
        )
        phone_number_id = request.match_info["phone_number_id"]
        if body is not None and body.get("status") == "read":
            return self._mark_read(request, asked)
        return await take(
            self._state,
            request,
            asked,
            choose=lambda: self._plan(self.accounts.open(request, phone_number_id), body),
            refuse=_refusal,
            accept=lambda plan: self._accept(
                self.accounts.open(request, phone_number_id), body or {}, plan
            ),
        )

    def _mark_read(self, request: web.Request, asked: Asked) -> web.Response:
        """Mark a person's message as read; a typing indicator may come with it."""
        self._state.requests.append(asked)
        try:
            self.accounts.open(request, request.match_info["phone_number_id"])
            known = {record.sid for record in self._records if record.direction == "inbound"}
            if asked.params.get("message_id") not in known:
                raise MetaError(100, "Invalid message_id.")
        except ProviderError as error:
            asked.status, asked.error_code = error.status, error.code
            return error.response()
        asked.status = 200
        return _answer({"success": True})

    def _plan(self, account: MetaAccount, body: Json | None) -> tuple[Plan, Hashable]:
        if body is None:
            raise MetaError(100, "The body is not a JSON object.")
        to = recipient(body) or ""
        text = orjson.dumps(body.get(str(body.get("type") or "text"))).decode()
        said = body["text"].get("body") if isinstance(body.get("text"), dict) else text
        plan = self._state.plans.find(
            to=f"+{to}" if to.isdigit() else to,
            from_=f"+{account.number}",
            body=str(said),
            channel="whatsapp",
        )
        return plan, (account.key, to, text, str(body.get("biz_opaque_callback_data")))

    def _accept(self, account: MetaAccount, body: Json, plan: Plan) -> Accepted:
        wanted = check(body, account)
        if plan.body.outcome == "refused":
            code = error_code(plan.body.error_code, 131009)
            raise MetaError(code if isinstance(code, int) else 131009)
        record = Record(
            sid=self._wamid(wanted.to),
            account=account.key,
            channel="whatsapp",
            to=wanted.to,
            from_=account.number,
            body=wanted.text,
            status="accepted",
            direction="outbound",
            at=self._state.clock(),
            detail={"type": wanted.kind, "opaque": wanted.opaque},
        )
        self._records.add(record)
        record.task = self._state.spawn(self._live(account, record, plan, wanted.opaque))
        contact: Json = {"input": str(body.get("to") or wanted.to)}
        contact["wa_id" if wanted.to.isdigit() else "user_id"] = wanted.to
        message: Json = {"id": record.sid}
        if wanted.kind == "template":
            message["message_status"] = "accepted"
        answer = {"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]}
        return Accepted(response=_answer(answer), sid=record.sid, task=record.task)

    async def _live(
        self, account: MetaAccount, record: Record, plan: Plan, opaque: str | None
    ) -> None:
        """Take a message through the statuses of its plan; with `batch` all are in one POST."""
        code, steps = plan.body.error_code, steps_of(plan, STEPS)
        if self._is_outside_window(account, record, plan):
            code, steps = OUTSIDE_WINDOW, STEPS["failed"]

        async def advance(word: str) -> Json:
            record.status = word
            if word == "failed":
                record.error_code = error_code(code, UNDELIVERABLE)
            return status(
                wamid=record.sid,
                word=word,
                to=record.to,
                at=self._state.clock(),
                opaque=opaque,
                code=record.error_code if isinstance(record.error_code, int) else UNDELIVERABLE,
            )

        async def post(statuses: list[Json]) -> None:
            url = account.webhooks.get("events")
            if url is None:
                return
            delivery = Delivery(event=",".join(some["status"] for some in statuses), url=url)
            record.callbacks.append(delivery)
            await self._state.deliver(notification(account, {"statuses": statuses}), delivery)

        await travel(self._state, plan, steps, advance, post)
        record.task = None

    def _is_outside_window(self, account: MetaAccount, record: Record, plan: Plan) -> bool:
        enforced = plan.body.enforce_window
        if enforced is None:
            enforced = account.enforce_window
        return (
            enforced
            and record.detail["type"] != "template"
            and not self._window.is_open(
                ours=account.number, theirs=record.to, at=self._state.clock()
            )
        )

    def _wamid(self, user: str) -> str:
        token = f"{user}:{self._state.hex_id()}".encode()
        return f"wamid.{base64.b64encode(token).decode()}"


def _refusal(http: int) -> MetaError | None:
    code = {429: 130429, 500: 131000, 503: 131016}.get(http)
    return None if code is None else MetaError(code)


def _answer(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
