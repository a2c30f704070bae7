"""`gateway send`: through the API, as an internal service would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any
from uuid import uuid4

import aiohttp
import orjson
import typer

from channels.model import Channel
from gateway.cli.output import Json, err, show
from gateway.config import SettingsError, read_settings

_FINAL = ("delivered", "read", "failed", "canceled")
_SHOWN = ("id", "status", "to_address", "external_id", "error_code", "error_message")
_FOR_NOW = (502, 503, 504)
_PAUSES = (0.5, 1.5)  # seconds
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_NO_GATEWAY = "That was no answer of a gateway; is GATEWAY_URL right?"


class ApiError(Exception):
    """The gateway's API said no, or did not answer."""


class AwayError(ApiError):
    """It did not answer, or only for now: the same may be asked once more."""


def send(
    channel: Annotated[Channel, typer.Option()],
    to: Annotated[str, typer.Option(help="An address on that channel.")],
    template: Annotated[str | None, typer.Option(help="Name or id of a template.")] = None,
    var: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the template.")] = None,
    body: Annotated[str | None, typer.Option(help="The text, without a template.")] = None,
    subject: Annotated[str | None, typer.Option(help="The subject of an e-mail.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="A sender's address.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it is delivered, or has failed.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=1)] = 60,
    as_json: Json = False,
) -> None:
    """Send a message; GATEWAY_URL and GATEWAY_API_KEY say where and as whom."""
    settings = read_settings()
    if settings.gateway_api_key is None:
        raise SettingsError("GATEWAY_API_KEY: is needed; make one with 'gateway key create'")
    given = {
        "channel": str(channel),
        "to": to,
        "from": from_,
        "template": template,
        "body": body,
        "subject": subject,
        "variables": dict(_variable(text) for text in var) if var else None,
    }
    request = {name: value for name, value in given.items() if value is not None}
    url = settings.gateway_url or f"http://127.0.0.1:{settings.port}"
    message = asyncio.run(_send(url, settings.gateway_api_key, request, timeout if wait else 0))
    show(message if as_json else {name: message[name] for name in _SHOWN}, as_json=as_json)
    if wait and message["status"] not in ("delivered", "read", "sent"):
        raise typer.Exit(1)


async def _send(url: str, key: str, request: dict[str, Any], patience: float) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
        message = await _accepted(session, f"{url}/v1/messages", request)
        deadline = time.monotonic() + patience
        with err.status("Waiting for its delivery ...") as status:
            while message["status"] not in _FINAL and time.monotonic() < deadline:
                await asyncio.sleep(0.2)
                try:
                    message = await _ask(session, "GET", f"{url}/v1/messages/{message['id']}")
                except AwayError:  # it was accepted: who reads an error here sends it again
                    status.update("The gateway does not answer ...")
                else:
                    status.update(f"It is {message['status']} ...")
    return message


async def _accepted(
    session: aiohttp.ClientSession, url: str, request: dict[str, Any]
) -> dict[str, Any]:
    """The message, also where an answer was lost: the same key makes it the same message."""
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
        # Somebody who follows asks by GET, and without the key: nothing would be sent.
        async with session.request(
            method, url, json=body, headers=headers, allow_redirects=False
        ) as response:
            raw = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        said = str(error) or type(error).__name__
        raise AwayError(f"The gateway does not answer: {said}; is GATEWAY_URL right?") from None
    except ValueError as error:
        raise ApiError(f"It cannot be asked: {error}; are GATEWAY_URL and its key right?") from None
    if 300 <= response.status < 400:
        leads = response.headers.get("Location", "elsewhere")
        raise ApiError(f"{url} leads to {leads}: set GATEWAY_URL to where the gateway itself is")
    try:
        answer = orjson.loads(raw)
    except ValueError:
        answer = None
    if response.status >= 400:
        kind = AwayError if response.status in _FOR_NOW else ApiError
        raise kind(f"{response.status}: {_reason(answer)}")
    if not isinstance(answer, dict) or not answer.keys() >= {*_SHOWN}:
        raise ApiError(_NO_GATEWAY)
    return answer


def _reason(answer: object) -> str:
    """What a problem says: each field, or its detail."""
    if not isinstance(answer, dict):
        return _NO_GATEWAY
    errors = answer.get("errors")
    fields = [
        f"{error.get('field')}: {error.get('message')}"
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]
    return "; ".join(fields) or str(answer.get("detail") or _NO_GATEWAY)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ApiError(f"--var {text}: write NAME=VALUE")
    return name, value


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(send)
