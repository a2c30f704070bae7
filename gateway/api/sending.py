"""The answers to sending: of one message, a batch, a retry or a reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from aiohttp import web

from gateway.accept.accepted import Idempotency
from gateway.accept.keeping import Result
from gateway.accept.pausing import Pauses
from gateway.accept.recalling import Replayed, digest_of
from gateway.api.endpoint import Call
from gateway.problems import FieldError, Problem, invalid
from gateway.shapes.shown import shown
from gateway.store.values import as_json_bytes
from gateway.web.http import respond

# Makes the body of the answer from the results.
Answer = Callable[[Sequence[Result]], dict[str, Any]]

# Bytes: the digest of a larger body takes more than about a millisecond, and is made in a thread.
_LARGE = 32 * 2**10


async def idempotency(
    call: Call,
    kind: str,
    body: object,
    answer: Answer,
    *,
    size: int = 0,
) -> Idempotency | None:
    """The request's Idempotency-Key, if it has one; raises `Problem` 422 for a malformed one.

    `size`: bytes of the body before it was parsed.
    """
    key = call.request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not (key.isascii() and key.isprintable()):
        raise invalid([FieldError("Idempotency-Key", "must be 1 to 255 printable ASCII letters")])
    if size < _LARGE:
        digest = digest_of(call.caller, kind, body)
    else:  # a batch may have ten megabytes
        digest = await asyncio.to_thread(digest_of, call.caller, kind, body)
    return Idempotency(
        key=key, digest=digest, answer=lambda results: as_json_bytes(answer(results))
    )


def accepted(results: Sequence[Result] | Replayed) -> web.Response:
    """202 with the message, or the answer that was given before; raises the message's `Problem`."""
    if isinstance(results, Replayed):
        return replay(results, 202)
    shown = one(results)
    return respond(shown, 202, {"Location": f"/v1/messages/{shown['id']}"})


def replay(known: Replayed, status: int) -> web.Response:
    """The answer that was given before under this key."""
    headers = {"Idempotent-Replayed": "true"}
    if status == 202:
        headers["Location"] = f"/v1/messages/{orjson.loads(known.answer)['id']}"
    return web.Response(
        body=known.answer, status=status, content_type="application/json", headers=headers
    )


def unanswered(known: Replayed) -> list[int]:
    """The positions of a batch's messages that were answered 503."""
    items = orjson.loads(known.answer)["data"]
    return [n for n, item in enumerate(items) if item["status"] == 503]


def completing(known: Replayed, lacking: Sequence[int]) -> Answer:
    """Makes the answer to a repeated batch: new results replace those at `lacking`."""

    def answer(results: Sequence[Result]) -> dict[str, Any]:
        whole: dict[str, Any] = orjson.loads(known.answer)
        for n, item in zip(lacking, many(results)["data"], strict=True):
            whole["data"][n] = item
        return whole

    return answer


def one(results: Sequence[Result]) -> dict[str, Any]:
    """The message as it is shown; raises the `Problem` if it was refused."""
    (result,) = results
    if isinstance(result, Problem):
        raise result
    return shown(result)


async def respond_many(answer: dict[str, Any]) -> web.Response:
    """207 with the messages of a batch; other requests have their turn while it is written."""
    pauses = Pauses()
    items = []
    for item in answer["data"]:
        items.append(as_json_bytes(item))
        if pauses.are_due:
            await pauses.take()
    body = b'{"data":[%b]}' % b",".join(items)
    return web.Response(body=body, status=207, content_type="application/json")


def many(results: Sequence[Result]) -> dict[str, Any]:
    """The messages of a batch, each with its status."""
    return {
        "data": [
            {"status": result.status, "problem": result.as_json()}
            if isinstance(result, Problem)
            else {"status": 202, "message": shown(result)}
            for result in results
        ]
    }
