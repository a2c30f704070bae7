"""What a claimed entry says: whether it was sent, may have been sent, or is to be sent now."""

from __future__ import annotations

from channels.model import Status
from gateway.registry import PROVIDERS
from gateway.store.queue import Claimed

SETTLED = (Status.SENT, Status.CANCELED, Status.FAILED, Status.DELIVERED, Status.READ)


def is_settled(claimed: Claimed) -> bool:
    """Whether its message is known to have been sent, or never will be."""
    return claimed.external_id is not None or claimed.status in SETTLED


def only_sending_tells(claimed: Claimed) -> bool:
    """Whether an earlier request may have been taken, and only the same request can tell."""
    provider = PROVIDERS.get(claimed.provider or "")
    return (
        claimed.status == Status.UNKNOWN and provider is not None and provider.is_asked_by_sending
    )


def is_new_attempt(claimed: Claimed) -> bool:
    """Whether it is about to be sent, with no earlier attempt left open by a dead worker."""
    return claimed.phase == "send" and not claimed.was_leased and not is_settled(claimed)


def was_claimed_before(claimed: Claimed) -> bool:
    """Whether it was claimed before, so that a fallback may have been sent instead since then.

    Workers of an earlier version do not count claims, but what they claimed is not pending.
    """
    return claimed.claims > 1 or claimed.status != Status.PENDING


def will_leave(claimed: Claimed) -> bool:
    """Whether a request will be made for it. If it fails here, or is only pretended (of a test
    key), it takes no turn of its sender."""
    is_kept = claimed.is_test or claimed.is_expired or claimed.suppressed is not None
    return is_new_attempt(claimed) and bool(claimed.is_active) and not is_kept


def may_have_left(claimed: Claimed) -> bool:
    """Whether a dead worker may have sent it.

    For a provider that cannot be asked, `begun_at` is stored before a request leaves.
    """
    provider = PROVIDERS.get(claimed.provider or "")
    return provider is None or provider.can_be_asked or claimed.begun_at is not None
