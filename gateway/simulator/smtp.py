"""A mail server that keeps all mails: it checks credentials, and refuses and bounces as planned.

Outcomes: `refused` and `failed` refuse the recipient (550, or the plan's code); `bounced`,
`undelivered`, `dropped` and `blocked` accept the mail and then send a bounce (RFC 3464), `deferred`
a warning, `complained` a complaint (RFC 5965) to the account's webhook `inbound`, as message/rfc822
with its `webhook_secret`, if it has one. The faults 429, 500, ... answer the end of the mail with
421 or 451.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from email import message_from_bytes
from email.policy import default
from typing import Any

from aiohttp import encode_basic_auth, web
from pydantic import Field

from gateway.simulator.accounts import AccountBook, MailAccount
from gateway.simulator.callbacks import Callback, Delivery, Limits
from gateway.simulator.fate import travel
from gateway.simulator.files import file_of
from gateway.simulator.mime import as_bytes, compose, received
from gateway.simulator.plan import Plan, steps_of
from gateway.simulator.provider import InboundBody
from gateway.simulator.records import Record, Records
from gateway.simulator.smtp_report import report
from gateway.simulator.state import State

# The reports that follow a mail: actions of RFC 3464, and `complaint`.
STEPS: Mapping[str, tuple[str, ...]] = {
    "sent": (),
    "delivered": (),
    "failed": ("failed",),
    "deferred": ("delayed",),
    "complained": ("complaint",),
}
LIMITS = Limits(
    connect=5.0, read=30.0, total=60.0, retries=8, retry_on=frozenset({"ct", "rt", "5xx"})
)


class SmtpAccount(MailAccount):
    """An account as in `POST /_sim/accounts`; without `addresses` it receives for any."""

    username: str = Field(min_length=1)
    password: str = Field(min_length=1, repr=False)
    webhook_secret: str | None = Field(default=None, min_length=1, repr=False)

    @property
    def key(self) -> str:
        """The user's name."""
        return self.username


class Smtp:
    """The mail server's state: accounts, mails, and reports. It has no HTTP paths."""

    name = "smtp"
    channels = frozenset({"email"})

    def __init__(self, state: State) -> None:
        """Start with no account: every login is refused."""
        self._state = state
        self.accounts: AccountBook[SmtpAccount] = AccountBook("smtp")
        self._records = Records()

    def add_routes(self, app: web.Application) -> None:
        """Add no routes."""

    def error(self, request: web.Request, status: int) -> web.Response | None:  # noqa: ARG002
        """None, because it has no paths."""
        return None

    def register(self, fields: Mapping[str, Any]) -> dict[str, object]:
        """Accept an account, or replace the one of the same user."""
        account = SmtpAccount.model_validate(fields)
        self.accounts.put(account)
        return {
            "provider": self.name,
            "id": account.key,
            "webhooks": account.webhooks,
            "smtp": self._state.smtp,
        }

    def messages(self) -> list[dict[str, object]]:
        """Every mail by recipient, with the reports that were sent back for it."""
        return self._records.as_json()

    def forget(self) -> None:
        """Drop accounts and mails."""
        self.accounts.clear()
        self._records.clear()

    def login(self, username: str, password: str) -> SmtpAccount | None:
        """The account that these credentials open."""
        account = self.accounts.get(username)
        if account is None:
            return None
        right = hmac.compare_digest(account.password.encode(), password.encode())
        return account if right else None

    async def inbound(self, body: InboundBody) -> tuple[str, Delivery]:
        """Post a mail to the `inbound` webhook of the account that receives for `to`."""
        account = self.accounts.owner(body.to, body.account)
        url = self.accounts.webhook(account, "inbound")
        files = [await file_of(self._state, media) for media in body.media]
        mail = compose(self._state, body, files)
        record = received(self._state, account.key, body, mail)
        self._records.add(record)
        top = f"Return-Path: <{record.from_}>\r\nDelivered-To: {record.to}\r\n"
        raw = top.encode() + as_bytes(mail)
        return record.sid, await self._post(account, record, "inbound", url, raw)

    def accept(
        self, account: SmtpAccount, sender: str, plans: list[tuple[str, Plan]], mail: bytes
    ) -> str:
        """Keep a mail for each of its recipients, and start its reports; returns its queue id."""
        queue_id = self._state.hex_id()[:12].upper()
        message = message_from_bytes(mail, policy=default)
        text = message.get_body(("plain", "html"))
        for to, plan in plans:
            record = Record(
                sid=str(message["Message-ID"] or queue_id).strip("<> "),
                account=account.key,
                channel="email",
                to=to,
                from_=sender,
                body="" if text is None else str(text.get_content()),
                status="accepted",
                direction="outbound",
                at=self._state.clock(),
                detail={"subject": str(message["Subject"] or ""), "queue_id": queue_id},
            )
            self._records.add(record)
            self.accounts.note_sender(account, sender)
            record.task = self._state.spawn(self._live(account, record, plan, mail))
        return queue_id

    def tasks(self, queue_id: str) -> list[asyncio.Task[None]]:
        """The unfinished tasks of one mail."""
        return [
            record.task
            for record in self._records
            if record.detail.get("queue_id") == queue_id and record.task is not None
        ]

    async def _live(self, account: SmtpAccount, record: Record, plan: Plan, mail: bytes) -> None:
        code = None if plan.body.error_code is None else str(plan.body.error_code)

        async def advance(action: str) -> tuple[str, bytes]:
            record.status = action
            record.error_code = code
            return action, report(
                mail=mail,
                sender=record.from_,
                to=record.to,
                action=action,
                code=code,
                at=self._state.clock(),
                id_=self._state.hex_id(),
            )

        async def post(reports: list[tuple[str, bytes]]) -> None:
            url = account.webhooks.get("inbound")
            for action, raw in reports if url is not None else ():
                await self._post(account, record, action, url or "", raw)

        await travel(self._state, plan, steps_of(plan, STEPS), advance, post)
        record.task = None

    async def _post(
        self, account: SmtpAccount, record: Record, event: str, url: str, raw: bytes
    ) -> Delivery:
        """Post a mail with its envelope; reports have an empty sender, and go to the sender."""
        is_report = record.direction == "outbound"
        sender, to = ("", record.from_) if is_report else (record.from_, record.to)
        delivery = Delivery(event=event, url=url)
        record.callbacks.append(delivery)
        headers = {
            "Content-Type": "message/rfc822",
            "X-Envelope-From": sender,
            "X-Envelope-To": to,
        }
        if account.webhook_secret is not None:  # otherwise the secret may be in the URL
            headers["Authorization"] = encode_basic_auth(
                account.username, account.webhook_secret, "utf-8"
            )
        callback = Callback(url=url.partition("#")[0], body=raw, headers=headers, limits=LIMITS)
        await self._state.deliver(callback, delivery)
        return delivery
