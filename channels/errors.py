"""What can go wrong with a send; each class says whether and how to go on.

SendError
├── Refused          the provider will never take it: the message has failed
│   ├── OptedOut     ... because the recipient told the provider to stop
│   ├── Unreachable  ... because nothing should be sent to the recipient's address
│   └── NotLookedAt  ... before it looked at the message: says nothing about an earlier request
│       └── Unwritten  ... we could not even write the request: a defect of ours
├── RefusedForNow    the provider did not take it, and says (or implies) to come back later
│   ├── CutOff       ... because our task was cancelled before the whole request had left
│   └── Busy         ... because all our connections to the provider are busy: it was not asked
├── AnswerLost       the provider may have taken it, but its answer was lost: never resend blindly
└── CannotAsk        the provider cannot be asked what it took
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")


class SendError(Exception):
    """A send that did not end with the provider's id.

    `code` is the provider's own code if it gave one, else a word of ours;
    `message` is one sentence that staff can read. Neither ever contains a secret.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Refused(SendError):
    """The provider will never take this message."""


class OptedOut(Refused):
    """The recipient has told the provider that they want no more messages.

    `reason` is that of the suppression; an event that lifts it has the same reason.
    """

    def __init__(self, message: str, *, code: str | None = None, reason: str = "stop") -> None:
        super().__init__(message, code=code)
        self.reason = reason


class Unreachable(Refused):
    """Nothing should be sent to this address: it has no mailbox, or is on the provider's list.

    `reason` is that of a hard bounce, which means the same; `stream` names the provider's stream
    if it keeps a list for each.
    """

    reason: Final = "hard_bounce"

    def __init__(self, message: str, *, code: str | None = None, stream: str | None = None) -> None:
        super().__init__(message, code=code)
        self.stream = stream


class NotLookedAt(Refused):
    """The provider refused before it looked at the message: because of the credentials, say."""


class Unwritten(NotLookedAt):
    """We could not write the request, so nothing has left: its cause is a defect of ours."""

    def __init__(self) -> None:
        super().__init__("The gateway could not put this message together.", code="content")


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
    """We gave up before the whole request had left: not a refusal by the provider."""

    def __init__(self) -> None:
        super().__init__("It was cut off before all of the message had left.", code="cut")


class Busy(RefusedForNow):
    """Our own connections are busy with other messages: not a refusal by the provider either."""


class AnswerLost(SendError):
    """The request may have reached the provider, and no trustworthy answer came back."""


class CannotAsk(SendError):
    """The provider cannot be asked what it took: only its reports can tell."""


class ContentError(ValueError):
    """The content does not fit its channel; `field` is the part of the request at fault.

    `others` are the other errors in the same content.
    """

    def __init__(self, field: str, message: str, others: Sequence[ContentError] = ()) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.others = others


def tried(wrong: list[ContentError], read: Callable[..., T], *given: object) -> T | None:
    """What `read` returns; if it raises `ContentError`, None, and the errors are put in `wrong`."""
    try:
        return read(*given)
    except ContentError as error:
        wrong += [error, *error.others]
        return None


def raise_all(wrong: Sequence[ContentError]) -> None:
    """Raise all errors as one `ContentError`, if there are any."""
    if wrong:
        first, *others = wrong
        raise ContentError(first.field, first.message, others)


class InvalidCredentials(ValueError):
    """Credentials that cannot be valid for the provider; `problems` are (name, message) pairs.

    The messages never contain a value.
    """

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in problems))
        self.problems = problems
