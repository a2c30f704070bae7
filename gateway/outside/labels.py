"""The labels of a file that a server sends: its type and its name."""

from __future__ import annotations

from email.message import Message


def type_of(header: str | None) -> str | None:
    """The type in a Content-Type, without its parameters; None if there is none."""
    return (header or "").partition(";")[0].strip().lower() or None


def filename_of(header: str | None) -> str | None:
    """The name in a Content-Disposition (RFC 6266), in any of its forms; None without one."""
    if not header:
        return None
    message = Message()
    # Replaces lone surrogates, which stand for bytes that are not UTF-8.
    message["Content-Disposition"] = header.encode("utf-8", "replace").decode()
    try:
        return message.get_filename()
    except (ValueError, TypeError):  # a part with a huge number, or parts with and without numbers
        return None
