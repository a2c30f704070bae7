"""JSON that others wrote: read only if it does not nest deeper than anybody writes.

Python's parser gives up at the interpreter's limit of recursion. On the way there the garbage
collector may run, and the finalizers that it calls fail, because no frame is left for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final

# Half of the interpreter's limit: the rest is for what has called us, and for finalizers.
DEPTH_AT_MOST: Final = 500

_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def load(
    text: str,
    *,
    parse_int: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:  # noqa: ANN401 - any JSON
    """The value of a text, read by `json.loads`; raises `ValueError`, also if it is too deep."""
    # Most texts have fewer brackets than that, even if those in strings are counted.
    if text.count("[") + text.count("{") > DEPTH_AT_MOST and _depth(text) > DEPTH_AT_MOST:
        raise ValueError(f"The JSON is nested more than {DEPTH_AT_MOST} levels deep.")
    return json.loads(
        text, parse_int=parse_int, parse_float=parse_float, parse_constant=parse_constant
    )


def as_object(value: object) -> dict[str, Any]:
    """A JSON object that others may have written; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def outside_strings(raw: bytes, kept: bytes) -> bytes:
    """Those bytes of JSON that are in `kept`, without what is inside of strings.

    Takes a quarter of a second at most for ten megabytes; a regular expression takes a whole one.
    """
    others = bytes({*range(256)} - {*kept, *b'"'})
    plain = raw.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, others)
    return b"".join(plain.split(b'"')[::2])


def _depth(text: str) -> int:
    brackets = outside_strings(text.encode(errors="replace"), b"[{]}")
    return max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b")), default=0)
