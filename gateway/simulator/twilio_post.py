"""One signed request of Twilio to a webhook."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from gateway.simulator.callbacks import Delivery
from gateway.simulator.state import State
from gateway.simulator.twilio_accounts import TwilioAccount
from gateway.simulator.twilio_webhooks import signed


async def post(
    state: State,
    account: TwilioAccount,
    callbacks: list[Delivery],
    event: str,
    url: str,
    params: Mapping[str, str],
    *,
    method: str = "POST",
) -> Delivery:
    """Make the request, with its retries, and add the outcome to `callbacks`."""
    token = str(UUID(int=state.random.getrandbits(128)))
    delivery = Delivery(event=event, url=url)
    callbacks.append(delivery)
    await state.deliver(signed(account, url, params, token, method=method), delivery)
    return delivery
