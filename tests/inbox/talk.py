"""Messages for the inbox's tests: people write in, and their rows are found in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from tests.service.wires import from_twilio

if TYPE_CHECKING:
    from tests.inbox.conftest import Inbox

ANN = "+447700900123"


@dataclass(frozen=True)
class Talk:
    """Somebody talks with tenant A; all ids are text."""

    inbox: Inbox

    async def hears(self, body: str, sender: str = ANN, media: str | None = None) -> str:
        """An SMS comes in, with a file if `media` is its name; returns the message's id."""
        sid = f"SM{uuid4().hex}"
        message = {"MessageSid": sid, "AccountSid": "AC" + "a" * 32, "NumMedia": "0"}
        said = message | {"From": sender, "To": "+15551230001", "Body": body}
        answer = await from_twilio(self.inbox.gateway, "message", said)
        assert 200 == answer.status
        found = str(await self.inbox.value("SELECT id FROM messages WHERE external_id = $1", sid))
        if media is not None:
            await self.inbox.change(
                "INSERT INTO gateway.media (organization_id, id, message_id, position, filename,"
                " content_type, size, storage_key, state)"
                " SELECT organization_id, gen_random_uuid(), id, 0, $2, 'image/png', 1, 'x',"
                " 'stored' FROM messages WHERE id = $1",
                UUID(found),
                media,
            )
        return found

    async def reports(self, message: str, word: str, **more: str) -> None:
        """Twilio reports a status of a message."""
        sid = f"SM{UUID(message).hex}"
        said = {"MessageSid": sid, "AccountSid": "AC" + "a" * 32, "MessageStatus": word, **more}
        answer = await from_twilio(
            self.inbox.gateway, "status", said, query=f"?message_id={message}"
        )
        assert 200 == answer.status

    async def conversation(self, message: str) -> str:
        """The id of a message's conversation."""
        where = "SELECT conversation_id FROM messages WHERE id = $1"
        return str(await self.inbox.value(where, UUID(message)))

    async def file(self, message: str) -> str:
        """The id of a message's file."""
        where = "SELECT id FROM gateway.media WHERE message_id = $1"
        return str(await self.inbox.value(where, UUID(message)))

    async def last(self) -> dict[str, object]:
        """The row of the last outbound message."""
        async with self.inbox.gateway.database.as_service() as db:
            row = await db.fetchrow(
                "SELECT * FROM messages WHERE direction = 'outbound'"
                " ORDER BY created_at DESC LIMIT 1"
            )
        return dict(row or {})
