"""What the tests of faults share: live associations, and what strangers send at them."""

from __future__ import annotations

import os
import random

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import HEADER
from tests.harness import Pair
from tests.simulated.variants import configs, pair_options

FORGED = int(os.environ.get("AIODTLS_FORGED_DATAGRAMS", "20000"))


def record(content_type: int, number: int, body: bytes, version: int = 0xFEFD) -> bytes:
    return HEADER.pack(content_type, version, number, len(body)) + body


def connected(variant: str = "certificate") -> Pair:
    """An association with nothing left to acknowledge, and data exchanged."""
    pair = Pair(*configs(variant), **pair_options(variant))
    assert pair.run() and pair.connected
    if pair.client.version == "1.3":
        assert pair.run(lambda: pair.client.confirmed and pair.client.session is not None)
    pair.exchange()
    return pair


def state(connection: DTLSConnection) -> tuple[object, ...]:
    """What nothing forged may move: timer, epochs, the next number, replay windows, buffers."""
    layer = connection._layer
    readers = [*layer.readers.items()]
    windows = [(epoch, reader.window.highest) for epoch, reader in readers]
    buffered = connection._driver._reassembly.buffered
    return connection.next_timeout(), layer.read_epoch, layer.writer.next_number, windows, buffered


def forgery(rng: random.Random) -> bytes:
    """A datagram of any type, epoch and length, now and then not even a record."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(0, 100))
    content_type = rng.choice((0, 20, 21, 22, 23, 24, 25, 26, 32, 45, 63))
    epoch = rng.choice((0, 0, 1, 1, 1, 2, 3, 65535))
    number = epoch << 48 | rng.choice((0, 5, rng.randrange(1 << 48), (1 << 48) - 1))
    body = rng.randbytes(rng.choice((0, 1, 2, 12, 13, 25, 40, 60)))
    if content_type == 22 and body and rng.random() < 0.7:
        kind = rng.choice((0, 1, 2, 3, 11, 12, 14, 16, 20))
        data = rng.randbytes(rng.randrange(20))
        length = len(data) + rng.choice((0, 0, 30))
        body = Fragment(kind, length, rng.randrange(8), 0, data).encode()
    if content_type == 21:
        body = bytes((rng.choice((1, 2)), rng.randrange(256)))
    return record(content_type, number, body)


def unified(rng: random.Random) -> bytes:
    """A datagram of forged protected records, in every form that the header has."""
    data = b""
    for _ in range(rng.randrange(1, 4)):
        first = 0x20 | rng.randrange(32)
        data += bytes((first,)) + rng.randbytes(2 if first & 8 else 1)
        body = rng.randbytes(rng.choice((0, 1, 15, 16, 17, 40, 200)))
        if first & 4:
            data += rng.choice((len(body), rng.randrange(1 << 16))).to_bytes(2, "big")
        data += body
    return data


def plaintext(rng: random.Random) -> bytes:
    """One of every kind in the clear: ACKs, alerts, hellos, Finished, data."""
    number = rng.choice((0, 3, (1 << 48) - 1, rng.randrange(1 << 48)))
    kind = rng.choice(list(HandshakeType))
    body = rng.choice(
        (
            rng.randbytes(40),
            Fragment(kind, 40, rng.randrange(6), 0, bytes(40)).encode(),
            b"\2\50",
            b"\1\0",
            b"\0\20" + bytes(7) + b"\3" + bytes(7) + b"\0",
            b"\0\0",
        )
    )
    return record(rng.choice([*ContentType, 0, 31, 64, 255]), number, body)
