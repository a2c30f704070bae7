"""A failed message is sent again as it is stored, and only once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from channels import filenames
from channels.json_text import as_object
from channels.model import Channel
from gateway import parts
from gateway.parts import Parts
from gateway.problems import FieldError, Problem, invalid
from gateway.shapes.messages import AttachmentIn, SendRequest
from gateway.store import messages
from gateway.store.database import Caller, Connection
from gateway.store.values import Row

# Keys of a message's metadata that the gateway sets itself.
_OURS = ("provider", "reply_to", "fallback_of")
# The metadata of a message that a test key sent: nobody may get it, now or later.
OF_A_TEST: Final[Mapping[str, Any]] = {"provider": {"test": True}}


def parts_of(caller: Caller, old: Row, stored: Mapping[str, Any] | None) -> Parts:
    """The parts of a message that is sent again; raises `Problem` 409 if it cannot be."""
    if old["direction"] != "outbound" or old["status"] != "failed":
        raise Problem(409, f"Only a failed message can be sent again; this one is {old['status']}.")
    if is_test(old) and not caller.is_test:
        raise Problem(409, "A test key sent this message: nobody is to get it, now or later.")
    try:
        before = parts.read(stored)
    except parts.OddPartsError:
        text = "Another program has changed this message into a form that cannot be sent again."
        raise Problem(409, text) from None
    if before.sign_in is not None:
        raise Problem(409, "A link to sign in is not sent again: ask for a new one.")
    return before


def request_of(old: Row, before: Parts) -> SendRequest:
    """The request to send what was stored, with its parts; raises `Problem` 422."""
    is_mail = old["channel"] == Channel.EMAIL
    return SendRequest.model_construct(
        channel=Channel(old["channel"]),
        from_=old["from_address"],
        to=old["to_address"],
        body=old["body"],
        subject=old["subject"] if is_mail else None,
        html_body=old["html_body"] if is_mail else None,
        options=parts.as_options(before),
        attachments=_files_of(old["attachments"] or []),
        lead_id=old["lead_id"],
        client_id=old["client_id"],
        reference=old["reference"],
        metadata=callers_own(old["metadata"]),
        priority=before.priority or "normal",
    )


def replacing(row: Row, old: Row) -> Row:
    """The new row as one that replaces a failed message, with the files of that as stored."""
    if row["attachments"]:  # none if a template is sent in place of the text
        # The old rows also have the sizes of files that were fetched.
        row["attachments"] = [
            was | {"filename": file["filename"]}
            for was, file in zip(old["attachments"], row["attachments"], strict=True)
        ]
    kept = {"retry_of": old["id"], "template_id": old["template_id"], "expires_at": _until(old)}
    return row | kept


def _until(old: Row) -> datetime | None:
    """The `expires_at` of the failed message; None if it has passed: whoever sends it again wants
    it to be sent all the same."""
    expires_at: datetime | None = old["expires_at"]
    return expires_at if expires_at and expires_at > datetime.now(UTC) else None


def callers_own(metadata: Any) -> Row:  # noqa: ANN401 - any JSON
    """A stored message's metadata as its caller gave it."""
    return {name: value for name, value in as_object(metadata).items() if name not in _OURS}


def is_test(old: Row) -> bool:
    """Whether a test key sent it."""
    return as_object(as_object(old["metadata"]).get("provider")).get("test") is True


def _files_of(stored: Any) -> list[AttachmentIn]:  # noqa: ANN401 - any JSON
    """The files of a stored message as a request names them; raises `Problem` 422.

    Another program may have stored anything there, and a message without its files would be another
    message. Names that are refused today are changed: whoever sends it again cannot do that.
    """
    try:
        return [
            AttachmentIn(
                url=file["url"],
                filename=_name_of(file.get("filename")),
                content_type=file.get("content_type"),
            )
            for file in stored
        ]
    except (AttributeError, KeyError, TypeError, ValidationError):
        text = "are stored in a form of another program, which cannot be sent again"
        raise invalid([FieldError("attachments", text)]) from None


def _name_of(stored: Any) -> Any:  # noqa: ANN401 - any JSON
    return filenames.nearest(stored) if isinstance(stored, str) else stored


async def check(db: Connection, organization_id: UUID, rows: Sequence[Row]) -> None:
    """Raise `Problem` 409 if another message has been sent in place of the same one."""
    again = [row["retry_of"] for row in rows if row.get("retry_of")]
    if not again:
        return
    if len(again) > len(set(again)):
        raise Problem(409, "It is being sent again just now.")  # each of them alone
    if found := await messages.sent_again(db, organization_id, again):
        raise Problem(
            409,
            f"Message {found} has been sent in its place. Once that has failed, or is canceled, it "
            "can be sent once more.",
        )
