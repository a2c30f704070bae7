"""Downloads a file from a URL that others gave: limited in size and time, never an internal one.

DownloadError
├── DownloadRefused   another attempt would end the same: forbidden, gone, too large
└── DownloadLater     the server is down or busy: try again, after `retry_after` if it says so

Redirects are followed here, not by aiohttp: each URL is checked like the first, and only gets
credentials that the caller has for it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from channels.http import Limits, retry_after
from gateway.outside.heads import bounded
from gateway.outside.labels import filename_of, type_of
from gateway.outside.public import ForbiddenAddress, PublicResolver, check_url

MOST_REDIRECTS = 3

_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429)
_INFLATED = 2**16
# 16 + bits: gzip; plain: zlib, which is what "deflate" means (RFC 9110 §8.4.1.2)
_CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

# How many bytes of an error are read to decide whether it is temporary.
_ERROR_BYTES = 2**13

Authorize = Callable[[str], Mapping[str, str]]
MayPass = Callable[[bytes], bool]


class DownloadError(Exception):
    """The file could not be downloaded; `message` is one sentence for staff, without the URL."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class DownloadRefused(DownloadError):
    """Another attempt would end the same."""


class DownloadLater(DownloadError):
    """Another attempt may succeed; `retry_after` is the server's wish in seconds, or None."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A downloaded file; `headers` have lower-case names, `url` is the last one after redirects.

    `filename` is as the server sent it, unchecked.
    """

    content: bytes = field(repr=False)
    content_type: str | None
    filename: str | None
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Downloader:
    """Fetches files over two sessions; the first cannot reach an internal address.

    The second is for the one origin that an operator has allowed (`allowed_origin`). `resolver`
    resolves names for the first, and refuses forbidden ones.
    """

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver

    async def __aenter__(self) -> Self:
        # No DNS cache: only addresses that were just checked are connected to.
        self._names = self._resolver or PublicResolver()
        connector = aiohttp.TCPConnector(
            resolver=self._names, use_dns_cache=False, limit_per_host=8
        )
        self._public = _session(connector)
        self._named = _session(aiohttp.TCPConnector(limit_per_host=8))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._public.close()
        await self._named.close()
        await self._names.close()

    async def get(
        self,
        url: str,
        *,
        max_bytes: int,
        limits: Limits,
        authorize: Authorize | None = None,
        may_pass: MayPass | None = None,
        allowed_origin: str | None = None,
    ) -> File:
        """The file at a URL; raises a `DownloadError`.

        `authorize` returns headers for each URL, redirects included. If there are any, `may_pass`
        tells whether a 4xx answer is temporary (`DownloadLater`). `allowed_origin` (a URL) may be
        called whatever its address is, also after a redirect within it. `limits.total` is for all
        redirects together.
        """
        try:
            async with asyncio.timeout(limits.total):
                where, trusted = _read(url), origin(allowed_origin)
                is_named = where.origin() == trusted
                for _ in range(MOST_REDIRECTS + 1):
                    given = authorize(str(where)) if authorize else {}
                    named = is_named and where.origin() == trusted
                    if not named:
                        check_url(where)
                    asks = may_pass if given else None
                    found = await self._get(where, given, max_bytes, limits, asks, named=named)
                    if isinstance(found, File):
                        return found
                    where = found
            raise DownloadRefused("Its server sends from one address to the next.")
        except ForbiddenAddress as error:
            raise DownloadRefused(f"It is not fetched: {error}.") from None
        except TimeoutError as error:
            raise DownloadLater("Its server did not answer in time.") from error
        except aiohttp.InvalidURL as error:
            raise DownloadRefused("Its URL is not valid.") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise DownloadLater("Its server has no valid certificate.") from error
        except aiohttp.ClientConnectorError as error:
            raise DownloadLater("Its server cannot be reached.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise DownloadLater("The connection to its server broke.") from error

    async def _get(
        self,
        where: URL,
        headers: Mapping[str, str],
        max_bytes: int,
        limits: Limits,
        may_pass: MayPass | None,
        *,
        named: bool,
    ) -> File | URL:
        """The file, or the URL that the server redirects to."""
        session = self._named if named else self._public
        asked = {"Accept-Encoding": "identity", **headers}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect)
        async with session.get(
            where, headers=asked, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status in _REDIRECTS:
                return _next(where, response.headers.get("Location", ""))
            named_headers = {name.lower(): value for name, value in response.headers.items()}
            passes = (
                may_pass is not None
                and 400 <= response.status < 500
                and may_pass(await _beginning(response))
            )
            _raise_for(response.status, named_headers, passes=passes)
            return File(
                content=await _content(response, max_bytes),
                content_type=type_of(named_headers.get("content-type")),
                filename=filename_of(named_headers.get("content-disposition")),
                url=str(where),
                headers=named_headers,
            )


def why_never(url: str) -> str | None:
    """Why a URL that others gave is never fetched, as far as the URL itself shows."""
    try:
        check_url(_read(url))
    except ForbiddenAddress as error:
        return str(error)
    except DownloadRefused:
        return "its URL is not valid"
    return None


def origin(url: str | None) -> URL | None:
    """Scheme, host and port of a URL; None if it has none."""
    try:
        return URL(url or "", encoded=True).origin()
    except ValueError:
        return None


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    # No proxies or .netrc from the environment; no cookie is passed from one account to another.
    return aiohttp.ClientSession(
        connector=bounded(connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
    )


def _read(url: str) -> URL:
    # Unchanged where possible: a signature in it may cover every character.
    as_is = all("!" <= letter <= "~" for letter in url)
    try:
        where = URL(url, encoded=as_is)
        _ = where.origin(), where.port  # raises without a host or a valid port
    except ValueError:
        raise DownloadRefused("Its URL is not valid.") from None
    return where


def _next(where: URL, location: str) -> URL:
    if not location:
        raise DownloadRefused("Its server sends to another address and does not say which.")
    try:
        to = where.join(URL(location, encoded=True))
    except ValueError:
        raise DownloadRefused("Its server redirects to an address that is not valid.") from None
    to = _read(str(to))
    if where.scheme == "https" and to.scheme != "https":
        raise DownloadRefused("Its server sends from https to http.")
    return to


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) >= _ERROR_BYTES:
            break
    return bytes(content[:_ERROR_BYTES])


def _raise_for(status: int, headers: Mapping[str, str], *, passes: bool) -> None:
    if 200 <= status < 300:
        return
    text = f"Its server answered {status}."
    if passes or status >= 500 or status in _LATER:
        raise DownloadLater(text, status=status, retry_after=retry_after(headers))
    raise DownloadRefused(text, status=status)


async def _content(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", *_CODINGS):
        raise DownloadRefused("Its server compresses it in a way that is not known here.")
    if response.content_length is not None and response.content_length > max_bytes:
        raise _too_large(max_bytes)
    inflate = zlib.decompressobj(_CODINGS[coding]) if coding in _CODINGS else None
    content = bytearray()
    async for chunk in response.content.iter_any():
        if inflate is None:
            content += chunk
        else:
            _inflate(inflate, chunk, content, max_bytes)
        if len(content) > max_bytes:
            raise _too_large(max_bytes)
    if inflate is not None and not inflate.eof:
        raise DownloadLater("Its server sent only a part of it.")
    return bytes(content)


def _inflate(inflate: zlib._Decompress, chunk: bytes, content: bytearray, max_bytes: int) -> None:
    """Unpack in small pieces, so that a decompression bomb stops at the limit."""
    left, piece = chunk, b"."
    try:
        # Also without input: after a full piece there may be more output.
        while (left or len(piece) == _INFLATED) and not inflate.eof and len(content) <= max_bytes:
            piece = inflate.decompress(left, _INFLATED)
            content += piece
            left = inflate.unconsumed_tail
    except zlib.error:
        raise DownloadRefused("What its server sent cannot be unpacked.") from None


def _too_large(max_bytes: int) -> DownloadRefused:
    size = f"{max_bytes // 2**20} MiB" if max_bytes >= 2**20 else f"{max_bytes} bytes"
    return DownloadRefused(f"It is larger than {size}.")
