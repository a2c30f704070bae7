"""Stores people, templates and messages directly in the organization of a stage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from channels.model import Channel
from gateway.ids import new_id
from gateway.manage import setup
from gateway.media.files import Files
from gateway.media.links import MediaLinks
from gateway.media.store import open_store
from gateway.outside.download import Downloader
from gateway.store import media
from gateway.store.media import NewMedia
from gateway.store.values import as_json

if TYPE_CHECKING:
    from gateway.store.database import Connection
    from tests.browser.conftest import Stage

OURS = {
    "sms": "+15551230001",
    "whatsapp": "+15551230009",
    "call": "+15551230001",
    "email": "desk@alpha.example.com",
}


class Scene:
    """Stores people, templates and messages in the organization of a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._at = datetime.now(UTC) - timedelta(days=3)
        self._files = Files(
            stage.database,
            open_store(None, stage.settings.gateway_data),
            MediaLinks(stage.vault, stage.settings.base_url),
            Downloader(),
        )

    async def senders(self) -> None:
        """Add a sender on every channel."""
        stage = self._stage
        account = stage.a.account_id
        for channel in (Channel.WHATSAPP, Channel.CALL):
            await setup.add_sender(
                stage.database, account, channel, OURS[channel], is_default=True, rate=None
            )
        smtp = await setup.add_account(
            stage.database,
            stage.vault,
            stage.a.organization_id,
            "smtp",
            {"host": "127.0.0.1", "port": "1", "tls": "none"},
        )
        await setup.add_sender(
            stage.database, smtp, Channel.EMAIL, OURS["email"], is_default=True, rate=None
        )

    async def template(self, kind: str, name: str, content: str, variables: list[str]) -> None:
        """Store a template; one for WhatsApp names a template at Twilio."""
        options = {"content_sid": "HX" + "0" * 32} if kind == "whatsapp" else None
        async with self._stage.database.as_service() as db:
            await db.execute(
                "INSERT INTO message_templates"
                " (organization_id, name, type, content, variables, options)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                self._stage.a.organization_id,
                name,
                kind,
                content,
                variables,
                as_json(options) if options else None,
            )

    async def lead(self, first: str, last: str | None, phone: str | None, **more: Any) -> UUID:
        """Store a lead."""
        columns = {"first_name": first, "last_name": last, "phone": phone, **more}
        names = ", ".join(columns)
        places = ", ".join(f"${n}" for n in range(2, len(columns) + 2))
        async with self._stage.database.as_service() as db:
            found: UUID = await db.fetchval(
                f"INSERT INTO leads (organization_id, {names}) VALUES ($1, {places}) RETURNING id",  # noqa: S608 - names of ours
                self._stage.a.organization_id,
                *columns.values(),
            )
        return found

    async def said(
        self,
        channel: str,
        theirs: str,
        body: str,
        *,
        ours: bool = False,
        status: str | None = None,
        minutes: float = 7,
        unread: bool = False,
        files: tuple[tuple[str, str, bytes], ...] = (),
        told: dict[str, Any] | None = None,
        **columns: Any,
    ) -> UUID:
        """Store a message, some minutes after the one before it."""
        self._at = min(self._at + timedelta(minutes=minutes), datetime.now(UTC))
        message_id = new_id()
        stage = self._stage
        kept = [
            await self._files.keep(
                NewMedia(
                    organization_id=stage.a.organization_id,
                    id=new_id(),
                    message_id=message_id,
                    position=n,
                    filename=name,
                    content_type=kind,
                ),
                content,
            )
            for n, (name, kind, content) in enumerate(files)
        ]
        shown = [
            {"url": self._files.url(one.id), "filename": name, "content_type": kind, "size": size}
            for one, (name, kind, size) in zip(
                kept, [(n, k, len(c)) for n, k, c in files], strict=True
            )
        ]
        row = {
            "id": message_id,
            "organization_id": stage.a.organization_id,
            "channel": channel,
            "direction": "outbound" if ours else "inbound",
            "from_address": OURS[channel] if ours else theirs,
            "to_address": theirs if ours else OURS[channel],
            "body": body,
            "status": status or ("delivered" if ours else "received"),
            "created_at": self._at,
            "attachments": as_json(shown),
            "metadata": as_json({"provider": told or {}}),
            **({"failed_at": self._at + timedelta(seconds=34)} if status == "failed" else {}),
            **columns,
        }
        names = ", ".join(row)
        places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        async with stage.database.as_service() as db:
            await db.execute(
                f"INSERT INTO messages ({names}) VALUES ({places})",  # noqa: S608 - names of ours
                *row.values(),
            )
            await media.insert(db, kept)
            if unread:
                await db.execute(
                    "UPDATE gateway.conversations SET unread_count = unread_count + 1"
                    " WHERE id = (SELECT conversation_id FROM messages WHERE id = $1)",
                    message_id,
                )
            if ours:
                await self._happened(db, row)
        return message_id

    async def _happened(self, db: Connection, row: dict[str, Any]) -> None:
        """Store the events of a message of ours up to its status."""
        failed = row["status"] == "failed"
        told = {"error_code": row["error_code"]} if failed else {}
        steps: list[tuple[str, str | None, str, float, dict[str, Any]]] = [
            ("accepted", "pending", "api", 0, {}),
            ("attempt", None, "worker", 0.2, {"attempt": 1}),
            ("sent", "sent", "worker", 0.6, {}),
        ]
        if row["status"] != "sent":
            word = "undelivered" if failed else row["status"]
            steps.append((word, row["status"], "twilio", 34, told))
        await db.executemany(
            "INSERT INTO gateway.message_events (organization_id, message_id, id, type, status,"
            " source, occurred_at, recorded_at, detail)"
            " VALUES ($1, $2, gen_random_uuid(), $3, $4, $5, $6, $6, $7)",
            [
                (
                    row["organization_id"], row["id"], kind, status, source,
                    row["created_at"] + timedelta(seconds=after), as_json(detail),
                )
                for kind, status, source, after, detail in steps
            ],
        )  # fmt: skip

    async def conversation(self, message_id: UUID) -> UUID:
        """The conversation that a message is in."""
        async with self._stage.database.as_service() as db:
            found: UUID = await db.fetchval(
                "SELECT conversation_id FROM messages WHERE id = $1", message_id
            )
        return found
