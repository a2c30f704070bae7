"""Reads forms on a page: the values of their fields, and the errors beside them."""

from __future__ import annotations

import re
from html import unescape

from tests.inbox.conftest import Shown


def field(shown: Shown, name: str) -> str:
    """The error beside a field, which its `aria-describedby` must name; empty if there is none."""
    control = re.search(
        rf'<(?:input|select|textarea) id="[^"]*" name="{re.escape(name)}"[^>]*>', shown.text
    )
    assert control is not None, name
    if 'aria-invalid="true"' not in control[0]:
        return ""
    described = re.search(r'aria-describedby="(\S+-error)', control[0])
    assert described is not None
    message = re.search(rf'id="{re.escape(described[1])}"[^>]*>([^<]*)<', shown.text)
    assert message is not None
    return message[1]


def typed(shown: Shown) -> dict[str, str]:
    """The fields of a page's form as a browser would send them back."""
    form = shown.text[shown.text.index("<main") :]
    found = {}
    for tag in re.findall(r"<input [^>]*>", form):
        parts = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if parts.get("type") != "checkbox" or " checked" in tag:
            found[parts["name"]] = unescape(parts["value"])
    for name, text in re.findall(r'<textarea id="[^"]*" name="([^"]*)"[^>]*>\n?([^<]*)<', form):
        found[name] = unescape(text).replace("\n", "\r\n")
    return found
