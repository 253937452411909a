"""The state of an association, kept to be compared with, and to be put back in its place.

All objects of aiodtls and all containers that can be reached are looked at once; what is immutable
there (keys, configs, messages, enums) is kept as it is. A generator cannot be put back: whoever
resumes a handshake's script has to build the connection anew.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from functools import cache
from operator import attrgetter
from typing import Any

from aiodtls.core.statistics import Sums

OURS = ("aiodtls", "tests.fuzz")
DICTS = (dict, OrderedDict)
SEQUENCES = (list, deque, bytearray)
# What may differ although nothing has happened: how much was dropped, ciphers at rest, what is kept
# of the lengths of the last record and datagram, and where the search for a lost record number goes
# on.
COUNTERS = frozenset(
    {
        *("Counters", "GapSearch", "forged"),
        *("_cipher", "_masks", "_gap", "last_tails", "_datagram_size"),
    }
)


class Fields:
    """The slots of a class: ``get`` gives all values of an object, and ``put`` sets them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        getter = attrgetter(*names)
        self.get: Callable[[Any], tuple[Any, ...]]
        self.get = getter if len(names) > 1 else lambda item: (getter(item),)
        targets = "".join(f"item.{name}, " for name in names)
        made: dict[str, Any] = {}
        # One statement for all is several times as fast as setattr for each.
        exec(f"def put(item, values): {targets}= values", made)
        self.put: Callable[[Any, tuple[Any, ...]], None] = made["put"]


def _is_mutable(kind: type) -> bool:
    if not kind.__module__.startswith(OURS) or issubclass(kind, (enum.Enum, BaseException, type)):
        return False
    parameters = getattr(kind, "__dataclass_params__", None)
    # What is hashed by its fields is a value: nobody changes it.
    return parameters is None or not (parameters.frozen or parameters.unsafe_hash)


@cache
def _slots(kind: type) -> tuple[str, ...]:
    names = [name for base in kind.__mro__ for name in base.__dict__.get("__slots__", ())]
    return tuple(name for name in names if name not in ("__weakref__", "__dict__"))


@cache
def _fields(names: tuple[str, ...]) -> Fields:
    return Fields(names)


@cache
def _sort(kind: type) -> str:
    """What is to be done with objects of a class: nothing, for most of them."""
    if kind in DICTS:
        return "dict"
    if kind in SEQUENCES:
        return "sequence"
    if kind in (set, tuple):
        return kind.__name__
    # The sums are those of all associations, and no part of the state of one.
    if kind is Sums or not _is_mutable(kind):
        return ""
    if _slots(kind):
        return "object"
    # Events that say nothing but what they are have neither.
    return "attributes" if kind.__dictoffset__ else ""


class Snapshot:
    """Of everything that hangs on ``root``."""

    def __init__(self, root: Any) -> None:
        self._objects: list[tuple[Any, Fields, tuple[Any, ...]]] = []
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._sequences: list[tuple[Any, list[Any]]] = []
        self._sets: list[tuple[set[Any], set[Any]]] = []
        seen: set[int] = set()
        todo = [root]
        while todo:
            item = todo.pop()
            sort = _sort(type(item))
            if sort and id(item) not in seen:
                seen.add(id(item))
                todo += self._take(item, sort)

    def _take(self, item: Any, sort: str) -> Iterable[Any]:
        """Keeps what ``item`` holds, and says what that is."""
        if sort == "object":
            fields = _fields(_slots(type(item)))
            try:
                values = fields.get(item)
            except AttributeError:
                # Some are not set, and need not be.
                fields = _fields(tuple(n for n in fields.names if hasattr(item, n)))
                values = fields.get(item)
            self._objects.append((item, fields, values))
            return values
        if sort == "dict":
            self._dicts.append((item, dict(item)))
            return [*item.keys(), *item.values()]
        if sort == "sequence":
            items = list(item)
            self._sequences.append((item, items))
            return items
        if sort == "set":
            self._sets.append((item, set(item)))
            return list(item)
        return item if sort == "tuple" else [vars(item)]

    def restore(self) -> None:
        """Everything is as it was; what was made since is nowhere any more."""
        for item, fields, values in self._objects:
            fields.put(item, values)
        for found, kept in self._dicts:
            if found or kept:
                found.clear()
                found.update(kept)
        for sequence, items in self._sequences:
            if sequence or items:
                sequence.clear()
                sequence.extend(items)
        for group, members in self._sets:
            group.clear()
            group.update(members)

    def differences(self) -> list[str]:
        """What has changed since, counters of what was dropped excepted."""
        found = []
        for item, fields, values in self._objects:
            now = fields.get(item)
            if now == values or type(item).__name__ in COUNTERS:
                continue
            for name, is_now, was in zip(fields.names, now, values, strict=True):
                if is_now != was and name not in COUNTERS:
                    found.append(f"{type(item).__name__}.{name}: {was!r} -> {is_now!r}")
        for kind, pairs in (("dict", self._dicts), ("set", self._sets)):
            found += [f"a {kind}: {kept!r} -> {now!r}" for now, kept in pairs if now != kept]
        for sequence, items in self._sequences:
            if list(sequence) != items:
                found.append(f"a {type(sequence).__name__}: {items!r} -> {sequence!r}")
        return found
