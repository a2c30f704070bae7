"""Whether an attempt was made with the same account at the provider as the current credentials."""

from __future__ import annotations

from channels.errors import CannotAsk
from gateway.store.queue import Claimed

# Seconds by which an attempt may be younger than a change of credentials and still have been made
# with the old ones: the change may take so long to be committed, and a worker may have read them a
# lease before its request left, or as long before as waiting for room and loading files may take.
_COMMITTED, _HELD, _HELD_WITH_FILES = 30.0, 30.0, 300.0


def check_identity(claimed: Claimed, age: float | None) -> None:
    """Raise `CannotAsk` if an attempt, `age` seconds ago, may have been made with another account
    at the provider: the current one knows nothing of it."""
    if claimed.identified_age is None:
        return
    slack = _COMMITTED + (_HELD_WITH_FILES if claimed.attachments else _HELD)
    if age is None or age > claimed.identified_age - slack:
        text = "It was sent with another account at the provider than the one that is set now."
        raise CannotAsk(text, code="other_account")
