"""The messages of a connection in the order in which they went and came, as the runner has them.

One line each: "write" or "read", and then "hs" with its type, "ccs", "ack", or "alert" with level
and description. What is read counts once it is whole and its turn has come, what is written for
each record; data is left out.
"""

from __future__ import annotations

from aiodtls.core import connection
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.handshake import driver
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import ContentType
from aiodtls.core.reliability.reassembly import HandshakeMessage, Reassembly
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.records import Record
from tests.bogo.expectations import Failed

# Our answer to the close_notify with which the runner ends; BoringSSL's shim looks before its own.
LAST_LINE = "write alert 1 0"
NAMES = {int(ContentType.change_cipher_spec): "ccs", int(ContentType.ack): "ack"}

# Of the newest connection: there is one at a time.
lines: list[str] = []


class TracedLayer(RecordLayer):
    """Notes what it protects."""

    __slots__ = ()

    def protect(self, epoch: int, content_type: int, plaintext: bytes) -> bytes:
        if content_type == ContentType.handshake:
            lines.extend(f"write hs {part.msg_type}" for part in parse_fragments(plaintext))
        else:
            _note("write", content_type, plaintext)
        return super().protect(epoch, content_type, plaintext)


class TracedReassembly(Reassembly):
    """Notes the messages that it hands out."""

    __slots__ = ()

    def next_message(self, epoch: int) -> HandshakeMessage | None:
        message = super().next_message(epoch)
        if message is not None:
            lines.append(f"read hs {message.msg_type}")
        return message


class TracedConnection(DTLSConnection):
    """Notes all other records of the peer that mean something."""

    __slots__ = ()

    def _receive_record(self, record: Record, now: float) -> None:
        _note("read", record[0], record[2])
        super()._receive_record(record, now)


def _note(verb: str, content_type: int, body: bytes) -> None:
    if content_type == ContentType.alert:
        lines.append(f"{verb} alert {' '.join(str(byte) for byte in body)}")
    elif content_type in NAMES:
        lines.append(f"{verb} {NAMES[content_type]}")


def install() -> None:
    """From here on connections of this process are traced."""
    connection.RecordLayer = TracedLayer  # type: ignore[misc]
    driver.Reassembly = TracedReassembly  # type: ignore[misc]


def check(expected: str) -> None:
    """Raises :class:`Failed` where the newest connection's trace is another."""
    wanted = [*expected.splitlines(), LAST_LINE]
    if lines != wanted:
        raise Failed(f"the messages were {lines}")
