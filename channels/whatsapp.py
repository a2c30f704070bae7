"""The content of a WhatsApp message: text, one file, or a template that the provider keeps.

Limits: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
A person is a phone number, or an id that is valid for one business ("US.1234", BSUID:
https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from channels import filenames, phone
from channels.errors import ContentError, raise_all, tried
from channels.kinds import bare_type
from channels.model import Attachment, Content, ProviderTemplate
from channels.text import is_sendable, units

WINDOW = timedelta(hours=24)
"""How long after a person's last message we may send them anything but a template."""

CHARACTERS, CAPTION_CHARACTERS = 4096, 1024
"""Counted in UTF-16 code units, the strictest reading of "characters"."""

PREFIX = "whatsapp:"

# The two letters of a country; in the id of a portfolio of businesses ENT follows.
_USER_ID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")
_CONTENT_SID = re.compile(r"HX[0-9a-fA-F]{32}")
_NAME = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]{2,4})?")
# Twilio's: https://www.twilio.com/docs/content/using-variables-with-content-api
_CONTENT_VARIABLE = re.compile(r"[A-Za-z0-9_]{1,16}")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Meta refuses these inside a value with 132012, and an empty value with 131008; Twilio with 21656.
_NOT_IN_VARIABLE = re.compile(r"[\n\r\t]| {5}")


class Kind(StrEnum):
    """What WhatsApp shows a file as; Meta's words."""

    IMAGE = "image"
    STICKER = "sticker"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"


# https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#supported-media-types
_KINDS: Final = {
    "image/jpeg": Kind.IMAGE,
    "image/png": Kind.IMAGE,
    "image/webp": Kind.STICKER,
    "video/mp4": Kind.VIDEO,
    "video/3gpp": Kind.VIDEO,
    "audio/aac": Kind.AUDIO,
    "audio/amr": Kind.AUDIO,
    "audio/mp4": Kind.AUDIO,
    "audio/mpeg": Kind.AUDIO,
    "audio/ogg": Kind.AUDIO,
}
_ENDINGS: Final = {
    "jpg": Kind.IMAGE,
    "jpeg": Kind.IMAGE,
    "png": Kind.IMAGE,
    "webp": Kind.STICKER,
    "mp4": Kind.VIDEO,
    "3gp": Kind.VIDEO,
    "aac": Kind.AUDIO,
    "amr": Kind.AUDIO,
    "m4a": Kind.AUDIO,
    "mp3": Kind.AUDIO,
    "ogg": Kind.AUDIO,
}


def to_address(text: str, country: str | None) -> str | None:
    """A person's address in its stored form, E.164 or a user id; None if it is neither.

    A number without + is read as one of `country`; a prefix `whatsapp:` is dropped.
    """
    text = text.strip()
    if text[: len(PREFIX)].lower() == PREFIX:
        text = text[len(PREFIX) :].strip()
    return text if is_user_id(text) else phone.to_e164(text, country)


def is_user_id(address: str) -> bool:
    """Whether an address is a user id and not a phone number."""
    return _USER_ID.fullmatch(address) is not None


def kind(attachment: Attachment) -> Kind:
    """What WhatsApp shows a file as: by its type, or, if it has none, by its name."""
    if content_type := bare_type(attachment.content_type):
        return _KINDS.get(content_type, Kind.DOCUMENT)
    name = attachment.filename or attachment.url.partition("?")[0].partition("#")[0]
    return _ENDINGS.get(name.rpartition(".")[2].lower(), Kind.DOCUMENT)


def compose(
    text: str | None,
    attachments: Sequence[Attachment] = (),
    template: ProviderTemplate | None = None,
    *,
    characters: int = CHARACTERS,
) -> Content:
    """The content of a WhatsApp message; raises `ContentError` with everything that is wrong.

    With a `template` the text is not sent: only our log shows it. `characters` is the limit of a
    provider that has a lower one.
    """
    body = text or ""
    wrong: list[ContentError] = []
    tried(wrong, _check_files, attachments, template)
    tried(wrong, _check_text, body, attachments, template, characters)
    if template is not None:
        tried(wrong, _check_template, template)
    raise_all(wrong)
    return Content(body=body, attachments=tuple(attachments), template=template)


def _check_files(attachments: Sequence[Attachment], template: ProviderTemplate | None) -> None:
    if template is not None and attachments:
        raise ContentError("attachments", "A template brings its file in its header component.")
    if len(attachments) > 1:
        raise ContentError("attachments", "A WhatsApp message carries one file; send several.")
    filenames.check_all(attachments)


def _check_text(
    body: str,
    attachments: Sequence[Attachment],
    template: ProviderTemplate | None,
    characters: int,
) -> None:
    if not body.strip() and not attachments and template is None:
        raise ContentError("body", "The text is empty.")
    most = min(characters, CAPTION_CHARACTERS) if attachments else characters
    if units(body) > most:
        what = "the caption of a file" if attachments else "a WhatsApp message"
        raise ContentError("body", f"The text is too long; {what} holds {most} characters.")
    if not is_sendable(body):
        raise ContentError("body", "The text holds a character that cannot be sent.")
    for shown in map(kind, attachments):
        if body.strip() and shown in {Kind.AUDIO, Kind.STICKER}:
            raise ContentError(
                "body", f"WhatsApp shows no text with a file of the kind {shown}; send it apart."
            )


def _check_template(template: ProviderTemplate) -> None:
    wrong: list[ContentError] = []
    for check in (
        _check_sid,
        _check_name,
        _check_language,
        _check_names,
        _check_values,
        _check_components,
    ):
        tried(wrong, check, template)
    raise_all(wrong)


def _check_sid(template: ProviderTemplate) -> None:
    if template.content_sid is None and template.name is None:
        raise ContentError("template", "The template names neither a content_sid nor a name.")
    if template.content_sid is not None and not _CONTENT_SID.fullmatch(template.content_sid):
        raise ContentError("template", "The content_sid is not HX and 32 hexadecimal digits.")


def _check_name(template: ProviderTemplate) -> None:
    if template.name is not None and not _NAME.fullmatch(template.name):
        reason = "The template's name has other than small letters, digits and _."
        raise ContentError("template", reason)


def _check_language(template: ProviderTemplate) -> None:
    if template.name is None:
        return
    if template.language is None or not _LANGUAGE.fullmatch(template.language):
        raise ContentError("template", "The template's language is not one as en or en_US.")


def _check_components(template: ProviderTemplate) -> None:
    for component in template.components:
        what = component.get("type")
        if not isinstance(what, str) or not what:
            raise ContentError("template", "A component of the template has no type.")
        if what.lower() == "body" and template.variables:
            raise ContentError(
                "template", "The template's body stands in variables and components."
            )


def _check_names(template: ProviderTemplate) -> None:
    """Meta needs a value for each variable; Twilio's templates have defaults for missing ones."""
    variables = template.variables
    if template.name is None:
        for name in variables:
            if not _CONTENT_VARIABLE.fullmatch(name):
                reason = "is not named with 1 to 16 letters, digits and _."
                raise ContentError("variables", f"The template's variable {name[:64]!r} {reason}")
        return
    numbered = {str(number) for number in range(1, len(variables) + 1)}
    if variables.keys() != numbered and not all(_VARIABLE.fullmatch(name) for name in variables):
        raise ContentError(
            "variables", 'The template\'s variables are neither "1", "2", ... nor all names.'
        )


def _check_values(template: ProviderTemplate) -> None:
    wrong: list[ContentError] = []
    for name, value in template.variables.items():
        tried(wrong, _check_value, name, value)
    raise_all(wrong)


def _check_value(name: str, value: str) -> None:
    if not value.strip():
        raise ContentError("variables", f"The template's variable {name} is empty.")
    if _NOT_IN_VARIABLE.search(value):
        raise ContentError(
            "variables",
            f"The template's variable {name} has a new line, a tab or five spaces in a row.",
        )
    if not is_sendable(value):
        raise ContentError(
            "variables", f"The template's variable {name} holds what cannot be sent."
        )
