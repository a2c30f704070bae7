"""Webhooks whose bodies aiohttp cannot decode: they are answered after what is checked before that.

aiohttp refuses them unread, as soon as it has their heads, and does not tell what was asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import StreamReader

_CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Reread:
    """A request whose body raises when it is read, and a parser for the rest of it."""

    parser: HttpRequestParser
    message: RawRequestMessage
    body: StreamReader


def reread(
    protocol: BaseProtocol,
    loop: asyncio.AbstractEventLoop,
    raw: bytes,
    error: ContentEncodingError,
    *,
    max_line_size: int,
    max_field_size: int,
) -> Reread | None:
    """The request that `raw` is the head of; None for what is no webhook, or not such a head.

    `error` is what reading its body raises.
    """
    parser = HttpRequestParser(
        protocol,
        loop,
        _CHUNK,
        max_line_size=max_line_size,
        max_field_size=max_field_size,
        payload_exception=web.RequestPayloadError,
        auto_decompress=False,
    )
    try:
        messages, _, _ = parser.feed_data(raw)
    except HttpProcessingError:
        return None
    if len(messages) != 1 or "/webhooks/" not in messages[0][0].url.path:
        return None
    message, body = messages[0]
    body.set_exception(error)
    return Reread(parser, message, body)
