"""Errands: what a webhook only links to is fetched later, with retries.

Kinds: `media`, a file of a message; `parse`, an answer that is read like a webhook; `visit`, a URL
that has to be called. Bytes are stored before any row refers to them, and every step may be
repeated: an errand whose worker dies is done again when its lease ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from channels.http import Limits
from channels.model import Account
from gateway.media import kinds
from gateway.media.files import LIMITS
from gateway.media.links import MediaLinks
from gateway.media.store import MediaStore, MediaStoreError, storage_key
from gateway.observability.logs import logger
from gateway.outside.download import Downloader, DownloadLater, DownloadRefused, File
from gateway.receive.fetching import Fetching
from gateway.registry import PROVIDERS, Provider
from gateway.store import media
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError, RefusedError
from gateway.store.media import Errand, Holder
from gateway.vault import Vault, VaultError
from webhooks.model import Unreadable, WebhookRequest

_log = logger(__name__)

Fetched = Callable[[Account, WebhookRequest], Awaitable[None]]

CONCURRENCY = 5
# How many lanes one organization, and one account, may use: a slow account leaves one to the other
# accounts of its organization, and a slow organization leaves one to the other organizations.
_OF_ORGANIZATION = CONCURRENCY - 1
_OF_ACCOUNT = _OF_ORGANIZATION - 1
# Seconds until a lane looks again after nothing was due.
_REST = 1.0
# HTTP statuses that end once the account's credentials are corrected; and those that may end soon,
# of a file that is not there yet.
_CREDENTIALS = (401, 403)
_PASSING = (404,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long errands are tried: `waits` are the seconds after each attempt.

    A `lease` must outlast one attempt. After `passing` refusals that may end soon (`_PASSING`) an
    errand is given up, unless its kind is `parse`: that may be somebody's message.
    """

    waits: tuple[float, ...] = (5, 30, 120, 600, 3600, 21600, 21600)
    passing: int = 3
    lease: float = 300.0
    limits: Limits = LIMITS

    @property
    def most(self) -> int:
        """How many attempts there are."""
        return len(self.waits) + 1


class Errands:
    """Does due errands; `fetched` takes the answers that are read like webhooks."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        store: MediaStore,
        links: MediaLinks,
        downloader: Downloader,
        fetched: Fetched,
        *,
        api_urls: Mapping[str, str | None],
        patience: Patience | None = None,
        providers: Mapping[str, Provider] = PROVIDERS,
    ) -> None:
        self._database = database
        self._store = store
        self._links = links
        self._fetched = fetched
        self._patience = patience or Patience()
        self._fetching = Fetching(
            vault,
            downloader,
            api_urls=api_urls,
            providers=providers,
            limits=self._patience.limits,
        )
        self._claiming = asyncio.Lock()
        self._held: list[Holder] = []

    async def run(self) -> None:
        """Do due errands in five lanes, until cancelled: a slow errand delays only its own lane."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(CONCURRENCY):
                lanes.create_task(self._lane())

    async def _lane(self) -> None:
        """Do one errand after the other, and rest when none is due."""
        while True:
            try:
                await self.run_next(rest=_REST)
                continue
            except DatabaseAwayError as error:
                _log.warning("the database is away", error=str(error))
            except Exception:  # noqa: BLE001 - what failed once is tried again
                _log.exception("errands could not be claimed")
            await asyncio.sleep(_REST)

    async def run_next(self, *, rest: float = 0.0) -> bool:
        """Do one errand that is due; False, after a `rest` in seconds, when none is.

        Raises `DatabaseAwayError`.
        """
        async with self._claiming:  # so that `_held` names the errands of all lanes
            async with self._database.as_service() as db:
                errand = await media.claim_errand(
                    db,
                    self._patience.lease,
                    self._held,
                    of_account=_OF_ACCOUNT,
                    of_organization=_OF_ORGANIZATION,
                )
            if errand is None:
                # With the lock, for which the other lanes wait: one look serves them all.
                await asyncio.sleep(rest)
                return False
            self._held.append(errand.holder)
        try:
            await self._run(errand)
        except asyncio.CancelledError:
            # The worker stops: give the errand back, so that another need not wait for the end of
            # the lease. If the database is down it has to.
            with suppress(DatabaseAwayError):
                async with self._database.as_service() as db:
                    await media.give_back_errand(db, errand)
            raise
        finally:
            self._held.remove(errand.holder)
        return True

    async def _run(self, errand: Errand) -> None:
        try:
            if errand.attempts > self._patience.most:
                # Its worker died each time, so no attempt got as far as `_again`.
                await self._give_up(errand, "It could not be fetched.")
            elif errand.kind == "media" and errand.state != "waiting":
                await self._finish(errand)  # done, or its message was deleted
            else:
                await self._attempt(errand)
        except DatabaseAwayError:
            raise
        except RefusedError as error:
            _log.error("the database refuses a row", **error.rule, **_ids(errand), exc_info=error)
            await self._again(errand, "A rule of the database refuses to store it.", None)
        except Exception:  # noqa: BLE001 - one errand's defect must not stop the others
            _log.exception("an errand met what nobody expected", **_ids(errand))
            await self._again(errand, "The gateway made a mistake.", None)

    async def _attempt(self, errand: Errand) -> None:
        try:
            account = self._fetching.account(errand)
            if errand.kind == "media":
                await self._keep(errand, await self._fetching.file(account, errand.url))
                return
            file = await self._fetching.answer(account, errand.url)
            if errand.kind == "parse":
                await self._fetched(account, _as_request(errand, file))
            await self._finish(errand)
        except DownloadLater as error:
            await self._again(errand, error.message, error.retry_after)
        except DownloadRefused as error:
            may_pass = error.status in _CREDENTIALS or (
                error.status in _PASSING
                and (errand.kind == "parse" or errand.attempts < self._patience.passing)
            )
            if may_pass:
                await self._again(errand, error.message, None)
            else:
                await self._give_up(errand, error.message)
        except MediaStoreError as error:
            _log.error("the media store cannot be used", error=str(error))
            await self._again(errand, "The gateway could not keep it.", None)
        except VaultError as error:
            _log.error("credentials do not open", error=str(error), **_ids(errand))
            await self._again(errand, "The account's credentials do not open.", None)
        except Unreadable as error:
            await self._give_up(errand, f"The provider's answer cannot be read: {error}")

    async def _keep(self, errand: Errand, file: File) -> None:
        """Store the bytes, and then refer to them in the file's row and in its message."""
        content_type = kinds.type_of(file.content, file.content_type)
        if content_type == kinds.UNKNOWN:
            content_type = kinds.type_of(file.content, errand.content_type)
        key = storage_key(errand.organization_id, errand.id)
        await self._store.put(key, file.content, content_type)
        async with self._database.as_service() as db:
            is_first = await media.set_stored(
                db,
                errand,
                filename=kinds.clean_name(file.filename),
                content_type=content_type,
                size=len(file.content),
                storage_key=key,
                url=self._links.shown(errand.id),
            )
            is_gone = (
                not is_first and await media.get(db, errand.organization_id, errand.id) is None
            )
        if is_gone:
            await self._store.delete(key)  # its message was deleted meanwhile
            return
        _log.info("file stored", size=len(file.content), **_ids(errand))

    async def _finish(self, errand: Errand) -> None:
        async with self._database.as_service() as db:
            await media.finish_errand(db, errand)

    async def _again(self, errand: Errand, reason: str, retry_after: float | None) -> None:
        if errand.attempts >= self._patience.most:
            await self._give_up(errand, reason)
            return
        wait = max(self._patience.waits[errand.attempts - 1], retry_after or 0.0)
        _log.warning("an errand is tried again", reason=reason, seconds=wait, **_ids(errand))
        async with self._database.as_service() as db:
            await media.postpone_errand(db, errand, wait)

    async def _give_up(self, errand: Errand, reason: str) -> None:
        _log.error("an errand is given up", reason=reason, **_ids(errand))
        if errand.kind == "parse":
            await self._tell_unfetched(errand)
        async with self._database.as_service() as db:
            await media.set_failed(db, errand, reason)

    async def _tell_unfetched(self, errand: Errand) -> None:
        """Tell the webhook half that a fetch failed: there may be another form of the message."""
        request = WebhookRequest(
            method="GET", url=errand.url, event="unfetched", headers={}, body=b""
        )
        try:
            await self._fetched(self._fetching.account(errand), request)
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - the errand is given up all the same
            _log.exception("nothing else could be had", **_ids(errand))


def _as_request(errand: Errand, file: File) -> WebhookRequest:
    return WebhookRequest(
        method="GET", url=errand.url, event="fetched", headers=file.headers, body=file.content
    )


def _ids(errand: Errand) -> dict[str, str | int]:
    return {
        "errand_id": str(errand.id),
        "organization_id": str(errand.organization_id),
        "provider": errand.provider,
        "kind": errand.kind,
        "attempt": errand.attempts,
    }
