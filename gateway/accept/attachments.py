"""The files of a request to send, read and checked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import urlsplit

from channels.kinds import bare_type
from channels.model import Attachment, Channel
from gateway.accept.compose import ComposeError
from gateway.media.links import media_id_of
from gateway.outside.download import why_never
from gateway.problems import FieldError
from gateway.shapes.messages import AttachmentIn, SendRequest
from gateway.store.media import Media

# How many files a message may have.
_MOST = {Channel.EMAIL: 20, Channel.SMS: 10, Channel.WHATSAPP: 1}
# Bytes of their URLs, names and types: no worker reads a row with 64 KiB of them (queue.sql).
_SAID_BYTES = 48 * 2**10
# What a provider plays of the types under which it is served our files (`gateway.media.kinds`).
# https://www.twilio.com/docs/voice/twiml/play#supported-audio-file-types
_PLAYED = frozenset({"audio/mpeg", "audio/wav"})
# The same words for another organization's file as for none: nobody learns which ids exist.
LACKS = "is none of the files of your organization"


def read(request: SendRequest, ours: Mapping[str, Media | None]) -> tuple[Attachment, ...]:
    """The files of a request, inline ones with bytes; raises `ComposeError` with all errors.

    `ours`: our own files by their URLs, None for one that the organization does not have. Files of
    a call are ignored here: `well_formed` refuses them.
    """
    given = request.attachments
    if request.channel is Channel.CALL or not given:
        return ()
    errors: list[FieldError] = []
    most = _MOST[request.channel]
    if len(given) > most:
        errors.append(FieldError("attachments", f"are at most {most} on {request.channel}"))
    if sum(map(_said_bytes, given[:most])) > _SAID_BYTES:
        says = f"have URLs, names and types of more than {_SAID_BYTES // 2**10} KiB together"
        errors.append(FieldError("attachments", says))
    files = [
        _read(f"attachments.{n}", one, request.channel, ours, errors)
        for n, one in enumerate(given[:most])
    ]
    if errors:
        raise ComposeError(*errors)
    return tuple(file for file in files if file is not None)


def unplayable(url: str | None, ours: Mapping[str, Media | None]) -> str | None:
    """Why a call cannot play what is at a URL; None also if that is not known."""
    if url is None or url not in ours:
        return None
    file = ours[url]
    if file is None:
        return LACKS
    if file.state == "stored" and bare_type(file.content_type) not in _PLAYED:
        return f"is of type {file.content_type}, which no call plays: give an MP3 or a WAV file"
    return None


def _read(
    name: str,
    given: AttachmentIn,
    channel: Channel,
    ours: Mapping[str, Media | None],
    errors: list[FieldError],
) -> Attachment | None:
    if (given.url is None) == (given.content is None):
        errors.append(FieldError(name, "needs either a url or a content"))
        return None
    if given.url is not None:
        own = ours.get(given.url)
        lacks = LACKS if own is None and given.url in ours else None
        if wrong := lacks or _wrong(given.url, channel):
            errors.append(FieldError(f"{name}.url", wrong))
            return None
        return Attachment(
            url=given.url,
            filename=given.filename,
            content_type=given.content_type,
            size=own.size if own else None,
        )
    try:
        content = base64.b64decode(given.content or "", validate=True)
    except (binascii.Error, ValueError):
        errors.append(FieldError(f"{name}.content", "is not base64"))
        return None
    missing = [
        FieldError(f"{name}.{field}", "is needed beside content")
        for field in ("filename", "content_type")
        if not getattr(given, field)
    ]
    if not content:
        missing.append(FieldError(f"{name}.content", "is empty"))
    errors += missing
    return Attachment(
        filename=given.filename,
        content_type=given.content_type,
        size=len(content),
        content=content,
    )


def _said_bytes(given: AttachmentIn) -> int:
    said = (given.url, given.filename, given.content_type)
    return sum(len(text.encode()) for text in said if text)


def _wrong(url: str, channel: Channel) -> str | None:
    """What is wrong with a URL; the files of mails are fetched by us, all others by providers."""
    if not _is_url(url):
        return "is not a complete http:// or https:// URL"
    is_fetched = channel is Channel.EMAIL and media_id_of(url) is None
    if is_fetched and (why := why_never(url)):
        return f"is never fetched: {why}"
    return None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    has_host = parts.scheme in ("http", "https") and bool(parts.hostname)
    return (
        has_host and not any(c.isspace() or ord(c) < 32 for c in text) and "@" not in parts.netloc
    )
