"""What `messages.parts` says is read as it was written; what is of another form, by nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from channels.model import CallPlan, ProviderTemplate
from gateway import parts
from gateway.parts import OddPartsError, Parts, Thread


def test_there_and_back() -> None:
    """What is stored is read again as it was."""
    template = ProviderTemplate(content_sid="HX1", variables={"1": "a"}, components=({"x": [1]},))
    said = Parts(
        template=template,
        call=CallPlan(voice="Polly.Vicki", repeat=5, confirm="#", timeout=600),
        thread=Thread(references=("a@x.example",), reply_to="b@x.example", has_unsubscribe=False),
        quotes="wamid.1",
        window_until=datetime.now(UTC),
        outside=template,
        sign_in=uuid4(),
    )
    assert said == parts.read(json.loads(json.dumps(said.as_json())))


@pytest.mark.parametrize(
    "stored",
    [
        "x",
        [1],
        {"call": {"repeat": 10**9}},  # the text so often: all of a worker's memory
        {"call": {"repeat": "x"}},
        {"call": {"timeout": 10**20}},
        {"call": {"confirm": "12"}},
        {"call": {"of": "another program"}},
        {"call": [1]},
        {"template": {"variables": [1], "components": []}},
        {"template": {"components": [1]}},
        {"outside": {"name": 5}},
        {"thread": {"references": "abc"}},
        {"thread": {"references": [], "reply_to": 5}},
        {"quotes": {"a": 1}},
        {"window_until": "2020-01-01T00:00:00"},  # whose midnight?
        {"sign_in": "x"},
    ],
)
def test_of_another_form(stored: Any) -> None:
    """What another program wrote there is refused, before anything is made of it."""
    with pytest.raises(OddPartsError):
        parts.read(stored)
