"""Addresses by channel: reading and comparing them, and those of contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels import email, phone, whatsapp
from channels.model import Channel


def read(channel: Channel, text: str, country: str | None) -> str | None:
    """An address to write to in its stored form, or None if it is none on this channel."""
    if channel is Channel.EMAIL:
        return email.to_mailbox(text.strip())
    if channel is Channel.WHATSAPP:
        return whatsapp.to_address(text, country) or _other_form(text)
    return phone.to_e164(text, country)


def _other_form(text: str) -> str | None:
    """A number in a former form that WhatsApp still uses, though it cannot be dialled any more.

    Mexico's 1 after the 52, or the eight digits that numbers of Côte d'Ivoire and Benin once had:
    people who write to us from such an address must get an answer.
    """
    number = text.strip().removeprefix(whatsapp.PREFIX).strip()
    if phone.is_former(number):
        return number
    forms = phone.variants(number)
    return number if number in forms[1:] and phone.to_e164(forms[0], None) else None


def fits(channel: Channel, address: str) -> bool:
    """Whether a stored address is one that this channel can reach.

    Only WhatsApp reaches its user ids, and numbers in a form that nobody dials any more.
    """
    return read(channel, address, None) is not None


def sender(channel: Channel, text: str) -> str | None:
    """An address to send from in its stored form, or None if it is none on this channel."""
    if channel is Channel.SMS:
        return phone.sms_sender(text)
    return read(channel, text, None)


def sought(text: str, country: str | None) -> str:
    """The address of a search in the form that messages have: numbers in E.164.

    A possible short code or name stays as it is, though some countries have numbers as short.
    """
    text = text.strip()
    if "@" in text:
        return email.to_mailbox(text) or text
    if phone.sms_sender(text) == text:
        return text
    return phone.to_e164(text.removeprefix(whatsapp.PREFIX), country) or text


def key(channel: Channel, address: str) -> str:
    """The form of an address in suppressions and in correspondence."""
    if channel is Channel.EMAIL:
        return email.key(address)
    if channel is Channel.WHATSAPP:
        return phone.canonical(address)
    return address


def forms(channel: Channel, address: str) -> tuple[str, ...]:
    """All forms of an address that a suppression may have, as `gateway.address_forms` in SQL."""
    return (key(channel, address),) if channel is Channel.EMAIL else phone.variants(address)


def of_contact(channel: Channel, contact: Mapping[str, Any], country: str | None) -> str | None:
    """The address of a lead or client on this channel, or None."""
    written = contact["email" if channel is Channel.EMAIL else "phone"] or ""
    return read(channel, written, country) if written else None


def all_of(contact: Mapping[str, Any], country: str | None) -> list[str]:
    """The addresses of a lead or client, each in its stored form."""
    found = (of_contact(channel, contact, country) for channel in (Channel.SMS, Channel.EMAIL))
    return [address for address in found if address]


def is_contact(contact: Mapping[str, Any], address: str, country: str | None) -> bool:
    """Whether an address, of any channel, is one of this lead or client."""
    return identity(address) in identities(contact, country)


def identity(address: str) -> str:
    """The form of an address, of any channel, by which contacts are compared."""
    return email.key(address) if "@" in address else phone.canonical(address)


def identities(contact: Mapping[str, Any], country: str | None) -> set[str]:
    """The `identity` of each address of a lead or client."""
    number = phone.to_e164(contact["phone"] or "", country)
    numbers = [phone.canonical(number)] if number else []
    return {*numbers, *(email.spellings(contact["email"]) if contact["email"] else ())}


def invalid(channel: Channel, country: str | None) -> str:
    """What is wrong with an address that could not be read, and how to write it."""
    if channel is Channel.EMAIL:
        return "is not an e-mail address: write it as ada@example.com, without a name"
    national = (
        f"or a national number of {country}"
        if country
        else "national numbers need organizations.settings.country"
    )
    return f"is not a possible phone number: write it as +15551230001, {national}"
