"""What happened in one of many meetings that go on at once: a log for each, with times.

A task that calls ``begin`` has a log of its own from then on, and with it all that it starts:
tasks, timers and transports. Without a log nothing is written down.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

from aiodtls.core.errors import DecodeError
from aiodtls.core.registry import AlertDescription, ContentType, HandshakeType
from aiodtls.core.reliability.acks import parse_ack
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import (
    EPOCH_MASK,
    EPOCH_SHIFT,
    FIXED_BITS,
    FIXED_MASK,
    SEQUENCE_NUMBER_MASK,
    Record,
    split_datagram,
)


class Trace:
    """Lines, each with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        at = time.monotonic() - self._began
        self.lines += [f"{at:9.4f} {line}" for line in text.splitlines()]


_TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


def begin() -> Trace:
    trace = Trace()
    _TRACE.set(trace)
    return trace


def note(text: str) -> None:
    if (trace := _TRACE.get()) is not None:
        trace.note(text)


def note_datagram(fate: str, data: bytes) -> None:
    """What became of a datagram, with the records in it."""
    if _TRACE.get() is not None:
        note(f"{fate} {describe(data)}")


def note_event(endpoint: object, event: object) -> None:
    """For ``on_event``."""
    note(f"ours {event!r}")


def describe(datagram: bytes) -> str:
    """The records of a datagram, as far as nobody needs a key for it."""
    records, whole = split_datagram(datagram)
    parts = [_describe(record) for record in records] + ([] if whole else ["(no record)"])
    return f"[{len(datagram)} B] " + " | ".join(parts)


def _describe(record: Record) -> str:
    content_type, number, body = record
    if content_type & FIXED_MASK == FIXED_BITS:
        return f"epoch ..{content_type & EPOCH_MASK} of DTLS 1.3, {len(body)} B"
    epoch = number >> EPOCH_SHIFT
    where = f"{epoch}/{number & SEQUENCE_NUMBER_MASK}"
    name = _name(ContentType, content_type)
    if epoch:
        return f"{where} {name}, {len(body)} B"
    if content_type == ContentType.handshake:
        try:
            return f"{where} " + ", ".join(map(_describe_fragment, parse_fragments(body)))
        except DecodeError:
            return f"{where} broken handshake, {len(body)} B"
    if content_type == ContentType.ack:
        try:
            numbers = parse_ack(body)
        except DecodeError:
            return f"{where} broken ack, {len(body)} B"
        named = [f"{n >> EPOCH_SHIFT}/{n & SEQUENCE_NUMBER_MASK}" for n in numbers]
        return f"{where} ack of {' '.join(named) or 'nothing'}"
    if content_type == ContentType.alert and len(body) == 2:
        return f"{where} alert {body[0]} {_name(AlertDescription, body[1])}"
    return f"{where} {name}, {len(body)} B"


def _describe_fragment(fragment: Fragment) -> str:
    name = f"{_name(HandshakeType, fragment.msg_type)} #{fragment.message_seq}"
    if len(fragment.data) == fragment.length:
        return name
    return f"{name} ({fragment.offset}+{len(fragment.data)} of {fragment.length})"


def _name(kind: type, value: int) -> str:
    try:
        return str(kind(value).name)
    except ValueError:
        return f"{kind.__name__} {value}"
