"""Frozen for whoever reads and checks the code, and cheap to make: for what each message has.

A frozen dataclass of Python's sets each field through `object.__setattr__`, and so takes four times
as long to make. The type checker refuses every change of either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(described: type[T]) -> type[T]:
    """A dataclass with slots and keywords that nothing may change once it is made."""
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(described)
