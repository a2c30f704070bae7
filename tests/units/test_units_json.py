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


@pytest.mark.parametrize(
    ("whole", "each", "times", "named"),
    [
        (b"[%b0]", b"[],", 99_999, "100000 lists and objects"),
        (b"[%b0]", b"{},", 99_999, "100000 lists and objects"),
        (b'{%b"":0}', b'"":0,', 199_999, "200000 fields"),
        (b"[%b0]", b"0,", 500_000, "500000 values"),
        (b"[%b0]", b'",",', 500_000, "500000 values"),
    ],
)
def test_as_much_as_nobody_sends(whole: bytes, each: bytes, times: int, named: str) -> None:
    """What takes long to read is counted before the body is read."""
    parse_json(whole % (each * times))
    with pytest.raises(Problem, match=f"more than {named}"):
        parse_json(whole % (each * (times + 1)))


def test_what_texts_contain_does_not_count() -> None:
    """A text may have as many brackets, colons and commas as it likes."""
    texts = ["[{:," * 600_000 + '"\\', "\\" * 7 + '"[', "]\n" * 9]
    assert texts == parse_json(json.dumps(texts).encode())


def test_a_batch_that_says_much() -> None:
    """A thousand orders of thirty lines pass."""
    lines = [{"sku": f"A-{n}", "price": 9.5, "of": [n, n]} for n in range(30)]
    message = {"channel": "email", "to": "a@b.example", "variables": {"lines": lines, "name": "A"}}
    batch = {
        "messages": [message | {"metadata": {"page": n, "tags": [1] * 60}} for n in range(1000)]
    }
    assert batch == parse_json(json.dumps(batch).encode())


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
