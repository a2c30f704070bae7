"""Whether an attempt was made with the account at the provider that the credentials are of now."""

from __future__ import annotations

from channels.errors import CannotAsk
from gateway.store.queue import Claimed

# Seconds. An attempt may be that much younger than the change, and have been made with what was
# there before: the change may take so long to be committed; and a worker may have read them a lease
# before the request left, or as long before as it may take to load files and have room for them.
_COMMITTED, _HELD, _HELD_WITH_FILES = 30.0, 30.0, 300.0


def check_identity(claimed: Claimed, age: float | None) -> None:
    """Raises `CannotAsk` where an attempt, of so many seconds ago, may have been made with another
    account than the one that its credentials are of now, which knows nothing of it."""
    if claimed.identified_age is None:
        return
    slack = _COMMITTED + (_HELD_WITH_FILES if claimed.attachments else _HELD)
    if age is None or age > claimed.identified_age - slack:
        text = "It was sent with another account at the provider than the one that is set now."
        raise CannotAsk(text, code="other_account")
