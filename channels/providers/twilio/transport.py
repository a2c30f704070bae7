"""Requests to Twilio's API: its library's `Client`, over an HTTP client of ours.

The library's own HTTP client repeats a POST after a 500, and its exceptions lose Retry-After. For
sending, only the headers are taken from `Client`, once: they do not change.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from urllib.parse import urlencode

import aiohttp
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from channels.errors import AnswerLost, Refused
from channels.http import Limits, ask, form_body, leads_to, parse_date
from channels.model import Account
from channels.providers.twilio.answers import Page, Record, read_page

API: Final = "https://api.twilio.com"
PAGE_SIZE, PAGES = 200, 10
# A time that we recorded may be so much too late, if our clock was set back afterwards.
CLOCK_SLACK = timedelta(seconds=90)

# The API and its media, also in an edge location and region that the account has chosen
# https://www.twilio.com/docs/global-infrastructure/using-the-twilio-rest-api-in-a-non-us-region
_HOST = re.compile(r"(api|mcs)(\.[a-z0-9-]{1,32}){0,2}\.twilio\.com")


class HttpClient(AsyncHttpClient):  # type: ignore[misc]  # the library is not typed
    """The library's transport over `channels.http`: one request, with our limits and errors."""

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
        **_limits: object,  # timeout and allow_redirects, for which we have our own
    ) -> Response:
        """Send one request and return the answer, whatever it is, with its headers."""
        query = "?" + urlencode(params, doseq=True) if params else ""
        url = self._base + uri.removeprefix(API) + query
        sent = dict(headers or {})
        if auth:
            sent["Authorization"] = aiohttp.encode_basic_auth(*auth)
        answer = await ask(
            self._session,
            method,
            url,
            provider="Twilio",
            headers=sent,
            body=form_body(data) if data else None,
            limits=self._limits,
        )
        return Response(answer.status, answer.text, answer.headers)


def client(account: Account, session: aiohttp.ClientSession, limits: Limits) -> Client:
    """The library's client for an account; raises `Refused` if credentials are missing."""
    user, password, sid = _login(account)
    transport = HttpClient(session, account.api_url, limits)
    # Its own environment, which must not be empty: else the library reads that of the process.
    return Client(user, password, sid, http_client=transport, environment={"TWILIO": ""})


async def post(
    account: Account,
    session: aiohttp.ClientSession,
    limits: Limits,
    name: str,
    body: bytes,
) -> Response:
    """Twilio's answer, whatever it is, to one POST of a form; raises a `SendError`."""
    user, password, _ = _login(account)
    authorization = aiohttp.encode_basic_auth(user, password)
    url = (account.api_url or API).rstrip("/") + resource(account, name).removeprefix(API)
    answer = await ask(
        session,
        "POST",
        url,
        provider="Twilio",
        headers={**_library_headers(), "Authorization": authorization},
        body=body,
        limits=limits,
    )
    return Response(answer.status, answer.text, answer.headers)


@cache
def _library_headers() -> Mapping[str, str]:
    """The headers that the library sends with a POST, which are the same for every account."""
    said: dict[str, str] = Client("none", "none", environment={"TWILIO": ""}).get_headers(
        "POST", None
    )
    return said


def _login(account: Account) -> tuple[str, str, str]:
    """User, password and account SID; raises `Refused` if one is missing."""
    auth, sid = _auth(account), account.credentials.get("account_sid")
    if auth is None or not sid:
        raise Refused("The Twilio account's credentials are incomplete.", code="credentials")
    return *auth, sid


def authorize(account: Account, url: str) -> Mapping[str, str]:
    """The headers to fetch a file or record from Twilio; {} for every other host."""
    auth = _auth(account)
    if auth is None or not leads_to(url, _HOST, account.api_url):
        return {}
    return {"Authorization": aiohttp.encode_basic_auth(*auth)}


def _auth(account: Account) -> tuple[str, str] | None:
    """User and password: those of the API key if there is one, else those of the account."""
    held = account.credentials
    user, password = held.get("account_sid"), held.get("auth_token")
    if held.get("api_key_sid"):
        user, password = held["api_key_sid"], held.get("api_key_secret")
    return (user, password) if user and password else None


def resource(account: Account, name: str) -> str:
    """The URL where messages or calls are created and listed."""
    return f"{API}/2010-04-01/Accounts/{account.credentials['account_sid']}/{name}.json"


async def search(
    client: Client,
    url: str,
    *,
    name: str,
    matches: Callable[..., bool],
    since: datetime,
) -> list[Record]:
    """The records of a list that match (`since` then), oldest first.

    Raises `AnswerLost` also if there are more records than we look through.
    """
    found: list[Record] = []
    for turn in range(PAGES):
        answer = await client.request_async("GET", url)
        page = read_page(answer, name)
        if turn == 0:
            since = _by_their_clock(since, answer.headers or {})
        found += [each for each in page.records if matches(each, since=since)]
        if page.next_uri is None or page.ends_before(since - CLOCK_SLACK):
            found.reverse()  # Twilio lists the newest first, to the second
            found.sort(key=lambda record: parse_date(record.get("date_created")) or since)
            return found
        url = API + page.next_uri
    raise AnswerLost(f"Twilio lists too many {name} to this recipient.", code="too-many")


async def newest(client: Client, url: str, since: datetime) -> tuple[Page, datetime]:
    """The first page of a list of messages, and `since` by Twilio's clock; raises a `SendError`."""
    answer = await client.request_async("GET", url)
    return read_page(answer), _by_their_clock(since, answer.headers or {})


def _by_their_clock(moment: datetime, headers: Mapping[str, str]) -> datetime:
    """A time of ours by Twilio's clock, which dates its records: ours may be wrong."""
    now = parse_date(headers.get("date"))
    return moment if now is None else moment + (now - datetime.now(UTC))


def is_recent(record: Record, since: datetime) -> bool:
    """Whether a record was made since then.

    A date that cannot be read counts as recent, because otherwise a message might be sent twice.
    """
    created = parse_date(record.get("date_created"))
    return created is None or created >= since - CLOCK_SLACK
