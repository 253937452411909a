"""Plain asyncio UDP: the floor; and the same with nothing but records of AES-GCM on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from struct import Struct
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls.net.eager_future import EagerFuture
from benchmarks.common import MESSAGE, WINDOW, Cost, Meter

# DTLS 1.2: type, version, epoch and number, length; in the record, and in the additional data.
HEADER, HEADER_AND_NONCE, ADDITIONAL = Struct("!BHQH"), Struct("!BHQH8s"), Struct("!QBHH")
DATA, VERSION, SALT, EXPANSION = 23, 0xFEFD, b"salt", 24


class Queueing(asyncio.DatagramProtocol):
    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.echoes:
            self.transport.sendto(data, addr)
        else:
            self.queue.put_nowait(data)


async def _endpoints(*, echoes: bool) -> tuple[Any, Queueing, Any, Queueing]:
    loop = asyncio.get_running_loop()
    far, far_protocol = await loop.create_datagram_endpoint(
        lambda: Queueing(echoes=echoes), local_addr=("127.0.0.1", 0)
    )
    near, near_protocol = await loop.create_datagram_endpoint(
        Queueing, remote_addr=far.get_extra_info("sockname")
    )
    return near, near_protocol, far, far_protocol


async def one_way(count: int) -> Cost:
    near, _, far, receiver = await _endpoints(echoes=False)
    with Meter(count) as meter:
        for _ in range(count // WINDOW):
            for _ in range(WINDOW):
                near.sendto(MESSAGE)
            for _ in range(WINDOW):
                await receiver.queue.get()
    near.close()
    far.close()
    return meter.cost


async def round_trips(count: int, message: bytes) -> Cost:
    near, receiver, far, _ = await _endpoints(echoes=True)
    with Meter(count) as meter:
        for _ in range(count):
            near.sendto(message)
            await receiver.queue.get()
    near.close()
    far.close()
    return meter.cost


class BareRecords:
    """What DTLS 1.2 takes at the very least, and none of the rest: no window, no connection id, no
    state, no queue, no limit, and whoever sends is believed to be the peer."""

    def __init__(self, sock: socket.socket, own: AESGCM, peer: AESGCM) -> None:
        self._sock = sock
        self._own, self._peer = own, peer
        self._number = 1 << 48
        self._loop = asyncio.get_running_loop()
        self._waiter: Any = None
        self._loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        record = self._sock.recv(2048)
        _, _, number, length, nonce = HEADER_AND_NONCE.unpack_from(record)
        additional = ADDITIONAL.pack(number, DATA, VERSION, length - EXPANSION)
        message = self._peer.decrypt(SALT + nonce, record[HEADER_AND_NONCE.size :], additional)
        self._waiter.resolve(message)

    async def send(self, message: bytes) -> None:
        number, length = self._number, len(message)
        self._number = number + 1
        nonce = number.to_bytes(8, "big")
        additional = ADDITIONAL.pack(number, DATA, VERSION, length)
        self._sock.send(
            HEADER.pack(DATA, VERSION, number, length + EXPANSION)
            + nonce
            + self._own.encrypt(SALT + nonce, message, additional)
        )

    async def recv(self) -> bytes:
        self._waiter = waiter = EagerFuture(loop=self._loop)
        message: bytes = await waiter
        return message

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()


async def bare_round_trips(count: int, message: bytes) -> Cost:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in sockets:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
    for sock, other in zip(sockets, reversed(sockets), strict=True):
        sock.connect(other.getsockname())
    keys = AESGCM(bytes(16)), AESGCM(bytes([1]) * 16)
    near, far = BareRecords(sockets[0], *keys), BareRecords(sockets[1], *reversed(keys))

    async def echo() -> None:
        while True:
            await far.send(await far.recv())

    task = asyncio.create_task(echo())
    await asyncio.sleep(0)
    with Meter(count) as meter:
        for _ in range(count):
            await near.send(message)
            await near.recv()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    near.close()
    far.close()
    return meter.cost
