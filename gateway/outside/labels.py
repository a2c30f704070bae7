"""How a server labels a file that it sends: with a type, and with a name."""

from __future__ import annotations

from email.message import Message


def type_of(header: str | None) -> str | None:
    """The type in a Content-Type, without its parameters; None where it has none."""
    return (header or "").partition(";")[0].strip().lower() or None


def filename_of(header: str | None) -> str | None:
    """The name in a Content-Disposition (RFC 6266), whatever form it has; None for no form."""
    if not header:
        return None
    message = Message()
    # As text that can be read: bytes that are no UTF-8 come as lone surrogates.
    message["Content-Disposition"] = header.encode("utf-8", "replace").decode()
    try:
        return message.get_filename()
    except (ValueError, TypeError):  # a number of 5,000 digits, parts with and without a number
        return None
