"""Decorators for dataclasses that are never changed after they are made.

``dataclass(frozen=True)`` enforces that at run time, which makes creating an object several times
as slow. A handshake creates hundreds of objects. So for these classes only the type checker
enforces it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Like ``dataclass(frozen=True, slots=True)``: compared and hashed by its fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen_kw_only(cls: type[T]) -> type[T]:
    """The same, with keyword-only fields."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=True)(cls)
