"""What requests refer to, indexed for look-up; one index serves many concurrent requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from uuid import UUID

from channels import email, phone
from channels.model import Channel
from gateway import addresses
from gateway.store.contacts import Context
from gateway.store.media import Media
from gateway.store.values import Row


class Known:
    """Leads, clients, templates, senders and suppressions, by the names that requests use.

    `asked` are the addresses whose suppressions were looked up, `files` our own files by their
    URLs, None for one that the organization does not have.
    """

    def __init__(
        self, context: Context, asked: Iterable[str], files: Mapping[str, Media | None]
    ) -> None:
        self.asked, self.files = frozenset(asked), files
        self.country = context.country
        self._leads = {row["id"]: _with_id(row) for row in context.leads}
        self._clients = {row["id"]: _with_id(row) for row in context.clients}
        self._answered = {row["id"]: row for row in context.answered}
        self._by_id: dict[str, Row] = {}
        self._templates: dict[str, list[Row]] = defaultdict(list)
        for found in context.templates:  # the newest first
            row = self._by_id[found["id"]] = _with_id(found)
            if row["is_active"]:
                self._templates[row["name"]].append(row)
        self._senders: dict[tuple[str, str], Row] = {}
        self._defaults: dict[str, Row] = {}
        for found in context.senders:
            row = _with_id(found)
            channel = Channel(row["channel"])
            self._senders.setdefault((channel, addresses.key(channel, row["address"])), row)
            if row["is_default"]:
                self._defaults.setdefault(channel, row)
        self._known = [_with_id(row) for row in context.known]  # the newest first
        self._reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in context.suppressed:
            self._reasons[row["channel"], row["address"]].append(row["reason"])

    def lead(self, lead_id: UUID | None) -> Row | None:
        """The lead of this id."""
        return self._leads.get(str(lead_id))

    def client(self, client_id: UUID | None) -> Row | None:
        """The client of this id."""
        return self._clients.get(str(client_id))

    def answered(self, message_id: UUID) -> Row | None:
        """The message that is answered."""
        return self._answered.get(str(message_id))

    def templates(self, name: str) -> Sequence[Row]:
        """The template of an id, or the active ones of a name, the newest first.

        A name may look like an id.
        """
        wanted = as_uuid(name)
        found = self._by_id.get(str(wanted)) if wanted else None
        return [found] if found else self._templates.get(name, ())

    def default_sender(self, channel: Channel) -> Row | None:
        """The sender of a channel's messages that name none."""
        return self._defaults.get(channel)

    def sender(self, channel: Channel, written: str) -> Row | None:
        """The sender with this address, either as written or in its normalised form."""
        read = addresses.read(channel, written, self.country)
        found = (
            self._senders.get((channel, addresses.key(channel, address)))
            for address in (written, read)
            if address
        )
        return next((row for row in found if row), None)

    def people(self, address: str) -> Sequence[Row]:
        """Leads and clients to whom this address belongs, the newest first."""
        if "@" in address:
            return self._by_mailbox.get(email.key(address), ())
        return self._by_number.get(phone.canonical(address), ())

    def reasons(self, channel: Channel, address: str) -> Sequence[str]:
        """Why an address, in the form that suppressions have, must not be written to."""
        return self._reasons.get((channel, address), ())

    # Built on first use: a batch of SMS needs no mailboxes.
    @cached_property
    def _by_number(self) -> dict[str, list[Row]]:
        people: dict[str, list[Row]] = defaultdict(list)
        for row in self._known:
            if number := addresses.of_contact(Channel.SMS, row, self.country):
                people[phone.canonical(number)].append(row)
        return people

    @cached_property
    def _by_mailbox(self) -> dict[str, list[Row]]:
        people: dict[str, list[Row]] = defaultdict(list)
        for row in self._known:
            mailbox = addresses.of_contact(Channel.EMAIL, row, self.country)
            # a malformed mailbox still identifies its contact
            for key in {
                email.key(each) for each in (mailbox, row["email"]) if each and "@" in each
            }:
                people[key].append(row)
        return people


def _with_id(row: Row) -> Row:
    # Parsed once, for all requests that refer to it.
    return {**row, "id": UUID(row["id"])}


def as_uuid(text: str) -> UUID | None:
    """The id that a text is; None for a name."""
    if len(text) < 32:  # most names: an exception would be slower
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
