"""What can go wrong with a send; each kind says whether and how to go on.

SendError
├── Refused          the provider will never take it: the message has failed
│   ├── OptedOut     ... because the recipient told the provider to stop
│   ├── Unreachable  ... because nothing is to be sent to the recipient's address
│   └── NotLookedAt  ... before it looked at the message: tells nothing about an earlier request
├── RefusedForNow    the provider did not take it, and says (or implies) to come back later
│   ├── CutOff       ... because its task was cancelled before all of it had left
│   └── Busy         ... because our own connections to it are busy: it was not asked
├── AnswerLost       the provider may have taken it, but its answer was lost: never resend blindly
└── CannotAsk        the provider cannot be asked what it took
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")


class SendError(Exception):
    """A send that did not end with the provider's id.

    `code` is the provider's own code where it gave one, else a word of ours;
    `message` is one sentence that staff can read. Neither ever holds a secret.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Refused(SendError):
    """The provider will never take this message."""


class OptedOut(Refused):
    """The recipient has told the provider that they want no more messages.

    `reason` is what they are on our list for: what takes it back is told with the same word.
    """

    def __init__(self, message: str, *, code: str | None = None, reason: str = "stop") -> None:
        super().__init__(message, code=code)
        self.reason = reason


class Unreachable(Refused):
    """Nothing is to be sent to this address: it has no mailbox, or the provider sends it no more.

    `reason` is that of a bounce that says the same; `stream` is the one that it is said of, where
    the provider has a list for each.
    """

    reason: Final = "hard_bounce"

    def __init__(self, message: str, *, code: str | None = None, stream: str | None = None) -> None:
        super().__init__(message, code=code)
        self.stream = stream


class NotLookedAt(Refused):
    """The provider refused before it looked at the message: because of the credentials, say."""


class RefusedForNow(SendError):
    """The provider did not take this message; another attempt may succeed.

    `retry_after` is the provider's wish in seconds, or None.
    """

    def __init__(
        self, message: str, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class CutOff(RefusedForNow):
    """It was given up by us before all of it had left: no refusal of the provider's."""

    def __init__(self) -> None:
        super().__init__("It was cut off before all of the message had left.", code="cut")


class Busy(RefusedForNow):
    """Our own connections are busy with other messages: no refusal of the provider's either."""


class AnswerLost(SendError):
    """The request may have reached the provider, and no trustworthy answer came back."""


class CannotAsk(SendError):
    """The provider cannot be asked what it took: only its reports can tell."""


class ContentError(ValueError):
    """The content does not fit its channel; `field` is the part of the request at fault.

    `others` are what else is wrong with it.
    """

    def __init__(self, field: str, message: str, others: Sequence[ContentError] = ()) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.others = others


def tried(wrong: list[ContentError], read: Callable[..., T], *given: object) -> T | None:
    """What `read` makes of a part; where it cannot, what is wrong is noted."""
    try:
        return read(*given)
    except ContentError as error:
        wrong += [error, *error.others]
        return None


def raise_all(wrong: Sequence[ContentError]) -> None:
    """Raise all that is wrong as one `ContentError`; nothing, where nothing is."""
    if wrong:
        first, *others = wrong
        raise ContentError(first.field, first.message, others)


class InvalidCredentials(ValueError):
    """Credentials that cannot be those of the provider; `problems` are (name, message) pairs.

    The messages never hold a value.
    """

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in problems))
        self.problems = problems
