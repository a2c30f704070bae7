"""Calls the gateway's API, for `gateway send`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
from rich.markup import escape

from gateway.cli.output import err

FINAL = ("delivered", "read", "failed", "canceled")
SHOWN = ("id", "status", "to_address", "external_id", "error_code", "error_message")
_FOR_NOW = (502, 503, 504)
_PAUSES = (0.5, 1.5)  # seconds
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_NO_GATEWAY = "The answer did not come from a gateway; is GATEWAY_URL right?"


class ApiError(Exception):
    """The API refused the request, or did not answer."""


class AwayError(ApiError):
    """The API did not answer, or refused for now: the request may be repeated."""


async def send(url: str, key: str, request: dict[str, Any], patience: float) -> dict[str, Any]:
    """Send, then wait up to `patience` seconds for a final status; raises `ApiError`."""
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
        message = await _accepted(session, f"{url}/v1/messages", request)
        deadline = time.monotonic() + patience
        with err.status("Waiting for its delivery ...") as status:
            while message["status"] not in FINAL and time.monotonic() < deadline:
                await asyncio.sleep(0.2)
                try:
                    message = await _ask(session, "GET", f"{url}/v1/messages/{message['id']}")
                except ApiError as error:  # not raised: people would send the message again
                    status.update(f"{escape(str(error))} ...")
                else:
                    status.update(f"It is {message['status']} ...")
    return message


async def _accepted(
    session: aiohttp.ClientSession, url: str, request: dict[str, Any]
) -> dict[str, Any]:
    """The accepted message; thanks to the key, repeating the request cannot send it twice."""
    headers = {"Idempotency-Key": str(uuid4())}
    for pause in _PAUSES:
        with suppress(AwayError):
            return await _ask(session, "POST", url, request, headers)
        await asyncio.sleep(pause)
    return await _ask(session, "POST", url, request, headers)


async def _ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    try:
        # After a redirect the request would be repeated as GET and without the key: nothing would
        # be sent.
        async with session.request(
            method, url, json=body, headers=headers, allow_redirects=False
        ) as response:
            raw = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        said = str(error) or type(error).__name__
        raise AwayError(f"The gateway does not answer: {said}; is GATEWAY_URL right?") from None
    except ValueError as error:
        raise ApiError(f"Cannot ask it: {error}; are GATEWAY_URL and its key right?") from None
    if 300 <= response.status < 400:
        leads = response.headers.get("Location", "elsewhere")
        raise ApiError(f"{url} redirects to {leads}: set GATEWAY_URL to the gateway itself")
    try:
        answer = orjson.loads(raw)
    except ValueError:
        answer = None
    if response.status >= 400:
        kind = AwayError if response.status in _FOR_NOW else ApiError
        raise kind(f"{response.status}: {_reason(answer)}")
    if not isinstance(answer, dict) or not answer.keys() >= {*SHOWN}:
        raise ApiError(_NO_GATEWAY)
    return answer


def _reason(answer: object) -> str:
    """The text of a problem: the message of each field, or its detail."""
    if not isinstance(answer, dict):
        return _NO_GATEWAY
    errors = answer.get("errors")
    fields = [
        f"{error.get('field')}: {error.get('message')}"
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]
    return "; ".join(fields) or str(answer.get("detail") or _NO_GATEWAY)


def variables(given: Sequence[str]) -> dict[str, str]:
    """The values of NAME=VALUE, by name; raises `ApiError`."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ApiError(f"--var {text}: write NAME=VALUE")
        if name in found:
            raise ApiError(f"--var {name} is given twice")
        found[name] = value
    return found
