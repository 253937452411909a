"""pyOpenSSL's memory BIO: OpenSSL's DTLS 1.2 without sockets, and under asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from benchmarks.common import MESSAGE, Cost, Meter, credentials, repeated

SUITE = b"ECDHE-ECDSA-AES128-GCM-SHA256"


def context(method: int) -> SSL.Context:
    made = SSL.Context(method)
    made.set_cipher_list(SUITE)
    if method == SSL.DTLS_SERVER_METHOD:
        made.use_certificate(x509.load_der_x509_certificate(credentials().chain[0]))
        made.use_privatekey(credentials().private_key)
    return made


def connection(made: SSL.Context, *, is_client: bool) -> SSL.Connection:
    new = SSL.Connection(made)
    new.set_ciphertext_mtu(1472)
    if is_client:
        new.set_connect_state()
    else:
        new.set_accept_state()
    return new


def move(source: SSL.Connection, target: SSL.Connection) -> None:
    with contextlib.suppress(SSL.WantReadError):
        while True:
            target.bio_write(source.bio_read(65535))


def handshake(contexts: tuple[SSL.Context, SSL.Context]) -> tuple[SSL.Connection, SSL.Connection]:
    client = connection(contexts[0], is_client=True)
    server = connection(contexts[1], is_client=False)
    done = 0
    while done < 2:
        done = 0
        for near, far in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                near.do_handshake()
                done += 1
            move(near, far)
    return client, server


def contexts() -> tuple[SSL.Context, SSL.Context]:
    return context(SSL.DTLS_CLIENT_METHOD), context(SSL.DTLS_SERVER_METHOD)


def memory_handshakes(count: int) -> Cost:
    both = contexts()
    return repeated(lambda: handshake(both), count)


def memory_one_way(count: int) -> Cost:
    client, server = handshake(contexts())

    def one() -> None:
        client.send(MESSAGE)
        server.bio_write(client.bio_read(65535))
        server.recv(65535)

    return repeated(one, count)


class _Echo(asyncio.DatagramProtocol):
    """A server of one peer, or a client, on a memory BIO."""

    def __init__(self, made: SSL.Connection, *, echoes: bool) -> None:
        self.connection = made
        self.echoes = echoes
        self.shaken = asyncio.get_running_loop().create_future()
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.peer: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.peer = addr
        self.connection.bio_write(data)
        if not self.shaken.done():
            self.shake()
            return
        with contextlib.suppress(SSL.WantReadError):
            while True:
                message = self.connection.recv(65535)
                if self.echoes:
                    self.connection.send(message)
                else:
                    self.queue.put_nowait(message)
        self.flush()

    def shake(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            self.connection.do_handshake()
            self.shaken.set_result(None)
        self.flush()

    def send(self, data: bytes) -> None:
        self.connection.send(data)
        self.flush()

    def flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                data = self.connection.bio_read(65535)
                self.transport.sendto(data, self.peer if self.echoes else None)


async def round_trips(count: int, message: bytes) -> Cost:
    loop = asyncio.get_running_loop()
    client_context, server_context = contexts()
    far, _ = await loop.create_datagram_endpoint(
        lambda: _Echo(connection(server_context, is_client=False), echoes=True),
        local_addr=("127.0.0.1", 0),
    )
    near, protocol = await loop.create_datagram_endpoint(
        lambda: _Echo(connection(client_context, is_client=True), echoes=False),
        remote_addr=far.get_extra_info("sockname"),
    )
    protocol.shake()
    await protocol.shaken
    with Meter(count) as meter:
        for _ in range(count):
            protocol.send(message)
            await protocol.queue.get()
    near.close()
    far.close()
    return meter.cost


class _Queued(asyncio.DatagramProtocol):
    """Datagrams in a queue, as aiortc has them from its ICE transport."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.queue.put_nowait((data, addr))


class _Task:
    """The way of aiortc's RTCDtlsTransport: a task reads the queue, every send is awaited."""

    def __init__(self, made: SSL.Connection, transport: Any, protocol: _Queued) -> None:
        self._ssl = made
        self._transport = transport
        self._protocol = protocol
        self._peer: Any = None

    async def _write(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self._transport.sendto(self._ssl.bio_read(1500), self._peer)

    async def _read(self) -> None:
        data, addr = await self._protocol.queue.get()
        if self._transport.get_extra_info("peername") is None:
            self._peer = addr
        self._ssl.bio_write(data)

    async def shake(self) -> None:
        while True:
            try:
                self._ssl.do_handshake()
            except SSL.WantReadError:
                await self._write()
                await self._read()
            else:
                await self._write()
                return

    async def send(self, data: bytes) -> None:
        self._ssl.send(data)
        await self._write()

    async def recv(self) -> bytes:
        while True:
            await self._read()
            with contextlib.suppress(SSL.WantReadError):
                return self._ssl.recv(1500)

    async def echo(self) -> None:
        await self.shake()
        while True:
            await self.send(await self.recv())


async def task_round_trips(count: int, message: bytes) -> Cost:
    """As aiortc drives pyOpenSSL."""
    loop = asyncio.get_running_loop()
    client_context, server_context = contexts()
    far, far_queue = await loop.create_datagram_endpoint(_Queued, local_addr=("127.0.0.1", 0))
    near, near_queue = await loop.create_datagram_endpoint(
        _Queued, remote_addr=far.get_extra_info("sockname")
    )
    server = _Task(connection(server_context, is_client=False), far, far_queue)
    client = _Task(connection(client_context, is_client=True), near, near_queue)
    echo = asyncio.create_task(server.echo())
    await client.shake()
    with Meter(count) as meter:
        for _ in range(count):
            await client.send(message)
            await client.recv()
    echo.cancel()
    near.close()
    far.close()
    return meter.cost
