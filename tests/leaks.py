"""Finding known secrets in what anybody may read: log lines, reprs, exceptions."""

from __future__ import annotations

import asyncio
import base64
import functools
import gc
import logging
import traceback
import types
from collections.abc import Iterable
from typing import Any

# What is not ours, or leads to everything there is.
NOT_WALKED = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    type,
    logging.Logger,
    logging.Handler,
    asyncio.AbstractEventLoop,
)


@functools.cache
def spellings(secret: bytes) -> set[str]:
    """The ways in which bytes end up in a text; half of a secret is one secret too many."""
    found: set[str] = set()
    for part in (secret, secret[: len(secret) // 2], secret[len(secret) // 2 :]):
        if len(part) < 6:
            continue
        whole = len(part) // 3 * 3
        found |= {
            part.hex(),
            part.hex().upper(),
            part.hex(" "),
            part.hex(":"),
            base64.b64encode(part[:whole]).decode(),
            base64.urlsafe_b64encode(part[:whole]).decode(),
            repr(part)[2:-1],
            repr(bytearray(part))[12:-2],
            ascii(part.decode("latin-1"))[1:-1],
            part.decode("latin-1"),
            str(list(part))[1:-1],
            str(int.from_bytes(part, "big")),
        }
    return found


class Secrets:
    """What must not be seen, by name."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def add(self, name: str, secret: bytes) -> None:
        if len(secret) >= 8 and any(secret):
            self.known[f"{name} {len(self.known)}"] = secret

    def in_text(self, text: str) -> list[str]:
        """The names of those that are in it."""
        return [
            name
            for name, secret in self.known.items()
            if any(spelling in text for spelling in spellings(secret))
        ]


class Heard(logging.Handler):
    """Every line that is logged, with its traceback, as a formatter would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.lines.append(repr(record.args))


def reachable(roots: Iterable[Any]) -> list[Any]:
    """Every object of aiodtls that can be reached from these, suspended scripts included."""
    seen: dict[int, Any] = {}
    found, todo = [], list(roots)
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, NOT_WALKED):
            continue
        seen[id(item)] = item
        if isinstance(item, types.FrameType):
            todo += item.f_locals.values()
            continue
        if type(item).__module__.partition(".")[0] == "aiodtls":
            found.append(item)
        if isinstance(item, types.GeneratorType):
            todo.append(item.gi_frame)
        todo += gc.get_referents(item)
    return found


def texts_of(item: Any) -> list[str]:
    """All that a log line, a prompt or a debugger's list would show of it."""
    found = [repr(item), str(item), f"{item}", f"{[item]}"]
    if isinstance(item, BaseException):
        found += [repr(item.args), *traceback.format_exception(item)]
    return found
