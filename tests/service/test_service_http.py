"""What HTTP promises of every path of /v1: methods, and encodings of bodies."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Ask

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}


async def test_head(ask: Ask) -> None:
    """HEAD is answered as GET is, without its body; streams know GET alone."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    for path in ("/v1/messages", f"/v1/messages/{sent['id']}", "/v1/leads?limit=1"):
        head, whole = await ask("HEAD", path), await ask("GET", path)
        assert (200, "") == (head.status, head.body)
        assert whole.headers["Content-Length"] == head.headers["Content-Length"]
    assert 404 == (await ask("HEAD", f"/v1/messages/{UUID(int=7)}")).status
    assert 401 == (await ask("HEAD", "/v1/messages", key="gw_no")).status
    for stream in ("/v1/events", "/v1/messages/export"):
        refused = await ask("HEAD", stream)
        assert (405, "GET") == (refused.status, refused.headers["Allow"])


async def test_paths_beside_an_id(ask: Ask) -> None:
    """`batch`, `check` and `export` are no ids of messages, whatever method is tried there."""
    for path, allowed in (("batch", "POST"), ("check", "POST"), ("export", "GET")):
        for method in {"GET", "HEAD", "POST", "PATCH", "DELETE"} - {allowed}:
            refused = await ask(method, f"/v1/messages/{path}")
            assert (405, allowed) == (refused.status, refused.headers["Allow"]), (method, path)
    one = await ask("POST", f"/v1/messages/{UUID(int=7)}")
    assert (405, "GET, HEAD") == (one.status, one.headers["Allow"])


@pytest.mark.parametrize(
    ("coding", "status"),
    [("gzip", 202), ("GZIP", 202), ("identity", 202), ("compress", 415), ("gzip, gzip", 415)],
)
async def test_bodies_that_are_encoded(ask: Ask, coding: str, status: int) -> None:
    """A body is read as its Content-Encoding says, or refused: never as if it had none."""
    raw = json.dumps(SMS).encode()
    answer = await ask(
        "POST",
        "/v1/messages",
        data=gzip.compress(raw) if coding.lower() == "gzip" else raw,
        headers={"Content-Encoding": coding, "Content-Type": "application/json"},
    )

    assert status == answer.status
    assert (status == 415) == ("gzip" in answer.headers.get("Accept-Encoding", ""))
