"""Accept: request → rendered row and queue entry → 202. Nothing is answered before it is stored.

Two transactions: `drafting` reads everything that the requests refer to, as the caller; then
`storing` stores them together, as `service_role`, for the organization of the caller, never for one
that a request names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from channels.lines import FullError
from gateway.accept import repeating
from gateway.accept.accepted import Accepted, Idempotency
from gateway.accept.drafting import Drafting
from gateway.accept.keeping import Alone, Result
from gateway.accept.malformed import Malformed, drafts
from gateway.accept.recalling import Recalling, Replayed
from gateway.accept.rows import Rows
from gateway.accept.storing import Owned, Storing
from gateway.again import once_more
from gateway.media.files import Files
from gateway.observability.logs import info_each, logger
from gateway.observability.metrics import Metrics
from gateway.problems import Problem, found, invalid
from gateway.shapes.messages import SendRequest
from gateway.store import messages
from gateway.store.database import Caller, Database
from gateway.store.errors import NOT_STORED, ConflictError, RefusedError

_log = logger(__name__)

# How often at most everything is read, if something that was found is deleted before it is used.
_READINGS = 3


class Accepting:
    """The coordinator of accept."""

    def __init__(
        self,
        database: Database,
        drafting: Drafting,
        files: Files,
        metrics: Metrics,
        nudge: Callable[[], None],
    ) -> None:
        self._database = database
        self._drafting = drafting
        self._recalling = Recalling(database)
        self._storing = Storing(database, self._stored)
        self._rows = Rows(files)
        self._metrics = metrics
        self._nudge = nudge

    async def close(self) -> None:
        """Finish what accepted messages still need; call it when no more are accepted."""
        await self._storing.close()
        await self._rows.close()

    async def recall(self, caller: Caller, idempotency: Idempotency) -> Replayed | None:
        """The first answer under this key; raises `Problem` 409 when that was another request."""
        return await self._recalling.recall(caller, idempotency)

    async def accept(
        self,
        caller: Caller,
        requests: Sequence[SendRequest | Malformed[SendRequest]],
        idempotency: Idempotency | None = None,
        *,
        conversation_id: UUID | None = None,
        is_batch: bool = False,
    ) -> list[Result] | Replayed:
        """Store every valid request; for each, in order, its row or its problem.

        Replies belong to `conversation_id`; raises `Problem` 422 if their address belongs to
        another one, or if a message that is to begin a conversation (`placing.BEGINS`) does not.
        In a batch, a message that the database refuses becomes a `Problem`; otherwise the error is
        raised.

        With an idempotency key the answer is kept in the same transaction. If another request with
        that key was first, nothing is stored, and the answer to that one is returned.
        """

        async def attempt(alone: Alone) -> list[Result] | Replayed:
            read = await drafts(self._drafting, caller, requests)
            results = await self._rows.all(caller, requests, read, conversation_id)
            return await self._keep(caller, results, idempotency, alone if is_batch else ())

        # A lead that was found may be deleted before the message is stored: then all is read again.
        for _ in range(_READINGS - 1):
            with suppress(ConflictError):
                return await attempt((RefusedError,))
        return await attempt((RefusedError, ConflictError))

    async def retry(
        self, caller: Caller, message_id: UUID, idempotency: Idempotency | None = None
    ) -> list[Result] | Replayed:
        """A new message like a failed one, with `retry_of`; raises `Problem` 404, 409 or 422.

        409 also if another message was sent in its place and has not failed.
        """
        return await once_more(
            lambda: self._retry(caller, message_id, idempotency), (ConflictError,)
        )

    async def _retry(
        self, caller: Caller, message_id: UUID, idempotency: Idempotency | None
    ) -> list[Result] | Replayed:
        async with self._database.as_caller(caller) as db:
            old = found("message", await messages.get(db, caller.organization_id, message_id))
            parts = await messages.parts(db, caller.organization_id, message_id)
        before = repeating.parts_of(caller, old, parts)
        request = repeating.request_of(old, before)
        (draft,) = await self._drafting.read(caller, [request], repeats=before)
        if draft.errors:
            raise invalid(draft.errors)
        if before.thread is not None:
            # The thread as it was before the failed mail, which never arrived.
            draft = replace(draft, parts=replace(draft.parts, thread=before.thread))
        row = await self._rows.one(caller, request, draft)
        return await self._keep(caller, [repeating.replacing(row, old)], idempotency)

    async def accept_sign_in(self, caller: Caller, request: SendRequest, link_id: UUID) -> None:
        """Store a mail with a sign-in link; raises `Problem` 422."""
        await once_more(lambda: self._sign_in(caller, request, link_id), (ConflictError,))

    async def _sign_in(self, caller: Caller, request: SendRequest, link_id: UUID) -> None:
        (draft,) = await self._drafting.read(caller, [request])
        if draft.errors:
            raise invalid(draft.errors)
        draft = replace(draft, parts=replace(draft.parts, sign_in=link_id))
        await self._keep(caller, [await self._rows.one(caller, request, draft)], None)

    async def _keep(
        self,
        caller: Caller,
        results: Sequence[Result],
        idempotency: Idempotency | None,
        alone: Alone = (),
    ) -> list[Result] | Replayed:
        accepted = Accepted(caller=caller, results=results, idempotency=idempotency, alone=alone)
        if not accepted.is_new:
            return list(results)
        try:
            stored = await self._storing.store(accepted)
        except (*NOT_STORED, FullError, Problem):
            self._rows.discard(accepted.rows)
            raise
        if stored is None:
            self._rows.discard(accepted.rows)
            replayed = await self.recall(caller, idempotency) if idempotency else None
            if replayed is None:
                raise Problem(409, "A request with this Idempotency-Key is under way.")
            return replayed
        pairs = zip(results, stored, strict=True)
        self._rows.discard(
            [
                row
                for row, became in pairs
                if isinstance(became, Problem) and not isinstance(row, Problem)
            ]
        )
        return stored

    def _stored(self, rows: Sequence[Owned]) -> None:
        for _, row in rows:
            self._metrics.accepted(row["channel"], row["provider"], is_test=row["is_test"])
        info_each(
            _log,
            "accepted",
            [
                {
                    "message_id": str(row["id"]),
                    "organization_id": str(organization_id),
                    "channel": row["channel"],
                }
                for organization_id, row in rows
            ],
        )
        self._nudge()
