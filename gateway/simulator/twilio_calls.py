"""Calls of api.twilio.com: create, fetch, list, hang up; and calls that come in.

https://www.twilio.com/docs/voice/api/call-resource. A plan's outcome is how a call ends; its
`digits` are pressed when TwiML asks for some, `answered_by` is the result of machine detection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping

from aiohttp import web

from gateway.simulator.callbacks import Delivery
from gateway.simulator.fate import travel
from gateway.simulator.intake import Accepted, take
from gateway.simulator.plan import Plan, steps_of
from gateway.simulator.provider import InboundBody
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
from gateway.simulator.twilio_call import ENDED, EVENTS, WAITING, Call
from gateway.simulator.twilio_call_rules import check_call
from gateway.simulator.twilio_errors import ApiError
from gateway.simulator.twilio_files import TwilioFiles
from gateway.simulator.twilio_post import post
from gateway.simulator.twilio_rules import Form, first, spell
from gateway.simulator.twilio_voice import Line
from gateway.simulator.twilio_webhooks import texts

STEPS: Mapping[str, tuple[str, ...]] = {
    "queued": (),
    "sending": ("initiated", "ringing"),
    "sent": ("initiated", "ringing", "in-progress"),
    "delivered": ("initiated", "ringing", "in-progress", "completed"),
    "failed": ("initiated", "failed"),
    "busy": ("initiated", "ringing", "busy"),
    "no-answer": ("initiated", "ringing", "no-answer"),
    "canceled": ("initiated", "canceled"),
}

DURATION_S = 12

# One status callback still to be made: the status, and the form from the moment of the status.
Report = tuple[str, dict[str, str]]


class Calls:
    """The calls of all accounts."""

    def __init__(self, state: State, accounts: Accounts, files: TwilioFiles) -> None:
        """Serve the accounts of `accounts`."""
        self._state = state
        self._accounts = accounts
        self._files = files
        self._book: Book[Call] = Book("Calls", "StartTime", "Status")

    def add_routes(self, app: web.Application) -> None:
        """Answer on the paths of the Calls resource."""
        calls = f"/{API_VERSION}/Accounts/{{account_sid}}/Calls"
        app.router.add_post(f"{calls}.json", self._create)
        app.router.add_get(f"{calls}.json", answering(self._list))
        app.router.add_get(f"{calls}/{{sid}}.json", answering(self._fetch))
        app.router.add_post(f"{calls}/{{sid}}.json", answering(self._update))

    def calls(self) -> list[dict[str, object]]:
        """The resources, each with what was said and pressed, and its callbacks."""
        return [
            call.resource()
            | {
                "channel": "call",
                "heard": call.heard,
                "pressed": call.pressed,
                "error_code": call.error_code,
                "callbacks": [some.as_json() for some in call.callbacks],
            }
            for call in self._book
        ]

    def clear(self) -> None:
        """Drop all."""
        self._book.clear()

    async def inbound(self, body: InboundBody) -> tuple[str, Delivery]:
        """Call the account that owns `to`; `body` is what the person says when recorded.

        `params` are parameters of the first request; `Digits` are pressed when TwiML asks for some.
        """
        account = self._accounts.owner(body.to, body.account)
        url = self._accounts.webhook(account, "call")
        now = self._state.clock()
        call = Call(
            serial=self._book.next_serial(),
            sid=f"CA{self._state.hex_id()}",
            account_sid=account.account_sid,
            to=body.to,
            from_=body.from_,
            status="ringing",
            direction="inbound",
            created=now,
            updated=now,
        )
        self._book.add(call)
        plan = self._state.plans.find(to=body.to, from_=body.from_, body=body.body, channel="call")
        more = texts(body)
        line = Line(
            self._state,
            account,
            call,
            plan,
            self._files,
            digits=more.pop("Digits", ""),
            speech=body.body,
        )
        delivery = await line.ask(url, "POST", "call", more)
        call.task = self._state.spawn(self._talk(account, call, plan, line, delivery, url))
        return call.sid, delivery

    async def _talk(
        self,
        account: TwilioAccount,
        call: Call,
        plan: Plan,
        line: Line,
        delivery: Delivery,
        url: str,
    ) -> None:
        """Run an inbound call, and report its end to the number's own webhook."""
        call.advance("in-progress", self._state.clock())
        await line.obey(delivery, url)
        now = self._state.clock()
        end = call.status if call.status in ENDED else "completed"
        call.advance(end, now, seconds=_seconds(plan))
        status_url = account.webhooks.get("call-status")
        if status_url is not None:
            params = call.progress(now)
            await post(self._state, account, call.callbacks, end, status_url, params)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        return await take(
            self._state,
            request,
            asked_for(self._state, request, form),
            choose=lambda: self._plan(self._accounts.open(request), form),
            refuse=refusal,
            accept=lambda plan: self._accept(self._accounts.open(request), form, plan),
        )

    def _plan(self, account: TwilioAccount, form: Form) -> tuple[Plan, Hashable]:
        to, from_ = spell(first(form, "To") or ""), spell(first(form, "From") or "")
        body = first(form, "Twiml") or first(form, "Url") or ""
        plan = self._state.plans.find(to=to, from_=from_, body=body, channel="call")
        return plan, (account.account_sid, to, from_, body, first(form, "StatusCallback"))

    def _accept(self, account: TwilioAccount, form: Form, plan: Plan) -> Accepted:
        now = self._state.clock()
        wanted = check_call(form, account)
        if plan.body.outcome == "refused":
            raise refused(plan, 21211, {"to": wanted.to, "from_": wanted.from_})
        call = Call(
            serial=self._book.next_serial(),
            sid=f"CA{self._state.hex_id()}",
            account_sid=account.account_sid,
            to=wanted.to,
            from_=wanted.from_,
            status="queued",
            direction="outbound-api",
            created=now,
            updated=now,
            twiml=wanted.twiml,
            url=wanted.url,
            method=wanted.method,
            status_callback=wanted.status_callback,
            status_method=wanted.status_method,
            events=wanted.events,
            detects_machine=wanted.detects_machine,
            amd_callback=wanted.amd_callback,
            records=wanted.records,
            recording_callback=wanted.recording_callback,
        )
        self._book.add(call)
        self._accounts.note_sender(account, wanted.from_)
        call.task = self._state.spawn(self._live(account, call, plan))
        return Accepted(
            response=json_answer(call.resource(), status=201), sid=call.sid, task=call.task
        )

    async def _live(self, account: TwilioAccount, call: Call, plan: Plan) -> None:
        """Take a call through the statuses of its plan; once it is answered, its TwiML is run."""

        async def advance(status: str) -> Report:
            if call.status == "in-progress" and status in ENDED:
                await self._converse(account, call, plan)
            now = self._state.clock()
            call.advance(status, now, seconds=_seconds(plan))
            if status == "in-progress" and call.detects_machine and call.amd_callback is None:
                # Without a callback of its own, detection has ended before the TwiML is run.
                call.answered_by = plan.body.answered_by or "human"
            wanted = EVENTS.get(status, status) in call.events
            return status, call.progress(now) if wanted and call.status_callback else {}

        async def post_all(reports: list[Report]) -> None:
            await asyncio.gather(
                *(self._report(account, call, some) for some in reports if some[1])
            )

        await travel(self._state, plan, steps_of(plan, STEPS), advance, post_all)
        call.task = None

    async def _converse(self, account: TwilioAccount, call: Call, plan: Plan) -> None:
        line = Line(self._state, account, call, plan, self._files, digits=plan.body.digits or "")
        if call.amd_callback is not None and call.detects_machine:
            call.answered_by = plan.body.answered_by or "human"
            params = {
                "CallSid": call.sid,
                "AccountSid": call.account_sid,
                "AnsweredBy": call.answered_by,
                "MachineDetectionDuration": "3200",
            }
            await post(self._state, account, call.callbacks, "amd", call.amd_callback, params)
        if call.url is not None:
            more = {} if call.answered_by is None else {"AnsweredBy": call.answered_by}
            await line.obey(await line.ask(call.url, call.method, "url", more), call.url)
        elif call.twiml is not None:
            await line.follow(call.twiml, None)
        await line.record_all()

    async def _report(self, account: TwilioAccount, call: Call, report: Report) -> None:
        url = call.status_callback or ""
        status, params = report
        await post(
            self._state, account, call.callbacks, status, url, params, method=call.status_method
        )

    async def _list(self, request: web.Request) -> web.Response:
        account = self._accounts.open(request)
        return json_answer(self._book.page(account.account_sid, request.query))

    async def _fetch(self, request: web.Request) -> web.Response:
        return json_answer(self._call(request)[1].resource())

    async def _update(self, request: web.Request) -> web.Response:
        """Hang up: `canceled` is allowed until somebody has answered, `completed` until the end."""
        account, call = self._call(request)
        form = await read_form(request)
        wanted = first(form, "Status")
        if wanted not in {"canceled", "completed"}:
            raise ApiError(20001)
        if call.status in ENDED or (wanted == "canceled" and call.status not in WAITING):
            raise ApiError(21220)
        if call.task is not None:
            call.task.cancel()
        now = self._state.clock()
        # Nobody has answered, so there is nothing to complete.
        end = "canceled" if call.status in WAITING else "completed"
        call.advance(end, now)
        if call.status_callback is not None and "completed" in call.events:
            call.task = self._state.spawn(self._report(account, call, (end, call.progress(now))))
        return json_answer(call.resource())

    def _call(self, request: web.Request) -> tuple[TwilioAccount, Call]:
        account = self._accounts.open(request)
        sid = request.match_info["sid"]
        return account, self._book.get(account.account_sid, sid, request.path)


def _seconds(plan: Plan) -> int:
    return DURATION_S if plan.body.duration is None else plan.body.duration
