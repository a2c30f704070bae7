"""JSON that others wrote is read to a depth at which the interpreter has frames left."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channels.email import to_text
from channels.http import json_object
from channels.json_text import DEPTH_AT_MOST, load
from gateway.store.codecs import read_json as read_stored
from webhooks.mail.letter import mailboxes
from webhooks.model import Unreadable
from webhooks.values import read_json


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The garbage collector runs as often as it can, and needs as many frames as a finalizer."""
    done: list[int] = []

    def finalize(phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            done.append(needing(30))

    def needing(frames: int) -> int:
        return needing(frames - 1) if frames else 0

    thresholds = gc.get_threshold()
    gc.callbacks.append(finalize)
    gc.set_threshold(1, 1, 1)
    yield done
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(finalize)


def read_unsigned(text: str) -> None:
    with pytest.raises(Unreadable):
        read_json(text.encode())


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_unsigned, "[" * 100_000),
        (read_unsigned, '{"a":' * 100_000),
        (json_object, "[" * 100_000),
        (read_stored, "[" * 1500 + "]" * 1500),
        (lambda text: mailboxes([text]), "(" * 100_000 + "a@b.example"),
        (lambda text: mailboxes([text]), "(\\)" * 5000 + "a@b.example"),
        (to_text, "<div>" * 100_000),
        (to_text, "<p style='" + "style:" * 5000 + "padding-left:9em'>x"),
    ],
)
def test_garbage_is_finalized_meanwhile(
    collections: list[int], read: Callable[[str], object], text: str
) -> None:
    """What nests too deeply is not read, so that finalizers do not fail for want of frames.

    If one fails, Python calls its hook for unraisable exceptions, and pytest fails the test.
    """
    before = len(collections)
    read(text)

    assert len(collections) > before


@given(
    st.recursive(
        st.none() | st.integers() | st.text(st.sampled_from('[]{}"\\ a'), max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    ),
    st.integers(0, 550),
)
@example({'[{"\\': ['\\"[']}, DEPTH_AT_MOST)
def test_depth(value: object, around: int) -> None:
    """As deep as may be is read, whatever strings contain; one level more is refused."""
    text = "[" * around + json.dumps(value) + "]" * around
    depth = around + depth_of(value)
    if depth > DEPTH_AT_MOST:
        with pytest.raises(ValueError, match="nested more than 500 levels deep"):
            load(text)
    else:
        assert load(text) == json.loads(text)


def depth_of(value: object) -> int:
    """How many lists and objects are within one another."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def test_flat_comments_are_read() -> None:
    """However many comments a header has, where none is within another one the library reads it."""
    people = [f"o'brien{n}@x.example" for n in range(90)]
    header = ", ".join(f"{each} (Sales) (Rome)" for each in people)
    assert tuple(people) == mailboxes([header])
