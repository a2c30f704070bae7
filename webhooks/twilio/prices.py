"""The price of a call: known some time after its end, and only in the call's record.

Docs: https://www.twilio.com/docs/voice/api/call-resource#call-properties
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from channels.providers.twilio import API
from webhooks.model import Fetch, StatusReport, Unreadable, WebhookEvent, WebhookRequest
from webhooks.twilio.parameters import Given
from webhooks.values import read_object, stored

PRICE_WAITS: Final = (30.0, 120.0, 300.0)
"""Seconds before each question; after the last the price stays unknown."""


def fetched(request: WebhookRequest) -> list[WebhookEvent]:
    """The price in a call's record, or the next question for it; raises `Unreadable`."""
    record = read_object(request.body)
    external_id = record.get("sid")
    if not isinstance(external_id, str) or not 0 < len(external_id) <= 64:
        raise Unreadable("The answer is no call.")
    url, _, asked = request.url.partition("#")
    turn = int(asked) if re.fullmatch(r"[1-9]", asked) else 1
    if record.get("price") is None and turn < len(PRICE_WAITS):
        return [_question(url, external_id, turn + 1)]
    told = {name: record.get(name) for name in ("price", "price_unit", "duration")}
    cost = {name: stored(str(value))[:64] for name, value in told.items() if value is not None}
    return [
        StatusReport(
            external_id=stored(external_id),
            status=None,
            word="cost",
            key=f"twilio:{stored(external_id)}:cost:{cost.get('price', '')}",
            provider=cost,
        )
    ]


def price_question(given: Given) -> Iterator[Fetch]:
    """The first question for the price of a call that has ended."""
    account, external_id = given.get("AccountSid", ""), given.get("CallSid", "")
    if all(re.fullmatch(r"[A-Za-z0-9]{1,64}", part) for part in (account, external_id)):
        url = f"{API}/2010-04-01/Accounts/{account}/Calls/{external_id}.json"
        yield _question(url, external_id, 1)


def _question(url: str, external_id: str, turn: int) -> Fetch:
    """A question for the price; the fragment, which is not sent, carries its number."""
    key = f"twilio:{stored(external_id)}:price:{turn}"
    return Fetch(url=f"{url}#{turn}", key=key, after=PRICE_WAITS[turn - 1])
