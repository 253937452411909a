"""The packet filter chooses the socket of a connection id, and bound sockets keep their places."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from aiodtls import DTLSError
from aiodtls.cluster import IdLayout, steering

SLOTS = 4
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_ATTACH_REUSEPORT_CBPF")


@pytest.fixture
async def bound():
    sockets = await steering.bind("127.0.0.1", 0, SLOTS)
    yield [each[0] for each in sockets]
    steering.close(sockets)


def arrived_at(bound: list[socket.socket], datagram: bytes) -> list[int]:
    """The slots that get the datagram, from a socket of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(datagram, bound[0].getsockname())
    found = []
    for slot, sock in enumerate(bound):
        try:
            sock.recv(2048)
        except BlockingIOError:
            continue
        found.append(slot)
    return found


def records(cid: bytes) -> list[bytes]:
    """A record of DTLS 1.2 with a connection id, and two of DTLS 1.3."""
    numbers = bytes.fromhex("fefd 0001 000000000005")
    body = bytes(24)
    return [
        bytes((25,)) + numbers + cid + len(body).to_bytes(2) + body,
        bytes((0b0011_1111,)) + cid + bytes(2) + len(body).to_bytes(2) + body,
        bytes((0b0011_0010,)) + cid + bytes(1) + body,
    ]


@pytest.mark.parametrize("node", [b"", b"host"])
async def test_a_record_with_an_id_comes_to_its_slot(bound, node):
    for slot in range(SLOTS):
        layout = IdLayout(node, slot, SLOTS)
        for _ in range(8):
            cid = layout.new(layout.length, os.urandom)
            for record in records(cid):
                assert arrived_at(bound, record) == [slot]


async def test_anything_else_goes_by_the_hash_of_the_addresses(bound):
    without_id = [
        bytes.fromhex("16fefd 0000 000000000000 0010") + bytes(16),
        bytes((0b0010_1111,)) + bytes(20),
        bytes((0b0011_1111, 0, 0)),
        b"\x19",
        bytes(11),
    ]
    for datagram in without_id:
        slots = [arrived_at(bound, datagram) for _ in range(40)]
        assert all(len(each) == 1 for each in slots)
        assert len({each[0] for each in slots}) > 1


async def test_both_families_share_a_port():
    sockets = await steering.bind(None, 0, 2)
    try:
        ports = {sock.getsockname()[1] for each in sockets for sock in each}
        families = [[sock.family for sock in each] for each in sockets]
        assert len(ports) == 1
        assert families[0] == families[1]
    finally:
        steering.close(sockets)


async def test_another_system_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DTLSError, match="needs Linux and the batching transport, not darwin"):
        await steering.bind("127.0.0.1", 0, 2)
