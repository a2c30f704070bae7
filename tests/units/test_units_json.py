"""Bodies of requests as JSON: what would hold up everybody is refused, or read in parts."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.api.messages import read_items
from gateway.problems import Problem
from gateway.shapes.base import JsonObject
from gateway.store.values import as_json, as_json_bytes, as_json_pieces
from gateway.web.http import parse_json


def test_as_many_lists_and_objects_as_nobody_sends() -> None:
    """They are counted before the body is read; what texts contain does not count."""
    for each in (b"[],", b"{},"):
        raw = b"[%b0]" % (each * 499_999)
        assert 500_000 == len(parse_json(raw))
        with pytest.raises(Problem, match="more than 500000 lists and objects"):
            parse_json(b"[%b]" % raw)

    texts = ["[{" * 250_000 + '"\\', "\\" * 7 + '"[', "]\n" * 9]
    assert texts == parse_json(json.dumps(texts).encode())


def test_a_text_without_an_end() -> None:
    """What is no JSON is refused as such, as quickly."""
    for raw in (b'"' + rb"\"[" * 300_000, b"[" * 500_001 + b'"'):
        with pytest.raises(Problem, match="400"):
            parse_json(raw)


def test_an_object_is_too_large_before_anything_else() -> None:
    """Nobody looks for what cannot be stored in ten megabytes that are refused anyway."""
    with pytest.raises(ValidationError, match="must be at most 64 KiB"):
        TypeAdapter(JsonObject).validate_python({"given": ["\x00"] * 20_000})


async def test_others_have_their_turn_while_a_batch_is_read() -> None:
    """A batch is read in parts."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    read = await read_items([{"channel": "sms", "to": "x"}] * 400)
    task.cancel()

    assert (400, True) == (len(read), turns >= 8)


@given(st.lists(st.text(max_size=20)), st.integers(1, 100))
def test_rows_in_pieces(texts: list[str], most: int) -> None:
    """The pieces of a list have all of it, in order; a piece ends with the row that makes it large
    enough, and none is empty but that of an empty list."""
    rows = [{"text": text, "id": UUID(int=n)} for n, text in enumerate(texts)]
    pieces = [json.loads(piece) for piece in as_json_pieces(rows, most)]
    assert json.loads(as_json(rows)) == [row for piece in pieces for row in piece]
    sizes = [[len(as_json_bytes(row)) for row in piece] for piece in pieces]
    assert all(sum(each) >= most > sum(each[:-1]) for each in sizes[:-1])
    assert sum(sizes[-1][:-1]) < most
    assert [[]] == pieces or all(pieces)
