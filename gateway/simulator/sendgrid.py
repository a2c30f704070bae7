"""api.sendgrid.com: /v3/mail/send, the Event Webhook, and Inbound Parse.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send. The API key is checked, and
events are signed with the account's private key.
"""

from __future__ import annotations

import base64
from collections.abc import Hashable, Mapping
from typing import Any

from aiohttp import web

from gateway.simulator.callbacks import Delivery
from gateway.simulator.files import file_of
from gateway.simulator.intake import Accepted, read_object, take
from gateway.simulator.mime import compose, received
from gateway.simulator.plan import Plan
from gateway.simulator.provider import InboundBody
from gateway.simulator.records import Record, Records
from gateway.simulator.sendgrid_accounts import SendGridAccount, SendGridAccounts
from gateway.simulator.sendgrid_errors import WORDS, SendGridError
from gateway.simulator.sendgrid_events import Events
from gateway.simulator.sendgrid_inbound import parse_callback
from gateway.simulator.sendgrid_rules import Letter, check, is_sandboxed, letters
from gateway.simulator.state import Asked, State

PREFIX = "/v3/"
# https://www.twilio.com/docs/sendgrid/api-reference/mail-send/limitations
MAX_BODY_BYTES = 40 * 1024 * 1024


class SendGrid:
    """The simulated SendGrid."""

    name = "sendgrid"
    channels = frozenset({"email"})

    def __init__(self, state: State) -> None:
        """Start with no account: every request is refused."""
        self._state = state
        self.accounts = SendGridAccounts()
        self._records = Records()
        self._events = Events(state)

    def add_routes(self, app: web.Application) -> None:
        """Answer on /v3/mail/send."""
        app.router.add_post(f"{PREFIX}mail/send", self._send)

    def error(self, request: web.Request, status: int) -> web.Response | None:
        """SendGrid's error body for a path below /v3."""
        return SendGridError(status).response() if request.path.startswith(PREFIX) else None

    def register(self, fields: Mapping[str, Any]) -> dict[str, object]:
        """Accept an account, or replace the one with the same API key."""
        account = self.accounts.register(fields)
        return {
            "provider": self.name,
            "id": account.key,
            "webhooks": account.webhooks,
            "webhook_public_key": account.public_key(),
        }

    def messages(self) -> list[dict[str, object]]:
        """Every letter, with the events posted for it."""
        return self._records.as_json()

    def forget(self) -> None:
        """Drop accounts and letters."""
        self.accounts.clear()
        self._records.clear()

    async def inbound(self, body: InboundBody) -> tuple[str, Delivery]:
        """Post a mail to the `inbound` webhook of the account that receives for `to`."""
        account = self.accounts.owner(body.to, body.account)
        url = self.accounts.webhook(account, "inbound")
        files = [await file_of(self._state, media) for media in body.media]
        mail = compose(self._state, body, files)
        record = received(self._state, account.key, body, mail)
        self._records.add(record)
        delivery = Delivery(event="inbound", url=url)
        record.callbacks.append(delivery)
        await self._state.deliver(parse_callback(url, body, mail, files), delivery)
        return record.sid, delivery

    async def _send(self, request: web.Request) -> web.StreamResponse:
        raw = await request.clone(client_max_size=MAX_BODY_BYTES).read()
        body = read_object(raw)
        asked = Asked(
            provider=self.name,
            method=request.method,
            path=request.path,
            params=body if body is not None else {},
            at=self._state.clock(),
        )
        return await take(
            self._state,
            request,
            asked,
            choose=lambda: self._plan(self.accounts.open(request), request, body),
            refuse=lambda status: SendGridError(status) if status in WORDS else None,
            accept=lambda plan: self._accept(self.accounts.open(request), body or {}, plan),
        )

    def _plan(
        self, account: SendGridAccount, request: web.Request, body: dict[str, Any] | None
    ) -> tuple[Plan, Hashable]:
        """The plan for the answer: that of the first recipient."""
        if request.content_type != "application/json":
            raise SendGridError(415)
        if body is None:
            raise SendGridError(400)
        first = next(letters(body), Letter(to="", from_="", subject="", text="", message_id=None))
        args = tuple(sorted(first.custom_args.items()))
        message = (account.key, first.to, first.from_, first.subject, first.text, args)
        return self._plan_of(first), message

    def _plan_of(self, letter: Letter) -> Plan:
        text = f"{letter.subject}\n{letter.text}"
        return self._state.plans.find(to=letter.to, from_=letter.from_, body=text, channel="email")

    def _accept(self, account: SendGridAccount, body: dict[str, Any], plan: Plan) -> Accepted:
        accepted = check(body, account)
        if plan.body.outcome == "refused":
            code = plan.body.error_code
            raise SendGridError(400, (None, WORDS[400] if code is None else str(code)))
        if is_sandboxed(body):
            return Accepted(response=web.Response(status=200), sid=None)
        token = bytes.fromhex(self._state.hex_id())
        message_id = base64.urlsafe_b64encode(token).decode().rstrip("=")
        records = [
            self._start(account, letter, message_id, number)
            for number, letter in enumerate(accepted)
        ]
        response = web.Response(
            status=202,
            headers={"X-Message-Id": message_id, "Content-Type": "text/plain; charset=utf-8"},
        )
        return Accepted(response=response, sid=message_id, task=records[0].task)

    def _start(
        self, account: SendGridAccount, letter: Letter, message_id: str, number: int
    ) -> Record:
        """Keep one letter, and start its events."""
        record = Record(
            sid=message_id,
            account=account.key,
            channel="email",
            to=letter.to,
            from_=letter.from_,
            body=letter.text,
            status="accepted",
            direction="outbound",
            at=self._state.clock(),
            detail={
                "subject": letter.subject,
                "smtp_id": letter.message_id or f"<{message_id}@geopod-ismtpd-1>",
                "sg_message_id": f"{message_id}.recvd-6d8f9b7c5-x2x4z-1-65A1B2C3-{number}.0",
            },
        )
        self._records.add(record)
        self.accounts.note_sender(account, letter.from_)
        record.task = self._state.spawn(
            self._events.live(account, record, letter, self._plan_of(letter))
        )
        return record
