"""POSTs to a URL that others gave: once, limited in size and time, never to an internal address.

No redirect is followed: nobody asked to send it to another URL. URLs are checked as for downloads
(`public.py`), and must be https; an operator may exempt origins from both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from channels.http import retry_after
from channels.names import OwnThreads
from gateway.outside.heads import bounded
from gateway.outside.public import LOOK_UPS, ForbiddenAddress, PublicResolver, check_url

_PORTS = (443, 8443)
# The body of an answer is dropped; so many bytes are read, for so many seconds, so that the
# connection can be reused.
_ANSWER_BYTES, _REST = 2**14, 1.0
_CONNECT = 5.0  # seconds for a connection
# Seconds to keep connections: less than most servers do, so that a reused one is rarely closed.
_KEPT = 4.0
_CONNECTIONS = 200


class NotPosted(Exception):
    """It is not known that anybody has taken it; the text is one sentence that says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """The status of an answer, and the seconds of its Retry-After, if any."""

    status: int
    retry_after: float | None


def read(url: str, origins: Collection[str] = ()) -> URL:
    """A URL to post to; raises `ForbiddenAddress`, whose text says why it must not be used."""
    try:
        where = URL(url, encoded=True)
        named = _origin(where) in origins  # raises without a host or a valid port
    except ValueError:
        raise ForbiddenAddress("its URL is not valid") from None
    if not all("!" <= letter <= "~" for letter in url) or "#" in url:
        raise ForbiddenAddress("its URL has a space, a fragment, or characters beyond ASCII")
    if where.user is not None or where.password is not None:
        raise ForbiddenAddress("its URL holds a user name or a password")
    if not named:
        if where.scheme != "https":
            raise ForbiddenAddress("its URL is not https")
        if where.port not in _PORTS:
            raise ForbiddenAddress("its URL names an unusual port")
        check_url(where)
    return where


def _origin(where: URL) -> str:
    return str(where.origin()).lower()


class Poster:
    """POSTs over two sessions; the first cannot reach an internal address.

    The second is for the `origins` that an operator has exempted, in the form `http://host:port`,
    without a default port. `resolver` resolves names for the first, and refuses forbidden ones.
    """

    def __init__(
        self,
        origins: Collection[str] = (),
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._origins = origins
        self._resolver = resolver

    async def __aenter__(self) -> Self:
        # No DNS cache: only addresses that were just checked are connected to.
        self._threads = OwnThreads(LOOK_UPS)
        public = self._resolver or PublicResolver(self._threads)
        self._public = _session(resolver=public, use_dns_cache=False)
        self._named = _session(resolver=self._threads)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._public.close()
        await self._named.close()
        await self._threads.close()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float
    ) -> Taken:
        """Post it once, and return what is answered within `seconds`; raises `NotPosted`."""
        try:
            return await self._post(read(url, self._origins), body, headers, seconds)
        except ForbiddenAddress as error:
            raise NotPosted(f"It is not sent there: {error}.") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise NotPosted("Its server has no valid certificate.") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotPosted("Its server cannot be reached.") from error
        except TimeoutError as error:
            raise NotPosted(f"Its server did not answer within {seconds:g} seconds.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NotPosted("The connection to its server broke.") from error

    async def _post(
        self, where: URL, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> Taken:
        session = self._named if _origin(where) in self._origins else self._public
        async with asyncio.timeout(seconds):
            response = await session.post(where, data=body, headers=headers, allow_redirects=False)
        async with response:
            # It is answered: errors in the rest of the answer do not matter.
            with suppress(aiohttp.ClientError, OSError):
                async with asyncio.timeout(_REST):
                    await _pass_over(response.content)
            named = {name.lower(): value for name, value in response.headers.items()}
            return Taken(status=response.status, retry_after=retry_after(named))


async def _pass_over(content: aiohttp.StreamReader) -> None:
    size = 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > _ANSWER_BYTES:
            return  # the connection is closed then


def _session(**options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - aiohttp's own
    # No proxies or .netrc from the environment; no cookie is passed from one receiver to another.
    return aiohttp.ClientSession(
        connector=bounded(
            aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEPT, **options),
            reads_bodies=False,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
        trust_env=False,
        auto_decompress=False,
    )
