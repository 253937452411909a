"""Reads the files of ``DTLSConfig(trace=directory)``. They may come from others, so nothing in them
is trusted: what is not as expected is left out, and text is made safe for a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiodtls.core.peer_text import shown

RECORD_SEPARATOR = b"\x1e"
PREFIX = "dtls:"
ROLES = ("client", "server")
# In milliseconds. What is later, infinite or no number at all is no time.
LATEST = 1e15


@dataclass(frozen=True)
class Happening:
    """An event of a trace. ``at`` is in seconds since 1970, ``order`` its place in the trace."""

    at: float
    name: str
    data: dict[str, Any]
    order: int = 0

    def text(self, name: str) -> str:
        """A field as safe text; empty without it."""
        value = self.data.get(name, "")
        return shown(value if isinstance(value, str) else json.dumps(value))

    def number(self, name: str) -> int:
        """A field as a number; 0 without it."""
        value = self.data.get(name)
        return value if isinstance(value, int) else 0

    def listed(self, name: str) -> list[Any]:
        """A field as a list; empty without it."""
        value = self.data.get(name)
        return value if isinstance(value, list) else []


@dataclass(frozen=True)
class Side:
    """The trace of one side."""

    role: str
    title: str
    happenings: list[Happening] = field(repr=False)


def read(path: Path) -> Side:
    """The trace in a file. Raises ValueError if it is none, and OSError."""
    first, *others = _texts(path) or [None]
    trace = first.get("trace") if isinstance(first, dict) else None
    if not isinstance(trace, dict):
        raise ValueError(f"{path} is no trace: it does not begin with a header of qlog")
    role = _within(trace, "vantage_point", "type")
    if role not in ROLES:
        raise ValueError(f"{path} does not say whether it is of a client or of a server")
    start = _start(path, _within(trace, "common_fields", "reference_time", "epoch"))
    assert isinstance(first, dict)
    title = first.get("title")
    found = [_happening(text, start, order) for order, text in enumerate(others)]
    happenings = [happening for happening in found if happening is not None]
    return Side(str(role), shown(title if isinstance(title, str) else path.name), happenings)


def _texts(path: Path) -> list[Any]:
    """The JSON texts of a file. One that is cut, because a disk was full, is left out."""
    found = []
    for text in path.read_bytes().split(RECORD_SEPARATOR)[1:]:
        try:
            found.append(json.loads(text))
        except (ValueError, RecursionError):
            continue
    return found


def _within(content: Any, *names: str) -> Any:
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _start(path: Path, epoch: Any) -> float:
    try:
        moment = datetime.fromisoformat(epoch)
    except (TypeError, ValueError):
        raise ValueError(f"{path} does not say when it begins") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _happening(text: Any, start: float, order: int) -> Happening | None:
    if not isinstance(text, dict):
        return None
    time, name, data = text.get("time"), text.get("name"), text.get("data")
    if not isinstance(time, int | float) or not abs(time) < LATEST:
        return None
    if not isinstance(name, str) or not isinstance(data, dict):
        return None
    return Happening(start + time / 1000, name.removeprefix(PREFIX), data, order)


def numbers_of(records: list[Any]) -> Iterator[tuple[int, int]]:
    """Epoch and sequence number of each record in a list of a trace."""
    for record in records:
        epoch, number = _within(record, "epoch"), _within(record, "sequence_number")
        if isinstance(epoch, int) and isinstance(number, int):
            yield epoch, number
