"""How often templates were used, added to their rows now and then.

Another program's trigger may refuse changes of one tenant's templates: the others are counted all
the same.
"""

from __future__ import annotations

from uuid import UUID

from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.store import upkeep
from gateway.store.database import Database
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError

_log = logger(__name__)

# Seconds until a template is tried again whose row could not be changed.
_AGAIN = 600.0
# The same if its row was locked, or the change took too long.
_HELD = 60.0
# Seconds to wait for a lock.
_PATIENCE = 2
# Seconds that one template may take.
_LONGEST = 3


class TemplateUses:
    """Folds the uses that accept has noted into the templates."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Templates whose rows cannot be changed: they are left out for a while.
        self._out: Lately[UUID] = Lately()

    async def fold(self) -> None:
        """Add the uses that wait; raises `DatabaseAwayError`."""
        try:
            async with self._database.as_service(patience=_PATIENCE) as db:
                await upkeep.fold_template_uses(db, without=list(self._out))
        except Exception as error:
            if isinstance(error, DatabaseAwayError) and not isinstance(error, OF_ITS_ROWS):
                raise
            await self._fold_each()

    async def _fold_each(self) -> None:
        async with self._database.as_service() as db:
            used = await upkeep.used_templates(db)
        for template in used:
            if template in self._out:
                continue
            try:
                async with self._database.as_service(patience=_PATIENCE, seconds=_LONGEST) as db:
                    await upkeep.fold_template_uses(db, only=[template])
            except OF_ITS_ROWS:
                self._out.add(template, _HELD)
            except DatabaseAwayError:
                raise
            except Exception:  # noqa: BLE001 - the others are counted
                _log.exception("uses of a template cannot be counted", template_id=str(template))
                self._out.add(template, _AGAIN)
