"""A pair of connected endpoints on a simulated link, for users' own tests.

No sockets: datagrams go from one side's queue to the other's in the next turn of the loop. Loss
is drawn from a seed and strikes handshake and data alike; timers run on the loop's clock, with a
short initial timeout, so that a lossy handshake takes moments.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Generator
from types import TracebackType
from typing import Any

from aiodtls.client import ClientProtocol
from aiodtls.core import checks
from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.protocol import DTLSProtocol

CLIENT_ADDRESS = ("192.0.2.1", 1)
SERVER_ADDRESS = ("192.0.2.2", 2)
RETRANSMIT_INITIAL = 0.02


class Loss:
    """Which datagrams are lost, repeatable from the seed."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._seed = seed
        self._datagrams = 0

    def strikes(self) -> bool:
        self._datagrams += 1
        digest = hashlib.sha256(f"{self._seed} {self._datagrams}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self._share * (1 << 64)


class SimulatedTransport(asyncio.DatagramTransport):
    """One end of a link, ``protocol``'s; ``loss`` says which datagrams it drops."""

    def __init__(self, protocol: DTLSProtocol, address: Any, loss: Loss) -> None:
        super().__init__()
        self._protocol = protocol
        self._address = address
        self._loss = loss
        self._closing = False
        self.peer: asyncio.DatagramProtocol | None = None

    def sendto(self, data: Any, addr: Any = None) -> None:
        peer = self.peer
        if self._closing or peer is None or self._loss.strikes():
            return
        loop = asyncio.get_running_loop()
        loop.call_soon(peer.datagram_received, bytes(data), self._address)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._address if name == "sockname" else default

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()


class pair:  # noqa: N801 - used as a function, like asyncio.timeout
    """``async with pair(...) as (client, server)``, or ``client, server = await pair(...)``.

    Without configs the server has a certificate of its own making, which the client pins.
    Raises what the handshake raises.
    """

    @checks.checked
    def __init__(
        self,
        client_config: DTLSConfig | None = None,
        server_config: DTLSConfig | None = None,
        *,
        loss: float = 0,
        seed: int = 0,
    ) -> None:
        if not 0 <= loss < 1:
            raise ValueError("loss is a share of the datagrams, from 0 to below 1")
        if server_config is None:
            server_config = DTLSConfig(credentials=Credentials.self_signed("localhost"))
        if client_config is None:
            client_config = DTLSConfig(trust=_trust_in(server_config))
        self._configs = tuple(
            dataclasses.replace(
                config,
                retransmit_initial=min(config.retransmit_initial, RETRANSMIT_INITIAL),
            )
            for config in (client_config, server_config)
        )
        self._loss = Loss(loss, seed)
        self._endpoints: tuple[DTLSEndpoint, DTLSEndpoint] | None = None

    def __await__(self) -> Generator[Any, None, tuple[DTLSEndpoint, DTLSEndpoint]]:
        return self._connect().__await__()

    async def __aenter__(self) -> tuple[DTLSEndpoint, DTLSEndpoint]:
        self._endpoints = await self
        return self._endpoints

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._endpoints is not None
        for endpoint in self._endpoints:
            endpoint.close()

    async def _connect(self) -> tuple[DTLSEndpoint, DTLSEndpoint]:
        client_config, server_config = self._configs
        client, server = ClientProtocol(), ClientProtocol(server_config)
        client_side = SimulatedTransport(client, CLIENT_ADDRESS, self._loss)
        server_side = SimulatedTransport(server, SERVER_ADDRESS, self._loss)
        client_side.peer, server_side.peer = server, client
        client.connection_made(client_side)
        server.connection_made(server_side)
        accepting = asyncio.ensure_future(server.accept(CLIENT_ADDRESS))
        try:
            endpoint = await client.connect(
                SERVER_ADDRESS, config=client_config, server_hostname="localhost"
            )
            return endpoint, await accepting
        except BaseException:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            client.abort()
            server.abort()
            raise


def _trust_in(server_config: DTLSConfig) -> Trust | None:
    """Pins what the server will show; nothing where it has pre-shared keys alone."""
    pins = [credentials.fingerprint() for credentials in server_config.credential_list]
    return Trust.fingerprints(*pins) if pins else None
