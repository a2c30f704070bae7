"""Dataclasses that only the type checker freezes: cheap to create, for objects of every message.

Python's own frozen dataclasses set each field through `object.__setattr__`, which takes four times
as long. The type checker refuses to change either kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(described: type[T]) -> type[T]:
    """A dataclass with slots and keyword arguments that the type checker treats as frozen."""
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(described)
