"""Mails are parted as Python's own parser parts them, which is slower, and opens attached ones."""

from __future__ import annotations

import email
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from webhooks.mail.mime import content_of, leaves
from webhooks.mail.parts import tree

LINES = st.lists(
    st.sampled_from(
        [
            "",
            " ",
            "Hello",
            "--",
            "--b",
            "-- b0",
            "--b0x",
            "b0--",
            "Subject: no",
            "From me",
            "é",
            "\f",
        ]
    ),
    max_size=4,
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part with a text or a file."""

    kind: str
    lines: list[str]
    encoding: str | None

    def written(self, _: str) -> list[str]:
        """Its lines, headers first."""
        told = [f"Content-Transfer-Encoding: {self.encoding}"] if self.encoding else []
        return [f"Content-Type: {self.kind}", *told, "", *self.lines]


@dataclass(frozen=True, slots=True)
class Several:
    """A part of parts, with what may stand around them."""

    kind: str
    parts: list[Any]
    before: list[str]
    after: list[str]
    is_quoted: bool
    is_closed: bool

    def written(self, name: str) -> list[str]:
        """Its lines, headers first; `name` becomes its boundary."""
        boundary = f'"{name}"' if self.is_quoted else name
        lines = [f"Content-Type: multipart/{self.kind}; boundary={boundary}", "", *self.before]
        for number, part in enumerate(self.parts):
            lines += [f"--{name}", *part.written(f"{name}.{number}x")]
        return [*lines, *([f"--{name}--", *self.after] if self.is_closed else [])]


LEAVES = st.builds(
    Leaf,
    st.sampled_from(
        ["text/plain", "text/html; charset=utf-8", "image/png", "odd", "message/rfc822"]
    ),
    LINES,
    st.sampled_from([None, "7bit", "8bit", "x-odd"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        Several,
        st.sampled_from(["mixed", "alternative", "related", "report"]),
        st.lists(inner, min_size=1, max_size=3),
        LINES,
        LINES,
        st.booleans(),
        st.booleans(),
    ),
    max_leaves=8,
)


def by_library(part: Message[Any, Any]) -> Iterator[tuple[str, bytes | None]]:
    """Kind and content of each part that holds something; of attached mails the kind alone."""
    if part.get_content_maintype() == "message":
        yield part.get_content_type(), None
    elif part.is_multipart():
        for child in part.get_payload():
            assert isinstance(child, Message)
            yield from by_library(child)
    else:
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        yield part.get_content_type(), content


@given(TREES, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n"]))
def test_the_same_parts(mail: Leaf | Several, end: str, last: str) -> None:
    """Whatever a mail is made of, its parts and their contents are those that the library finds."""
    lines = ["From: ann@customer.example", "Subject: é", *mail.written("b0")]
    raw = (end.join(lines) + last).encode()
    root, is_whole = tree(raw)
    ours = [
        (leaf.part.get_content_type(), None)
        if leaf.part.get_content_maintype() == "message"
        else (leaf.part.get_content_type(), content_of(leaf.part))
        for leaf in leaves(root)
    ]

    assert is_whole
    assert trimmed(by_library(email.message_from_bytes(raw))) == trimmed(ours)


def trimmed(parts: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """The parts without the line ends of the last one, where nothing says where it ends."""
    *others, (kind, content) = parts
    return [*others, (kind, content.rstrip(b"\r\n") if content is not None else None)]
