"""Links to files: for callers, who must authenticate, and for providers, who need not do so."""

from __future__ import annotations

import base64
import binascii
import re
import time
from uuid import UUID

from gateway import links
from gateway.vault import Vault

_PURPOSE = "media link"
_HEAD = 16 + 16 + 5
_MAC = 16
_OWN = re.compile(r"/v1/media/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")


class BadLinkError(Exception):
    """A token that is not ours, or has expired; it is not said which."""


class MediaLinks:
    """Makes and reads links to the files of messages."""

    def __init__(self, vault: Vault, base_url: str) -> None:
        self._vault = vault
        self._base_url = base_url
        self._shown_url = links.shown(base_url)

    @property
    def start(self) -> str:
        """How the URLs of files for callers begin."""
        return f"{self._shown_url}/v1/media/"

    def shown(self, media_id: UUID) -> str:
        """The URL of a file for callers, as in `messages.attachments`."""
        return f"{self.start}{media_id}"

    def public(self, organization_id: UUID, media_id: UUID, seconds: float = 3 * 86400) -> str:
        """A URL from which anybody can fetch the file for so many seconds: for providers."""
        head = organization_id.bytes + media_id.bytes + int(time.time() + seconds).to_bytes(5)
        token = head + self._vault.sign(_PURPOSE, head, _MAC)
        return f"{self._base_url}/media/{base64.urlsafe_b64encode(token).rstrip(b'=').decode()}"

    def read(self, token: str) -> tuple[UUID, UUID]:
        """(organization, file) of a token; raises `BadLinkError`."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise BadLinkError from None
        head, mac = raw[:_HEAD], raw[_HEAD:]
        if len(mac) != _MAC or not self._vault.is_signed(_PURPOSE, head, mac):
            raise BadLinkError
        if int.from_bytes(head[32:]) < time.time():
            raise BadLinkError
        return UUID(bytes=head[:16]), UUID(bytes=head[16:32])


def media_id_of(url: str) -> UUID | None:
    """The file of a URL that `MediaLinks.shown` made, also with an earlier PUBLIC_URL."""
    found = _OWN.search(url)
    return UUID(found[1]) if found else None
