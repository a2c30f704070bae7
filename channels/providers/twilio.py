"""Twilio, the send half: SMS, MMS and WhatsApp through the Messages resource.

Docs: https://www.twilio.com/docs/messaging/api/message-resource (errors: /docs/api/errors).
WhatsApp addresses carry the prefix `whatsapp:`. There is no idempotency key, so a POST goes out
exactly once. The library's `Client` gives authentication and headers, over a client of ours: its
own sends a POST again on a 500, and its exceptions lose Retry-After. Answers are read by `read`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import aiohttp
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from channels.errors import AnswerLost, InvalidCredentials, OptedOut, Refused, RefusedForNow
from channels.http import Limits, ask, parse_date, retry_after
from channels.model import Account, Channel, Outbound, Sent

API: Final = "https://api.twilio.com"
PAGE_SIZE, PAGES = 200, 10
CLOCK_SLACK = timedelta(seconds=30)
PREFIX: Final = {Channel.SMS: "", Channel.WHATSAPP: "whatsapp:"}
TRIAL_PREFIX = "Sent from your Twilio trial account - "

CREDENTIALS: Final = {
    "account_sid": re.compile(r"[A-Za-z0-9]{1,64}"),
    "auth_token": re.compile(r"[!-~]{1,256}"),
    "auth_token_secondary": re.compile(r"[!-~]{1,256}"),
    "api_key_sid": re.compile(r"[A-Za-z0-9]{1,64}"),
    "api_key_secret": re.compile(r"[!-~]{1,256}"),
    "messaging_service_sid": re.compile(r"[A-Za-z0-9]{1,64}"),
}
REQUIRED = ("account_sid", "auth_token")
SECRET = ("auth_token", "auth_token_secondary", "api_key_secret")

Record = Mapping[str, object]

OPTED_OUT = "21610"
# Queues full, congestion, rate and daily limits, a channel away: the same message may pass later.
# https://www.twilio.com/docs/api/errors
RETRYABLE = frozenset(
    {
        "14107", "20429", "20500", "20503", "21611", "30001", "30017", "30022", "30023", "30027",
        "30410", "30500", "60005", "63012", "63017", "63018",
    }
)  # fmt: skip

REASONS: Final = {
    "20003": "Twilio does not accept the account's credentials.",
    "20404": "Twilio does not know this account or resource.",
    "20429": "Twilio asks to send more slowly.",
    "21211": "The recipient's number is not valid.",
    "21212": "The sender's number is not valid.",
    "21408": "The Twilio account may not send to this country.",
    "21602": "The message has no text.",
    "21604": "The message has no recipient.",
    "21606": "The sender's number cannot send messages to this recipient.",
    "21608": "A trial account can only write to numbers that were verified with Twilio.",
    "21610": "The recipient has replied STOP and gets no more messages from this sender.",
    "21611": "Too many messages of this sender wait at Twilio.",
    "21612": "Twilio has no route from this sender to this recipient.",
    "21614": "The recipient's number is not a mobile number.",
    "21617": "The text is longer than 1600 characters.",
    "21635": "The recipient's number is a landline.",
    "30001": "Too many messages of this account wait at Twilio.",
    "30002": "The Twilio account is suspended.",
    "30003": "The phone could not be reached: switched off, or out of range.",
    "30004": "The recipient or the carrier blocks this message.",
    "30005": "The number does not exist or is no longer in use.",
    "30006": "The number is a landline, or its carrier cannot be reached.",
    "30007": "The carrier filtered the message out as unwanted.",
    "30008": "The carrier did not deliver the message and gave no reason.",
    "30017": "The carrier's network is congested.",
    "30018": "The destination carrier requires a registration of the sender.",
    "30022": "The sender's messages per second at US carriers are used up.",
    "30023": "The sender's messages for today at US carriers are used up.",
    "30024": "The sender's number is not ready to send yet.",
    "30032": "The toll-free number is not verified.",
    "30034": "The sender is not registered for US A2P 10DLC.",
    "30410": "The next provider did not answer Twilio in time.",
    "30500": "Twilio had an internal error.",
    "63001": "WhatsApp does not accept the sender's channel credentials.",
    "63003": "The recipient cannot be reached on WhatsApp.",
    "63007": "The sender is not registered for WhatsApp with Twilio.",
    "63012": "WhatsApp had an internal error.",
    "63015": "The recipient has not joined the WhatsApp sandbox.",
    "63016": "More than 24 hours since the recipient last wrote: only a template can be sent.",
    "63017": "WhatsApp asks to send more slowly.",
    "63018": "The WhatsApp sender's rate limit is reached.",
    "63019": "WhatsApp could not fetch the attachment.",
    "63024": "The recipient's number is not valid for WhatsApp.",
    "63032": "WhatsApp does not deliver this message to this user.",
}


def explain(code: str | None) -> str | None:
    """What one of Twilio's error codes means, in plain words; None for one we have no words for."""
    return REASONS.get(code or "")


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    problems = [
        (name, "is not a name that Twilio accounts have") for name in given.keys() - CREDENTIALS
    ]
    values = {name: given[name].strip() for name in CREDENTIALS if given.get(name, "").strip()}
    problems += [(name, "is missing") for name in REQUIRED if name not in values]
    for name, value in values.items():
        if CREDENTIALS[name].fullmatch(value) is None:
            problems.append((name, "has characters, or a length, that it cannot have"))
    for one, other in (("api_key_sid", "api_key_secret"), ("api_key_secret", "api_key_sid")):
        if one in values and other not in values:
            problems.append((other, f"is missing beside {one}"))
    if problems:
        raise InvalidCredentials(tuple(sorted(problems)))
    return values


def address(channel: Channel, number: str) -> str:
    """A number in the form that Twilio wants; raises `Refused` for a channel it does not carry."""
    if channel not in PREFIX:
        raise Refused(f"Twilio messages do not carry {channel}.", code="channel")
    return PREFIX[channel] + number


def build(account: Account, outbound: Outbound, callback_url: str) -> dict[str, str | list[str]]:
    """The parameters of POST /Messages.json; the callback URL as it is, fragment and all."""
    form: dict[str, str | list[str]] = {
        "To": address(outbound.channel, outbound.to_address),
        "From": address(outbound.channel, outbound.from_address),
        "StatusCallback": callback_url,
        "Body": outbound.content.body,
    }
    if outbound.content.attachments:
        form["MediaUrl"] = [attachment.url for attachment in outbound.content.attachments]
    if service := account.credentials.get("messaging_service_sid"):
        form["MessagingServiceSid"] = service
    return form


def read(answer: Response) -> Sent:
    """What Twilio says of a message that was handed to it; raises a `SendError`."""
    payload = _payload(answer)
    if 200 <= answer.status_code < 300:
        sent = _sent(payload)
        if sent is None:
            raise AnswerLost("Twilio's answer names no message.", code="unreadable")
        return sent
    raise _refusal(answer, payload)


def _refusal(answer: Response, payload: object) -> Refused | RefusedForNow | AnswerLost:
    status = answer.status_code
    code, words = _error(payload)
    message = words or explain(code) or f"Twilio answered with HTTP status {status}."
    own = code is not None and words is not None
    later = code in RETRYABLE and status < 500
    if status == 429 or later or (status in {500, 503} and own):
        return RefusedForNow(message, code=code, retry_after=retry_after(answer.headers or {}))
    if status >= 500 or status == 408:
        return AnswerLost(message, code=code or f"http-{status}")
    if code == OPTED_OUT:
        return OptedOut(message, code=code)
    return Refused(message, code=code)


def _payload(answer: Response) -> object:
    try:
        return json.loads(answer.text)
    except (ValueError, RecursionError):
        return None


def _error(payload: object) -> tuple[str | None, str | None]:
    """Code and words of an error body, each only where it is what Twilio documents."""
    if not isinstance(payload, dict):
        return None, None
    code, words = payload.get("code"), payload.get("message", payload.get("title"))
    if isinstance(code, bool) or not re.fullmatch(r"\d{3,6}", str(code)):
        code = None
    words = " ".join(words.split())[:500] if isinstance(words, str) else None
    return (None if code is None else str(code)), words or None


def _sent(payload: object) -> Sent | None:
    if not isinstance(payload, dict):
        return None
    sid = payload.get("sid")
    if not isinstance(sid, str) or not re.fullmatch(r"[!-~]{1,64}", sid):
        return None
    names = (
        "status", "num_segments", "num_media", "price", "price_unit", "from",
        "messaging_service_sid", "error_code", "error_message", "date_created",
    )  # fmt: skip
    detail = {name: payload[name] for name in names if payload.get(name) is not None}
    return Sent(external_id=sid, detail=detail)


def matches(record: Record, account: Account, outbound: Outbound, since: datetime) -> bool:
    """Whether one of Twilio's records is this message, taken since then.

    We assume that Twilio keeps the body but for spaces around it and the ends of lines, and that
    trial accounts get a sentence before it. A date that cannot be read counts as recent, because
    the other mistake sends a message twice.
    """
    if record.get("direction") != "outbound-api":
        return False
    sender, service = record.get("from"), account.credentials.get("messaging_service_sid")
    if sender != address(outbound.channel, outbound.from_address) and not (
        sender is None and service and record.get("messaging_service_sid") == service
    ):
        return False
    created = parse_date(record.get("date_created"))
    return (
        record.get("to") == address(outbound.channel, outbound.to_address)
        and _plain(record.get("body")) == _plain(outbound.content.body)
        and (created is None or created >= since - CLOCK_SLACK)
    )


def _plain(body: object) -> str:
    text = body.removeprefix(TRIAL_PREFIX) if isinstance(body, str) else ""
    return text.replace("\r\n", "\n").strip()


class HttpClient(AsyncHttpClient):  # type: ignore[misc]  # the library is not typed
    """The library's transport, over `channels.http`: one request, its limits, its failures."""

    def __init__(self, session: aiohttp.ClientSession, api_url: str | None, limits: Limits) -> None:
        super().__init__(logging.getLogger("twilio"), is_async=True)
        self._session = session
        self._base = (api_url or API).rstrip("/")
        self._limits = limits

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        **_limits: object,  # timeout and allow_redirects: ours are set once
    ) -> Response:
        """Ask once and hand back whatever was answered, headers included."""
        query = "?" + urlencode(params, doseq=True) if params else ""
        url = self._base + uri.removeprefix(API) + query
        sent = dict(headers or {})
        if auth:
            sent["Authorization"] = aiohttp.encode_basic_auth(*auth)
        body = urlencode(data, doseq=True, errors="replace").encode() if data else None
        answer = await ask(
            self._session,
            method,
            url,
            provider="Twilio",
            headers=sent,
            body=body,
            limits=self._limits,
        )
        return Response(answer.status, answer.text, answer.headers)


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
        """Hand a message to Twilio with one POST; raises a `SendError`."""
        form = build(account, outbound, callback_url)
        client = self._client(account, session)
        answer = await client.request_async("POST", _messages(account), data=form)
        return read(answer)

    async def find(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        since: datetime,
    ) -> list[Sent]:
        """The messages like `outbound` that Twilio took since then, oldest first.

        Asked by recipient alone: DateSent is empty while a message is queued, and a filter on it
        misses recent ones (https://github.com/twilio/twilio-java/issues/442). Raises `AnswerLost`
        also when there are more records than we look through.
        """
        client = self._client(account, session)
        to = address(outbound.channel, outbound.to_address)
        url = _messages(account) + "?" + urlencode({"To": to, "PageSize": PAGE_SIZE})
        found: list[Record] = []
        for _ in range(PAGES):
            page = read_page(await client.request_async("GET", url))
            found += [each for each in page.records if matches(each, account, outbound, since)]
            if page.next_uri is None or page.ends_before(since - CLOCK_SLACK):
                found.reverse()  # Twilio lists the newest first, to the second
                found.sort(key=lambda record: parse_date(record.get("date_created")) or since)
                return [sent for record in found if (sent := _sent(record))]
            url = API + page.next_uri
        raise AnswerLost("Twilio lists too many messages to this recipient.", code="too-many")

    def _client(self, account: Account, session: aiohttp.ClientSession) -> Client:
        held = account.credentials
        user, password = held.get("account_sid"), held.get("auth_token")
        if held.get("api_key_sid"):
            user, password = held["api_key_sid"], held.get("api_key_secret")
        if not (held.get("account_sid") and user and password):
            raise Refused("The Twilio account's credentials are incomplete.", code="credentials")
        transport = HttpClient(session, account.api_url, self.limits)
        # An environment of its own, not empty: else the library reads the process's.
        return Client(
            user, password, held["account_sid"], http_client=transport, environment={"TWILIO": ""}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of Twilio's list, newest first, and where the next one is."""

    records: list[Record]
    next_uri: str | None

    def ends_before(self, moment: datetime) -> bool:
        """Whether every record of this page is older."""
        dates = [parse_date(each.get("date_created")) for each in self.records]
        return all(date is not None and date < moment for date in dates)


def read_page(answer: Response) -> Page:
    """One page of the list of messages; raises a `SendError`."""
    payload = _payload(answer)
    if not 200 <= answer.status_code < 300:
        raise _refusal(answer, payload)
    payload = payload if isinstance(payload, dict) else {}
    records = payload.get("messages")
    if not isinstance(records, list):
        raise AnswerLost("Twilio's list of messages cannot be read.", code="unreadable")
    following = payload.get("next_page_uri")
    # A path and nothing else: the credentials go to no other host.
    is_path = isinstance(following, str) and following.startswith("/")
    return Page(
        records=[each for each in records if isinstance(each, dict)],
        next_uri=following if is_path else None,
    )


def _messages(account: Account) -> str:
    return f"{API}/2010-04-01/Accounts/{account.credentials['account_sid']}/Messages.json"


half = Twilio()
send, find = half.send, half.find
