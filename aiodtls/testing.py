"""A pair of connected endpoints on a simulated link, for users' own tests.

No sockets are used: datagrams reach the other side's queue in the next iteration of the loop. Loss
is drawn from a seed, and affects handshake and data alike. Timers run on the loop's clock with a
short initial timeout, so that a handshake with loss takes little time.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
from collections.abc import Generator
from types import TracebackType
from typing import Any

from aiodtls.client import ClientProtocol
from aiodtls.core import checks
from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.certificates import Role
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.registry import CertificateType, NamedGroup, SignatureScheme
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.protocol import DTLSProtocol

CLIENT_ADDRESS = ("192.0.2.1", 1)
SERVER_ADDRESS = ("192.0.2.2", 2)
RETRANSMIT_INITIAL = 0.02
# What both sides need in common.
COMMON = ("versions", "cipher_suites", "groups", "signature_schemes", "srtp_profiles")


class Loss:
    """Chooses the datagrams that are lost, reproducibly by the seed."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._seed = seed
        self._datagrams = 0

    def strikes(self) -> bool:
        self._datagrams += 1
        digest = hashlib.sha256(f"{self._seed} {self._datagrams}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self._share * (1 << 64)


class SimulatedTransport(asyncio.DatagramTransport):
    """One end of a link, that of ``protocol``. ``loss`` chooses which datagrams are dropped."""

    def __init__(self, protocol: DTLSProtocol, address: Any, loss: Loss) -> None:
        super().__init__()
        self._protocol = protocol
        self._address = address
        self._loss = loss
        self._closing = False
        self.peer: ClientProtocol | None = None

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
            if self.peer is not None:
                self.peer.peer_is_gone()

    def abort(self) -> None:
        self.close()


class pair:  # noqa: N801 - used as a function, like asyncio.timeout
    """``async with pair(...) as (client, server)``, or ``client, server = await pair(...)``.

    Where one config is given, the rest is made to fit it: the missing one has the same versions,
    suites, groups and ALPN protocols; a server without a key is given a certificate, or the
    client's PSKs; a client with neither ``trust`` nor ``psk`` is given what it needs to know the
    server. Raises :class:`ConfigError` at once where that cannot be; entering raises what the
    handshake raises.
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
        client_config, server_config = fit(client_config, server_config)
        client_config.check_client("localhost")
        server_config.check_server()
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


def fit(client: DTLSConfig | None, server: DTLSConfig | None) -> tuple[DTLSConfig, DTLSConfig]:
    """Two configs as they are, or one with another that fits it. Raises :class:`ConfigError`."""
    if client is not None and server is not None:
        return client, server
    given = server
    has_key = server is not None and bool(server.credential_list or server.psk is not None)
    if not has_key:
        server = _completed(server, client, _key_for(client))
    assert server is not None
    if client is None or (not client.trusts and client.psk is None):
        client = _completed(client, server, _knowledge_of(server))
    if server.client_auth == "required" and not client.credential_list and not client.psks:
        client = dataclasses.replace(client, credentials=Credentials.self_signed("localhost"))
        _check_accepted(server, client, "server", "client")
    if not has_key and not client.psks:
        _check_accepted(client, server, "client", "server")
    if given is None and client.credential_list and server.credential_list:
        server = dataclasses.replace(server, trust=_pins(client), client_auth="required")
    return client, server


def _completed(
    config: DTLSConfig | None, other: DTLSConfig | None, missing: dict[str, Any]
) -> DTLSConfig:
    """A config with what it lacks. One that was not given speaks what the other does."""
    if config is not None:
        return dataclasses.replace(config, **missing)
    if other is None:
        return DTLSConfig(**missing)
    common = {name: getattr(other, name) for name in COMMON}
    if other.alpn_function is None:
        common["alpn_protocols"] = other.alpn_protocols
    return DTLSConfig(**common, **missing)


def _key_for(client: DTLSConfig | None) -> dict[str, Any]:
    """What a server needs that has no key."""
    if client is not None and client.psk is not None:
        return {"psk": client.psk}
    if client is not None:
        _check_takes_p256(client)
    return {"credentials": Credentials.self_signed("localhost")}


def _check_takes_p256(client: DTLSConfig) -> None:
    """Raises :class:`ConfigError` for a client that cannot verify the key that is made."""
    # In DTLS 1.2 the groups bind certificates too (RFC 8422 section 5.1.1).
    curves = not client.speaks12 or NamedGroup.secp256r1 in client.named_groups
    if not curves or SignatureScheme.ecdsa_secp256r1_sha256 not in client.schemes:
        raise ConfigError(
            "give both configs: the server's certificate is made with a key on secp256r1, which "
            "the groups or signature_schemes of the client leave out"
        )


def _knowledge_of(server: DTLSConfig) -> dict[str, Any]:
    """What a client needs that knows nothing of the server."""
    if server.credential_list:
        return {"trust": _pins(server)}
    if not server.psks:
        raise ConfigError("give both configs: the server asks a function for its PSKs")
    identity, psk = next(iter(server.psks.items()))
    return {"psk": {identity: psk}}


def _pins(config: DTLSConfig) -> list[Trust]:
    """Trust in what a side shows, and in nothing else."""
    return [
        Trust.fingerprints(credentials.fingerprint())
        if credentials.certificate_type == CertificateType.X509
        else Trust.public_keys(credentials.public_key)
        for credentials in config.credential_list
    ]


def _check_accepted(judge: DTLSConfig, shower: DTLSConfig, judges: Role, shows: Role) -> None:
    """Raises :class:`ConfigError` where the certificate that was made for one side is refused."""
    chains = [credentials.chain for credentials in shower.credential_list]
    for trust in judge.client_trusts():
        if trust.function is not None:
            return
        with contextlib.suppress(AlertError):
            for chain in chains:
                trust.check(chain, peer_role=shows, server_hostname="localhost")
            return
    raise ConfigError(
        f"give both configs: the trust of the {judges} accepts no certificate that could be made "
        f"for the {shows}"
    )
