"""From a claimed entry to the message for its provider: e-mail headers, files, templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from channels import email
from channels.errors import Refused
from channels.model import Account, Attachment, CallPlan, Channel, Content, Mail, Outbound
from gateway import links, parts, quoting, sign_in_mail
from gateway.dispatch import window
from gateway.dispatch.events import ids
from gateway.media.files import Files
from gateway.observability.logs import logger
from gateway.parts import Thread
from gateway.store import sessions
from gateway.store.database import Database
from gateway.store.queue import Claimed
from gateway.vault import Vault

_log = logger(__name__)

_MAIL_ID = re.compile(r"(?=.{3,250}$)[!-;=?-~]+@[!-;=?-~]+")


class Outbounds:
    """Makes the message to send from what is stored."""

    def __init__(
        self, database: Database, vault: Vault, files: Files, base_url: str, lease_id: UUID
    ) -> None:
        self._database = database
        self._vault = vault
        self._files = files
        self._base_url = base_url
        self._lease_id = lease_id

    async def make(
        self, claimed: Claimed, account: Account, *, with_files: bool = True
    ) -> Outbound:
        """The message for the provider; raises a `SendError`, or `NotNowError`."""
        channel = Channel(claimed.channel)
        try:
            if claimed.is_too_large:
                raise parts.OddPartsError("it is larger than any message that we accept")
            own_parts = parts.read(claimed.parts)
            stored = _attachments(claimed.attachments or ())
        except (parts.OddPartsError, AttributeError, TypeError) as error:
            text = "Another program has changed it into a form that cannot be sent."
            raise Refused(text, code="form") from error
        if own_parts.sign_in is not None and with_files:
            return await self._sign_in(claimed, account, own_parts.sign_in)
        if channel is Channel.WHATSAPP and with_files:
            claimed, own_parts = await window.as_it_stands(
                self._database, claimed, own_parts, self._lease_id
            )
            stored = stored if claimed.attachments else ()
        files = await self._attached(claimed, channel, stored) if with_files else ()
        call = await self._played(claimed, own_parts.call) if with_files else own_parts.call
        return Outbound(
            message_id=claimed.message_id,
            channel=channel,
            from_address=claimed.from_address,
            to_address=claimed.to_address,
            content=Content(
                body=claimed.body,
                subject=claimed.subject,
                html_body=claimed.html_body,
                attachments=files,
                template=own_parts.template,
                call=call,
            ),
            mail=self._mail(claimed, own_parts.thread, account)
            if channel is Channel.EMAIL
            else None,
            quotes=quoting.possible(account.provider, own_parts.quotes),
        )

    async def _sign_in(self, claimed: Claimed, account: Account, link_id: UUID) -> Outbound:
        """A mail with a sign-in link, which is made only now so that it is never stored."""
        async with self._database.as_service() as db:
            found = await sessions.find_link(db, claimed.organization_id, link_id)
        mailbox = email.to_mailbox(found["email"]) if found else None
        if found is None or mailbox is None or mailbox != claimed.to_address:
            raise Refused("This link is over, or signs in somebody else.", code="sign_in")
        url = links.sign_in_url(self._vault, self._base_url, claimed.organization_id, link_id)
        return Outbound(
            message_id=claimed.message_id,
            channel=Channel.EMAIL,
            from_address=claimed.from_address,
            to_address=claimed.to_address,
            content=sign_in_mail.content(found["organization"], found["email"], url),
            mail=self._mail(claimed, Thread(has_unsubscribe=False), account),
        )

    async def _attached(
        self, claimed: Claimed, channel: Channel, stored: tuple[Attachment, ...]
    ) -> tuple[Attachment, ...]:
        """An e-mail carries its files; for other channels the provider fetches them from us."""
        if not stored:
            return ()
        if channel is Channel.EMAIL:
            return await self._files.load(
                claimed.organization_id, stored, max_bytes=email.ATTACHMENT_BYTES
            )
        return await self._files.linked(claimed.organization_id, stored)

    async def _played(self, claimed: Claimed, plan: CallPlan | None) -> CallPlan | None:
        """The plan of a call; if it plays a file of ours, that gets a link, as other files do."""
        if plan is None or plan.play is None:
            return plan
        (file,) = await self._files.linked(claimed.organization_id, [Attachment(url=plan.play)])
        return replace(plan, play=file.url)

    def _mail(self, claimed: Claimed, thread: Thread | None, account: Account) -> Mail:
        thread = thread or Thread()
        # A stranger's Message-ID that no header can hold is left out, so that our reply is sent.
        references = tuple(each for each in thread.references if _MAIL_ID.fullmatch(each))
        unsubscribe = links.unsubscribe_url(
            self._vault, self._base_url, claimed.organization_id, claimed.message_id
        )
        reply_to = thread.reply_to or self._reply_address(claimed, account.settings.get("email"))
        return Mail(
            message_id=parts.mail_id(claimed.message_id, claimed.from_address),
            in_reply_to=references[-1] if references else None,
            references=references,
            reply_to=reply_to,
            unsubscribe_url=unsubscribe if thread.has_unsubscribe else None,
        )

    def _reply_address(self, claimed: Claimed, settings: Any) -> str | None:  # noqa: ANN401 - any JSON
        """The address for replies at the organization's `reply_domain`, if it has one.

        Checked because somebody typed that domain: in a header, a bad one could stop all mails.
        """
        domain = settings.get("reply_domain") if isinstance(settings, dict) else None
        if not domain:
            return None
        address = links.reply_address(
            self._vault, str(domain).strip(), claimed.organization_id, claimed.message_id
        )
        mailbox = email.to_mailbox(address)
        if mailbox is None:
            _log.warning("email.reply_domain is no domain", **ids(claimed))
        return mailbox


def _attachments(stored: Sequence[dict[str, Any]]) -> tuple[Attachment, ...]:
    """The files in a row; raises `AttributeError` or `TypeError` for anything else."""
    return tuple(
        Attachment(
            url=_text(file.get("url")) or "",
            filename=_text(file.get("filename")),
            content_type=_text(file.get("content_type")),
            size=file.get("size") if isinstance(file.get("size"), int) else None,
        )
        for file in stored
    )


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("a text is meant")
    return value
