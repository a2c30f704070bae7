"""Findings of the API in the words of a page."""

from __future__ import annotations

_NAMES = {
    "account_id": "Account",
    "address": "Address",
    "is_default": "Default",
    "html_body": "HTML",
    "all": "The form",
}


def sentence(text: str) -> str:
    """A finding that follows a field's name ("is required") as a sentence of its own."""
    text = text.strip()
    if not text:
        return text
    if text.startswith(("is ", "must ", "cannot ", "belongs ", "has ", "contains ")):
        text = f"This {text}"
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def field_name(name: str) -> str:
    """A field's name as its label says it, roughly: `options.reply_to` is Reply to."""
    last = name.rpartition(".")[2] if not name.startswith("variables.") else name
    return _NAMES.get(name) or last.replace("_", " ").capitalize()
