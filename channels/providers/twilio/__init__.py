"""Twilio, the send half: SMS, MMS, WhatsApp (`messages`) and phone calls (`calls`).

Docs: https://www.twilio.com/docs/messaging/api/message-resource and
https://www.twilio.com/docs/voice/api/call-resource (errors: /docs/api/errors).
There is no idempotency key, so each POST is sent exactly once. The library's `Client` provides
authentication and headers, over an HTTP client of ours (`transport`); `answers` reads answers,
`reasons` explains codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

import aiohttp

from channels import credentials
from channels.errors import AnswerLost, CannotAsk
from channels.http import Limits, form_body
from channels.leaving import writing
from channels.model import Account, Channel, Outbound, Sent
from channels.providers.twilio import calls, messages
from channels.providers.twilio.answers import listed, read
from channels.providers.twilio.calls import sibling
from channels.providers.twilio.messages import HIDDEN_DIGITS, PREFIX
from channels.providers.twilio.reasons import OPT_OUTS, explain
from channels.providers.twilio.transport import (
    API,
    CLOCK_SLACK,
    PAGES,
    authorize,
    client,
    newest,
    post,
    search,
)

__all__ = (
    "API", "HIDDEN_DIGITS", "IDENTITY", "OPT_OUTS", "PAGES", "PREFIX", "RETRIES", "Twilio",
    "authorize", "build", "explain", "half", "read", "sibling", "validate_credentials",
)  # fmt: skip

# Twilio repeats a callback after a 5xx only if the URL's fragment says so
# https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
RETRIES: Final = "#rc=5&rp=all"

CREDENTIALS: Final = {
    "account_sid": re.compile(r"[A-Za-z0-9]{1,64}"),
    "auth_token": re.compile(r"[!-~]{1,256}"),
    "auth_token_secondary": re.compile(r"[!-~]{1,256}"),
    "api_key_sid": re.compile(r"[A-Za-z0-9]{1,64}"),
    "api_key_secret": re.compile(r"[!-~]{1,256}"),
    "messaging_service_sid": re.compile(r"[A-Za-z0-9]{1,64}"),
}
REQUIRED = ("account_sid", "auth_token")
# What identifies the list that is asked. Messages of a service are recognized by it while it has
# not chosen a sender.
IDENTITY: Final = ("account_sid", "messaging_service_sid")


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    return credentials.check(
        given, CREDENTIALS, provider="Twilio", required=REQUIRED, more=_problems
    )


def _problems(values: Mapping[str, str]) -> list[credentials.Problem]:
    return credentials.together(values, "api_key_sid", "api_key_secret")


def build(account: Account, outbound: Outbound, callback_url: str) -> messages.Form:
    """The parameters of the POST; raises `Refused` for what Twilio does not carry."""
    if outbound.channel is Channel.CALL:
        return calls.build(outbound, callback_url)
    return messages.build(account, outbound, callback_url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Twilio:
    """The send half (`channels.model.SendHalf`)."""

    limits: Limits = field(default_factory=Limits)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        callback_url: str,
    ) -> Sent:
        """Hand a message or call to Twilio with one POST; raises a `SendError`."""
        with writing():
            body = form_body(build(account, outbound, callback_url))
        name = "Calls" if outbound.channel is Channel.CALL else "Messages"
        return read(await post(account, session, self.limits, name, body), name.lower())

    async def find(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        since: datetime,
    ) -> list[Sent]:
        """The messages or calls like `outbound` that Twilio took since then, oldest first.

        Raises `AnswerLost` also if there are more records than we look through, and `CannotAsk` if
        the records hide to whom they went.
        """
        asking = client(account, session, self.limits)
        if outbound.channel is Channel.CALL:
            url = calls.list_url(account, outbound)
            like = partial(calls.matches, outbound=outbound)
            found = await search(asking, url, name="calls", matches=like, since=since)
            return [replace(listed(each, "calls"), may_differ=True) for each in found]
        url = messages.list_url(account, outbound)
        like = partial(messages.matches, account=account, outbound=outbound)
        found = await search(asking, url, name="messages", matches=like, since=since)
        if not found:
            # A list by recipient may lack those whose recipient is hidden: the sender's tell.
            page, then = await newest(asking, messages.newest_url(account, outbound), since)
            found = [each for each in page.records[::-1] if like(each, since=then)]
            is_whole = page.next_uri is None or page.ends_before(then - CLOCK_SLACK)
            if not (found or is_whole) and any(map(messages.hides_number, page.records)):
                text = "Twilio hides numbers, and lists too many messages of this sender."
                raise AnswerLost(text, code="too-many")
        if any(map(messages.hides_number, found)):
            text = "Twilio hides to whom it sent this or a like message: only its reports can tell."
            raise CannotAsk(text, code="hidden")
        return [
            replace(
                listed(each, "messages"),
                may_differ=not messages.has_its_text(each, outbound),
                is_hidden=messages.hides_text(each),
            )
            for each in found
        ]


half = Twilio()
