"""The way of a message after Twilio has accepted it: its statuses, and the callback for each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

from gateway.simulator.callbacks import Delivery
from gateway.simulator.plan import Fault, Plan, arrange
from gateway.simulator.state import State
from gateway.simulator.twilio_accounts import TwilioAccount
from gateway.simulator.twilio_messages import Message
from gateway.simulator.twilio_rules import spell
from gateway.simulator.twilio_webhooks import signed, status_params

# What is reported after the initial status, which itself is never called back:
# https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
STEPS: Mapping[str, tuple[str, ...]] = {
    "queued": (),
    "sending": ("sending",),
    "sent": ("sending", "sent"),
    "delivered": ("sending", "sent", "delivered"),
    "partially_delivered": ("sending", "sent", "partially_delivered"),
    "read": ("sending", "sent", "delivered", "read"),
    "undelivered": ("sending", "sent", "undelivered"),
    "failed": ("failed",),
    "canceled": ("canceled",),
}
DEFAULT_ERRORS = {"undelivered": 30003, "failed": 30005}

# One status callback yet to be made: the status, and the form as the message stood then.
Report = tuple[str, dict[str, str]]


def error_code(given: int | str | None, default: int) -> int | str:
    """The code of a plan, a number wherever it is written with digits."""
    if given is None:
        return default
    return int(given) if str(given).isascii() and str(given).isdigit() else given


class Fate:
    """Takes messages through their statuses."""

    def __init__(self, state: State) -> None:
        """Use the clock, the chance and the deliveries of `state`."""
        self._state = state

    async def live(self, account: TwilioAccount, message: Message, plan: Plan) -> None:
        """Take a message through the statuses of its plan, with a callback for each.

        Out of order and all at once only the callbacks come: the message itself is further by
        then, as it is with Twilio.
        """
        if message.send_at is not None:
            await asyncio.sleep((message.send_at - self._state.clock()).total_seconds())
        if message.from_ is None and account.numbers:
            prefix = "whatsapp:" if message.channel == "whatsapp" else ""
            message.from_ = prefix + spell(account.numbers[0]).removeprefix("whatsapp:")
        together = bool(plan.faults & {Fault.BATCH, Fault.REORDER})
        waiting: list[Report] = []
        for status in _steps(message, plan):
            await asyncio.sleep(plan.body.delay_ms / 1000)
            if status in DEFAULT_ERRORS:
                message.error_code = error_code(plan.body.error_code, DEFAULT_ERRORS[status])
            now = self._state.clock()
            message.advance(status, now)
            waiting.append((status, status_params(message, now)))
            if not together:
                await self._report_all(account, message, plan, waiting)
                waiting = []
        await self._report_all(account, message, plan, waiting)
        message.task = None

    async def report(self, account: TwilioAccount, message: Message) -> None:
        """Report the status that the message has now."""
        await self._report(
            account, message, (message.status, status_params(message, self._state.clock()))
        )

    async def call(
        self,
        account: TwilioAccount,
        message: Message,
        event: str,
        url: str,
        params: Mapping[str, str],
    ) -> Delivery:
        """Make one signed request for a message, with its retries, and keep what came back."""
        token = str(UUID(int=self._state.random.getrandbits(128)))
        delivery = Delivery(event=event, url=url)
        message.callbacks.append(delivery)
        await self._state.deliver(signed(account, url, params, token), delivery)
        return delivery

    async def _report_all(
        self, account: TwilioAccount, message: Message, plan: Plan, reports: list[Report]
    ) -> None:
        arranged = arrange(reports, plan.faults, self._state.random)
        if Fault.BATCH in plan.faults:
            await asyncio.gather(*(self._report(account, message, some) for some in arranged))
            return
        for some in arranged:
            await self._report(account, message, some)

    async def _report(self, account: TwilioAccount, message: Message, report: Report) -> None:
        # The message's own URL wins over the account's:
        # https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
        url = message.status_callback or account.webhooks.get("status")
        if url is not None:
            status, params = report
            await self.call(account, message, status, url, params)


def _steps(message: Message, plan: Plan) -> tuple[str, ...]:
    if plan.body.steps is not None:
        return plan.body.steps
    steps = STEPS[plan.body.outcome]
    # A Messaging Service queues what it has accepted, and says so.
    return ("queued", *steps) if message.service is not None and steps else steps
