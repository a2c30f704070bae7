"""One request to a provider: sent once, bounded in time and size, with its failures told apart.

A request that cannot have arrived is `RefusedForNow`; one that may have is `AnswerLost`. Nothing is
retried and no redirect is followed: a second POST would be a second message.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp
from yarl import URL

from channels.errors import AnswerLost, CutOff, RefusedForNow
from channels.json_text import load
from channels.leaving import Body, seconds_more

ANSWER_BYTES = 8 * 2**20
LONGEST_WAIT = 24 * 3600.0
_YEARS = (1970, 2200)
_DATE_CHARACTERS = 100
_ZONE = re.compile(
    r"\s+(?:GMT|UTC?)?([+-])(\d\d?)(?::?(\d\d))?(?=\s*(?:\(|$))", re.ASCII | re.IGNORECASE
)
# How each byte is written in a form; `str.translate` takes a third of the time of `quote_plus`.
_IN_FORMS = [quote_plus(bytes([byte])) for byte in range(256)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long a request may take, in seconds: to connect, and in all (large ones longer).

    Looking up the host and waiting for a free connection may take another `connect` seconds.
    """

    connect: float = 5.0
    total: float = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a provider answered; `headers` have lower-case names."""

    status: int
    text: str
    headers: Mapping[str, str]


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a provider answered; {} for anything else."""
    try:
        payload = load(text)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def words_of(value: object) -> str:
    """A provider's own words on one line, cut to 500 characters; empty if it gave none."""
    return " ".join(value.split())[:500] if isinstance(value, str) else ""


def form_body(form: Mapping[str, object]) -> bytes:
    """A form as `application/x-www-form-urlencoded`; a list becomes one field for each item."""
    return "&".join(
        f"{_in_form(name)}={_in_form(str(each))}"
        for name, value in form.items()
        for each in (value if isinstance(value, list) else (value,))
    ).encode()


def _in_form(text: str) -> str:
    return text.encode(errors="replace").decode("latin-1").translate(_IN_FORMS)


def leads_to(url: str, hosts: re.Pattern[str], api_url: str | None) -> bool:
    """Whether a URL is on one of the provider's hosts over https, or on the origin of `api_url`.

    Only such a URL may get credentials: no other port, no user in it, and nothing that two parsers
    could take for two different hosts.
    """
    origin = _origin(url)
    if origin is None:
        return False
    scheme, host, port = origin
    is_own = (scheme, port) == ("https", 443) and hosts.fullmatch(host) is not None
    return is_own or (api_url is not None and origin == _origin(api_url))


def _origin(url: str) -> tuple[str, str, int] | None:
    if not re.fullmatch(r"[!-\[\]-~]+", url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    if "@" in parts.netloc or not parts.hostname or port is None:
        return None
    return parts.scheme, parts.hostname, port


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    provider: str,
    headers: Mapping[str, str],
    body: bytes | None,
    limits: Limits,
) -> Answer:
    """Send one request and read its answer; `provider` is the name used in messages.

    If it is cancelled before the whole request has left, it raises `CutOff`: whoever cancels the
    task must wait until that is recorded.

    aiohttp itself repeats only idempotent methods, and only on a reused connection
    (https://github.com/aio-libs/aiohttp/blob/v3.14.0/aiohttp/client.py#L739).
    """
    # With `connect` aiohttp raises another error if time runs out before there is a connection,
    # which includes the look-up. With `total` alone that would look like a lost answer.
    total = limits.total + seconds_more(len(body or b""))
    timeout = aiohttp.ClientTimeout(
        total=total,
        connect=2 * limits.connect,
        sock_connect=limits.connect,
    )
    try:
        where = URL(url, encoded=True)
    except ValueError as error:
        raise RefusedForNow(
            f"The address of {provider} is not valid.", code="unreachable"
        ) from error
    leaving = None if body is None else Body(body, total)
    try:
        return await _ask(session, method, where, headers, leaving, timeout)
    except BaseException as error:
        is_partial = leaving is not None and leaving.is_partial
        if leaving is not None:
            leaving.cut()
        if isinstance(error, aiohttp.ClientError | OSError):
            raise _failure(provider, error, is_partial=is_partial) from error
        if isinstance(error, asyncio.CancelledError) and is_partial:
            raise CutOff from error
        raise


async def _ask(
    session: aiohttp.ClientSession,
    method: str,
    where: URL,
    headers: Mapping[str, str],
    leaving: Body | None,
    timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
) -> Answer:
    async with session.request(
        method,
        where,
        data=leaving,
        headers=headers,
        timeout=timeout,
        allow_redirects=False,
    ) as response:
        text = await _text(response)
        named = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status, text=text, headers=named)


def _failure(provider: str, error: Exception, *, is_partial: bool) -> RefusedForNow | AnswerLost:
    """What the error of a request means; nobody can have taken one that left in part."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return RefusedForNow(f"{provider} cannot be reached.", code="unreachable")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return RefusedForNow(f"The address of {provider} is not valid.", code="unreachable")
    is_late = isinstance(error, TimeoutError)
    if is_partial:
        how = "was too slow" if is_late else "broke"
        text = f"The connection to {provider} {how} before all of the message had left."
        return RefusedForNow(text, code="timeout" if is_late else "reset")
    if is_late:
        return AnswerLost(f"{provider} did not answer in time.", code="timeout")
    return AnswerLost(f"The connection to {provider} broke.", code="reset")


async def _text(response: aiohttp.ClientResponse) -> str:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > ANSWER_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return data.decode(errors="replace")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the provider wants to be asked again, at most a day; None if it does not say.

    Retry-After is a number of seconds or a date (RFC 9110 §10.2.3). A date is compared with the
    answer's own Date, so that it does not matter if our clock is wrong.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), LONGEST_WAIT)
    until, now = parse_date(text), parse_date(headers.get("date")) or datetime.now(UTC)
    if until is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), LONGEST_WAIT)


def parse_date(text: object) -> datetime | None:
    """A date in the form of mail and HTTP (RFC 2822); None if it cannot be read."""
    if not isinstance(text, str) or not text:
        return None
    if len(text) <= _DATE_CHARACTERS:
        text = _ZONE.sub(_as_rfc_2822, text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return in_calendar(date if date.tzinfo else date.replace(tzinfo=UTC))


def _as_rfc_2822(zone: re.Match[str]) -> str:
    """A zone such as +02:00 or GMT+2 as +0200: the library takes all other forms for UTC."""
    sign, hours, minutes = zone.groups(default="00")
    return f" {sign}{hours:0>2}{minutes}"


def in_calendar(date: datetime) -> datetime | None:
    """A time in UTC; None if it is outside of the years that are plausible, or of the calendar."""
    try:
        date = date.astimezone(UTC)
    except OverflowError:
        return None
    return date if _YEARS[0] <= date.year <= _YEARS[1] else None
