"""What happens to a message after Twilio has accepted it: its statuses, and a callback for each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.simulator.fate import travel
from gateway.simulator.plan import Plan, error_code, steps_of
from gateway.simulator.state import State
from gateway.simulator.twilio_accounts import TwilioAccount
from gateway.simulator.twilio_messages import Message
from gateway.simulator.twilio_post import post
from gateway.simulator.twilio_rules import spell
from gateway.simulator.twilio_webhooks import status_params
from gateway.simulator.window import Window

# The statuses that are reported; the initial status has no callback:
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
# https://www.twilio.com/docs/api/errors/63016
OUTSIDE_WINDOW = 63016

# One status callback still to be made: the status, and the form from the moment of the status.
Report = tuple[str, dict[str, str]]


class Fate:
    """Takes messages through their statuses."""

    def __init__(self, state: State, window: Window) -> None:
        """Use the clock and the deliveries of `state`."""
        self._state = state
        self._window = window

    async def live(self, account: TwilioAccount, message: Message, plan: Plan) -> None:
        """Take a message through the statuses of its plan, with a callback for each."""
        if message.send_at is not None:
            await asyncio.sleep((message.send_at - self._state.clock()).total_seconds())
        if message.from_ is None and account.numbers:
            prefix = "whatsapp:" if message.channel == "whatsapp" else ""
            message.from_ = prefix + spell(account.numbers[0]).removeprefix("whatsapp:")
        code = plan.body.error_code
        steps = _steps(message, plan)
        if self._is_outside_window(account, message, plan):
            code, steps = OUTSIDE_WINDOW, STEPS["failed"]

        async def advance(status: str) -> Report:
            if status in DEFAULT_ERRORS:
                message.error_code = error_code(code, DEFAULT_ERRORS[status])
            now = self._state.clock()
            message.advance(status, now)
            return status, status_params(message, now)

        async def post_all(reports: list[Report]) -> None:
            await asyncio.gather(*(self._report(account, message, some) for some in reports))

        await travel(self._state, plan, steps, advance, post_all)
        message.task = None

    async def report(self, account: TwilioAccount, message: Message) -> None:
        """Report the status that the message has now."""
        await self._report(
            account, message, (message.status, status_params(message, self._state.clock()))
        )

    def _is_outside_window(self, account: TwilioAccount, message: Message, plan: Plan) -> bool:
        enforced = plan.body.enforce_window
        if enforced is None:
            enforced = account.enforce_window
        is_free_text = message.channel == "whatsapp" and message.content_sid is None
        return (
            enforced
            and is_free_text
            and not self._window.is_open(
                ours=message.from_ or "", theirs=message.to, at=self._state.clock()
            )
        )

    async def _report(self, account: TwilioAccount, message: Message, report: Report) -> None:
        # The message's own URL takes precedence over the account's:
        # https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
        url = message.status_callback or account.webhooks.get("status")
        if url is not None:
            status, params = report
            await post(self._state, account, message.callbacks, status, url, params)


def _steps(message: Message, plan: Plan) -> tuple[str, ...]:
    steps = steps_of(plan, STEPS)
    if plan.body.steps is not None or message.service is None or not steps:
        return steps
    # A Messaging Service queues what it has accepted, and reports that.
    return ("queued", *steps)
