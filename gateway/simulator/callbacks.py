"""Delivery of callbacks, with time limits and retries; failures are recorded, never raised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from time import monotonic
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

# How many bytes of an answer are read.
MAX_ANSWER = 64 * 1024
# How many bytes of a file are fetched.
MAX_FILE = 40 * 1024 * 1024


class UnreachableError(Exception):
    """A file could not be fetched; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long (in seconds) and how often one delivery is tried.

    `retry_on` holds `ct` (no connection), `rt` (no answer in time), `4xx`, `5xx`.
    """

    connect: float = 5.0
    read: float = 15.0
    total: float = 15.0
    retries: int = 1
    retry_on: frozenset[str] = frozenset({"ct"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """One request to make; `url` has no fragment, and is sent byte for byte."""

    url: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str]
    limits: Limits = field(default_factory=Limits)
    username: str | None = None
    password: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try: the status that came back, or why there is none (`kind` as in `Limits`)."""

    at: datetime
    status: int | None = None
    kind: str | None = None
    error: str | None = None


@dataclass(kw_only=True, slots=True)
class Delivery:
    """The attempts at one callback, and the last answer."""

    event: str
    url: str
    attempts: list[Attempt] = field(default_factory=list)
    answer: str = ""
    content_type: str | None = None
    done: bool = False

    @property
    def status(self) -> int | None:
        """The last answer's status, None if there was none."""
        return self.attempts[-1].status if self.attempts else None

    def as_json(self) -> dict[str, object]:
        """The delivery as `/_sim` shows it."""
        return {
            "event": self.event,
            "url": self.url,
            "status": self.status,
            "done": self.done,
            "attempts": [
                {
                    "at": attempt.at.isoformat(),
                    "status": attempt.status,
                    **({"error": attempt.error} if attempt.error else {}),
                }
                for attempt in self.attempts
            ],
        }


def is_callable_url(url: str) -> bool:
    """Whether a callback can be sent to this URL: http or https, a host, no spaces."""
    if any(character.isspace() or not character.isprintable() for character in url):
        return False
    try:
        parts = urlsplit(url)
        # `port` is checked only when it is read.
        return parts.scheme.lower() in {"http", "https"} and bool(
            parts.hostname and parts.port != 0
        )
    except ValueError:
        return False


class Caller:
    """Makes the callbacks of all providers over one session.

    `retry_wait` are the seconds before the first retry, doubled for each next one.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        clock: Callable[[], datetime],
        *,
        retry_wait: float,
    ) -> None:
        """Use `session`, which the caller closes."""
        self._session = session
        self._clock = clock
        self._retry_wait = retry_wait

    async def deliver(self, callback: Callback, delivery: Delivery) -> None:
        """Send `callback`, as often as its limits allow, and write the answers into `delivery`."""
        limits = callback.limits
        end = monotonic() + limits.total
        for turn in range(limits.retries + 1):
            attempt = await self._attempt(callback, delivery, end - monotonic())
            delivery.attempts.append(attempt)
            if attempt.kind not in limits.retry_on:
                break
            wait = self._retry_wait * 2**turn
            if turn == limits.retries or monotonic() + wait >= end:
                break
            await asyncio.sleep(wait)
        delivery.done = True

    async def fetch(self, url: str) -> bytes:
        """The file at `url`; raises `UnreachableError`."""
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            async with self._session.get(url, timeout=timeout) as response:
                if response.status != 200:
                    raise UnreachableError(f"it answered {response.status}")
                return await response.content.read(MAX_FILE)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnreachableError(_text(error)) from None

    async def _attempt(self, callback: Callback, delivery: Delivery, left: float) -> Attempt:
        """Make one request; `left` seconds remain of the delivery's total."""
        at = self._clock()
        try:
            status = await self._request(callback, delivery, left)
            if status == 401 and callback.username is not None:
                auth = aiohttp.encode_basic_auth(callback.username, callback.password, "utf-8")
                status = await self._request(callback, delivery, left, auth)
        except aiohttp.ConnectionTimeoutError as error:
            return Attempt(at=at, kind="ct", error=_text(error))
        except TimeoutError as error:
            return Attempt(at=at, kind="rt", error=_text(error))
        except (aiohttp.ClientConnectionError, OSError) as error:
            # The connection was refused or broke, or the host is unknown.
            return Attempt(at=at, kind="ct", error=_text(error))
        except (aiohttp.ClientError, ValueError) as error:
            return Attempt(at=at, kind="rt", error=_text(error))
        kind = {4: "4xx", 5: "5xx"}.get(status // 100)
        return Attempt(at=at, status=status, kind=kind)

    async def _request(
        self,
        callback: Callback,
        delivery: Delivery,
        left: float,
        auth: str | None = None,
    ) -> int:
        limits = callback.limits
        timeout = aiohttp.ClientTimeout(
            total=max(left, 0.001), sock_connect=limits.connect, sock_read=limits.read
        )
        headers = dict(callback.headers)
        if auth is not None:
            headers["Authorization"] = auth
        async with self._session.request(
            callback.method,
            URL(callback.url, encoded=True),
            # As a stream, because aiohttp warns about large bodies of bytes.
            data=BytesIO(callback.body) if callback.body else None,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            raw = await response.content.read(MAX_ANSWER)
            delivery.answer = raw.decode("utf-8", "replace")
            delivery.content_type = response.headers.get("Content-Type")
            return response.status


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
