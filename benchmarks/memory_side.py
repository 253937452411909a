"""The sans-IO core in memory: handshakes, many peers, idle associations, spoofed hellos."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls import DTLSProtocol
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.listener import Listener
from benchmarks.aiodtls_side import echo
from benchmarks.common import MESSAGE, Configs, Cost, Meter, repeated

SERVER = ("192.0.2.1", 4433)
TURN = 10


def peers() -> Iterator[tuple[str, int]]:
    """Socket addresses, no two alike."""
    for number in range(1 << 24):
        yield f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5000


def shake(
    client: DTLSConnection, server: DTLSConnection | Listener, peer: Any, now: float = 0.0
) -> None:
    """Hands datagrams over until neither has more to say; the listener's connections too."""
    while True:
        out = client.datagrams_to_send()
        for data, _ in out:
            server.receive_datagram(data, peer, now)
        back = server.datagrams_to_send()
        if isinstance(server, Listener):
            for connection in server.ready():
                back += connection.datagrams_to_send()
        for data, _ in back:
            client.receive_datagram(data, SERVER, now)
        if not out and not back:
            return


def pair(both: Configs, **options: Any) -> tuple[DTLSConnection, DTLSConnection]:
    client = DTLSConnection.client(both[0], SERVER, 0.0, server_hostname="localhost", **options)
    server = DTLSConnection.server(both[1], "client", 0.0)
    shake(client, server, "client")
    assert client.handshake_complete and server.handshake_complete
    return client, server


def handshakes(both: Configs, count: int) -> Cost:
    """Both sides together, without a cookie."""
    return repeated(lambda: pair(both), count)


def resumptions(both: Configs, count: int) -> Cost:
    """Each resumes the session of the one before; tickets of DTLS 1.3 are used once."""
    client, _ = pair(both)
    with Meter(count) as meter:
        for _ in range(count):
            client, _ = pair(both, session=client.session)
            assert client.resumed
    return meter.cost


def bare_handshakes(count: int) -> Cost:
    """What no handshake of both sides goes without: the calls of ``cryptography`` alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    algorithm = ec.ECDSA(hashes.SHA256())

    def one() -> None:
        ours, theirs = x25519.X25519PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        public.verify(key.sign(b"params", algorithm), b"params", algorithm)
        ours.exchange(theirs.public_key())
        theirs.exchange(ours.public_key())

    return repeated(one, count)


def bare_one_way(count: int) -> Cost:
    cipher, nonce, additional = AESGCM(bytes(16)), bytes(12), bytes(13)
    return repeated(
        lambda: cipher.decrypt(nonce, cipher.encrypt(nonce, MESSAGE, additional), additional), count
    )


def memory_one_way(both: Configs, count: int) -> Cost:
    client, server = pair(both)

    def one() -> None:
        client.send(MESSAGE, 0.0)
        for data, _ in client.datagrams_to_send():
            server.receive_datagram(data, "client", 0.0)
        server.read()

    return repeated(one, count)


class _Sink(asyncio.DatagramTransport):
    """Counts what is sent; keeps it while somebody reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.kept: list[tuple[bytes, Any]] | None = None

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.count += 1
        if self.kept is not None:
            self.kept.append((data, addr))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return SERVER if name == "sockname" else default


async def many_peers(both: Configs, number: int, count: int, busy: int | None = None) -> Cost:
    """An echo each in turn, a handler for each peer; the server's share alone, without a socket.

    With ``busy`` only so many of the peers talk.
    """
    protocol = DTLSProtocol(both[1], handler=echo)
    sink = _Sink()
    protocol.connection_made(sink)
    loop = asyncio.get_running_loop()
    clients = []
    for _, peer in zip(range(number), peers(), strict=False):
        client = DTLSConnection.client(both[0], SERVER, loop.time(), server_hostname="localhost")
        sink.kept = []
        while out := client.datagrams_to_send():
            for data, _ in out:
                protocol.datagram_received(data, peer)
            for data, _ in sink.kept:
                client.receive_datagram(data, SERVER, loop.time())
            sink.kept.clear()
        client.send(b"first", loop.time())
        for data, _ in client.datagrams_to_send():
            protocol.datagram_received(data, peer)
        clients.append((client, peer))
    sink.kept = None
    await asyncio.sleep(0.01)
    sink.count = 0
    datagrams = []
    for at in range(count):
        client, peer = clients[at % (busy or number)]
        client.send(MESSAGE, loop.time())
        datagrams += [(data, peer) for data, _ in client.datagrams_to_send()]
    del clients
    gc.collect()
    gc.freeze()

    def turn(at: int) -> None:
        for data, peer in datagrams[at : at + TURN]:
            protocol.batch_received(data, len(data), peer, True)

    with Meter(count) as meter:
        # No peer twice in a turn, however few there are.
        for at in range(0, count, TURN):
            loop.call_soon(turn, at)
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.unfreeze()
    assert sink.count == count, sink.count
    protocol.connection_lost(None)
    return meter.cost


def spoofed_hellos(both: Configs, count: int) -> Cost:
    """Hellos without a cookie, each from another address, answered by the listener."""
    client = DTLSConnection.client(both[0], SERVER, 0.0, server_hostname="localhost")
    hellos = [data for data, _ in client.datagrams_to_send()]
    listener = Listener(both[1])
    source = peers()
    answers = 0
    with Meter(count) as meter:
        for _ in range(count):
            peer = next(source)
            for hello in hellos:
                listener.receive_datagram(hello, peer, 0.0)
            answers += len(listener.datagrams_to_send())
    assert answers == count
    return meter.cost
