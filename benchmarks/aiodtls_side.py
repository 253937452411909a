"""aiodtls itself: over UDP under asyncio, and the sans-IO core in memory."""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import dataclass
from functools import cache

import aiodtls
from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.core.connection import DTLSConnection

MESSAGE = bytes(1200)
PING = bytes(64)
# So many messages between two waits for the receiver: the socket's buffer holds them.
WINDOW = 50


@cache
def configs() -> tuple[DTLSConfig, DTLSConfig]:
    credentials = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(credentials.fingerprint())
    suites = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
    return DTLSConfig(trust=trust, cipher_suites=suites), DTLSConfig(credentials=credentials)


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def aiodtls_one_way(count: int) -> float:
    client_config, server_config = configs()
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as client:
            receiver = await anext(aiter(server))
            start = time.perf_counter()
            for _ in range(count // WINDOW):
                for _ in range(WINDOW):
                    await client.send(MESSAGE)
                for _ in range(WINDOW):
                    await receiver.recv()
            return 1e6 * (time.perf_counter() - start) / count


async def aiodtls_echo(count: int) -> float:
    client_config, server_config = configs()
    async with aiodtls.serve(echo, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as client:
            start = time.perf_counter()
            for _ in range(count):
                await client.send(PING)
                await client.recv()
            return 1e6 * (time.perf_counter() - start) / count


async def aiodtls_handshakes(count: int) -> float:
    client_config, server_config = configs()
    async with aiodtls.serve(echo, "127.0.0.1", config=server_config) as server:
        start = time.perf_counter()
        for _ in range(count):
            async with aiodtls.connect(*server.sockname, config=client_config):
                pass
        return 1e6 * (time.perf_counter() - start) / count


@dataclass
class AiodtlsMemory:
    """Two connections of the core, datagrams handed over directly."""

    client_config: DTLSConfig
    server_config: DTLSConfig

    @classmethod
    def psk(cls) -> AiodtlsMemory:
        config = DTLSConfig(
            psk=PSK("a", bytes(16)), cipher_suites=["TLS_PSK_WITH_AES_128_GCM_SHA256"]
        )
        return cls(config, config)

    def handshake(self) -> tuple[DTLSConnection, DTLSConnection]:
        client = DTLSConnection.client(
            self.client_config, "server", 0.0, server_hostname="localhost"
        )
        server = DTLSConnection.server(self.server_config, "client", 0.0)
        while not client.handshake_complete:
            for data, _ in client.datagrams_to_send():
                server.receive_datagram(data, "client", 0.0)
            for data, _ in server.datagrams_to_send():
                client.receive_datagram(data, "server", 0.0)
        return client, server


def memory_handshakes(count: int, side: AiodtlsMemory | None = None) -> float:
    side = side or AiodtlsMemory(*configs())
    start = time.perf_counter()
    for _ in range(count):
        side.handshake()
    return 1e6 * (time.perf_counter() - start) / count


def memory_per_association(count: int) -> float:
    """Bytes that Python's allocator holds for an association, both sides together."""
    side = AiodtlsMemory(*configs())
    side.handshake()
    gc.collect()
    tracemalloc.start()
    kept = [side.handshake() for _ in range(count)]
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(kept)
