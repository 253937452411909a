"""Decorators for dataclasses that are never changed after they are made.

``dataclass(frozen=True)`` enforces that at run time, which makes creating an object several times
as slow. A handshake creates hundreds of objects. So for these classes only the type checker
enforces it.

``dataclass`` compiles each method of each class. That would be a quarter of the time of ``import
aiodtls``, so these classes share the methods that are seldom called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from reprlib import recursive_repr
from typing import Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")

# What the values of each class are compared and hashed by.
_compared: dict[type, Callable[[Any], Any]] = {}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Like ``dataclass(frozen=True, slots=True)``: compared and hashed by its fields."""
    return _known(dataclass(slots=True, eq=False, repr=False)(_with_methods(cls)))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen_kw_only(cls: type[T]) -> type[T]:
    """The same, with keyword-only fields."""
    return _known(dataclass(slots=True, eq=False, repr=False, kw_only=True)(_with_methods(cls)))


def _with_methods(cls: type[T]) -> type[T]:
    for name, method in (("__eq__", _equal), ("__hash__", _hash), ("__repr__", _repr)):
        if name not in vars(cls):
            setattr(cls, name, method)
    return cls


def _known(cls: type[T]) -> type[T]:
    names = [each.name for each in fields(cast(Any, cls)) if each.compare]
    _compared[cls] = attrgetter(*names) if names else _nothing
    return cls


def _nothing(value: object) -> tuple[()]:
    return ()


def _equal(self: object, other: object) -> Any:
    cls = type(self)
    if type(other) is not cls:
        return NotImplemented
    return _compared[cls](self) == _compared[cls](other)


def _hash(self: object) -> int:
    return hash(_compared[type(self)](self))


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"
