"""What is known of a message that came in."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.why import File
from tests.why.told import NOW, event, said

KNOWN: dict[str, Any] = {"contact": "Ada Lovelace", "contact_kind": "client"}


def came(channel: str = "sms", metadata: Any = None, **known: Any) -> tuple[str, str | None]:
    """Summary and advice of an inbound message."""
    return said(channel, direction="inbound", metadata=metadata, about=known)


def test_whose_it_is() -> None:
    """When it came and whose it is: a lead's or client's, somebody's with a name, nobody's."""
    at = (event("received", "received", source="twilio", at=NOW),)
    theirs = came(events=at, **KNOWN)
    unnamed = came(contact_kind="lead")
    called = came("whatsapp", contact="Ada")
    nobody, link = came()

    start = "This SMS from +447700900123 came in on 26 Nov 2026"
    assert (f"{start}, 14:00 UTC and belongs to the client Ada Lovelace.", None) == theirs
    assert f"{start}, 13:50 UTC and belongs to the lead without a name." == unnamed[0]
    assert (
        "from somebody who calls themselves Ada; no lead or client has this address." in called[0]
    )
    assert f"{start}, 13:50 UTC; no lead or client has this address." == nobody
    assert "Link the address" in str(link)


def test_files() -> None:
    """Files that are still being fetched, and those that were given up, with the reason."""
    waiting = File(filename=None, state="waiting")
    given_up = File(filename="scan\x00.pdf", state="failed", reason="The server answered 404")
    nameless = File(filename=None, state="failed")
    stored = File(filename="a.png", state="stored")

    text, advice = came(files=(stored, waiting, given_up, nameless), **KNOWN)
    assert "1 file is still being fetched." in text
    assert "scan .pdf could not be fetched: The server answered 404." in text
    assert "A file could not be fetched: unknown." in text
    assert "Look again in some minutes" in str(advice)
    assert "send what is missing again" in str(advice)
    assert "2 files are still being fetched." in came(files=(waiting, waiting), **KNOWN)[0]


def test_calls() -> None:
    """A call that came in left a message, or none."""
    left = came("call", {"provider": {"recording_duration": "31"}}, **KNOWN)
    silent = came("call", **KNOWN)
    some = came("call", files=(File(filename="recording.mp3", state="stored"),), **KNOWN)

    assert left[0].endswith("The caller left a message of 31 seconds.")
    assert silent[0].endswith("Nothing was recorded.")
    assert some[0].endswith("belongs to the client Ada Lovelace.")


@pytest.mark.parametrize(
    ("metadata", "known", "words"),
    [
        ({"provider": {"auto_submitted": True}}, {}, "written by a program"),
        (None, {"suppressions": ("stop",)}, "do not answer on this channel"),
    ],
)
def test_who_gets_no_answer(metadata: Any, known: dict[str, Any], words: str) -> None:
    """An automatic answer, and somebody who said STOP."""
    assert words in str(came(metadata=metadata, **known, **KNOWN)[1])
