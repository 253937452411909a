"""Values: dataclasses that nobody changes once they are made.

``dataclass(frozen=True)`` sees to that at run time, and takes several times as long to make an
object. A handshake makes hundreds, so for these the type checker alone sees to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """As ``dataclass(frozen=True, slots=True)``: compared and hashed by its fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen_kw_only(cls: type[T]) -> type[T]:
    """The same, made by naming its fields."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=True)(cls)
