"""A pair of connected endpoints on a simulated link, for users' own tests.

No sockets are used: datagrams reach the other side's queue in the next iteration of the loop, or
after the delay of the link. What the link does is drawn from a seed, and happens to handshake and
data alike. Timers run on the loop's clock with a short initial timeout, so that a handshake with
loss takes little time; or in virtual time, which takes none.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Generator
from types import TracebackType
from typing import Any

from aiodtls.client import ClientProtocol
from aiodtls.core import checks
from aiodtls.core.config import MINIMUM_PMTU, DTLSConfig
from aiodtls.core.crypto.certificates import Role
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.registry import CertificateType, NamedGroup, SignatureScheme
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.virtual_time import VirtualClock, clock_of

CLIENT_ADDRESS = ("192.0.2.1", 1)
SERVER_ADDRESS = ("192.0.2.2", 2)
RETRANSMIT_INITIAL = 0.02
# Of an IPv4 packet with UDP, in bytes.
HEADERS = 28
# Seconds; without a delay, others overtake in an iteration of the loop.
LEAST_HELD_BACK = 0.002
# What both sides need in common.
COMMON = (
    "versions",
    "cipher_suites",
    "groups",
    "signature_schemes",
    "srtp_profiles",
    "connection_id",
)


class Link:
    """The path between two transports, and what happens to datagrams on it.

    It is drawn from the seed, so it happens again in the next run. ``client_address`` is where the
    client is; what goes to any other address is lost.
    """

    def __init__(
        self,
        *,
        loss: float = 0,
        delay: float = 0,
        reorder: float = 0,
        duplicate: float = 0,
        mtu: int | None = None,
        seed: int = 0,
    ) -> None:
        self.delay = delay
        self.client_address: Any = CLIENT_ADDRESS
        self._loss = loss
        self._reorder = reorder
        self._duplicate = duplicate
        self._mtu = mtu
        self._seed = seed
        self._datagrams = 0

    def move_client(self, addr: Any) -> None:
        """The client's datagrams come from ``addr`` from now on."""
        self.client_address = addr

    def delays(self, size: int) -> list[float]:
        """When the copies of the next datagram arrive, in seconds from now; none if it is lost.

        ``size`` is in bytes of UDP payload.
        """
        self._datagrams += 1
        if self._mtu is not None and size + HEADERS > self._mtu:
            return []
        if self._draw("") < self._loss:
            return []
        copies = 2 if self._draw("duplicate") < self._duplicate else 1
        return [self.delay + self._held_back(f"copy {number}") for number in range(copies)]

    def _held_back(self, what: str) -> float:
        """Seconds by which a datagram is later than the link's delay, so that others overtake."""
        if self._draw(f"reorder {what}") >= self._reorder:
            return 0.0
        return max(self.delay, LEAST_HELD_BACK) * (1 + self._draw(f"late {what}"))

    def _draw(self, what: str) -> float:
        """A number from 0 to below 1 about the latest datagram."""
        text = f"{self._seed} {self._datagrams}{what and ' '}{what}"
        digest = hashlib.sha256(text.encode()).digest()
        return int.from_bytes(digest[:8], "big") / (1 << 64)


class SimulatedTransport(asyncio.DatagramTransport):
    """One end of a link, that of ``protocol``."""

    def __init__(self, protocol: ClientProtocol, link: Link, *, is_client: bool) -> None:
        super().__init__()
        self._protocol = protocol
        self._link = link
        self._is_client = is_client
        self._closing = False
        self.peer: SimulatedTransport | None = None

    def lead_to(self, peer: SimulatedTransport) -> None:
        """What is sent here arrives there."""
        self.peer = peer

    @property
    def _address(self) -> Any:
        return self._link.client_address if self._is_client else SERVER_ADDRESS

    def sendto(self, data: Any, addr: Any = None) -> None:
        if self._closing or self.peer is None:
            return
        loop = asyncio.get_running_loop()
        arrive = functools.partial(self.peer.receive, bytes(data), self._address, addr)
        for delay in self._link.delays(len(data)):
            if delay:
                loop.call_later(delay, arrive)
            else:
                loop.call_soon(arrive)

    def receive(self, data: bytes, source: Any, target: Any) -> None:
        """A datagram arrives at the address ``target``."""
        if not self._closing and target in (None, self._address):
            self._protocol.datagram_received(data, source)

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

    def peer_is_gone(self) -> None:
        """The other end was closed."""
        self._protocol.peer_is_gone()

    def abort(self) -> None:
        self.close()


class pair:  # noqa: N801 - used as a function, like asyncio.timeout
    """``async with pair(...) as (client, server)``, or ``client, server = await pair(...)``.

    Where one config is given, the rest is made to fit it: the missing one has the same versions,
    suites, groups and ALPN protocols; a server without a key is given a certificate, or the
    client's PSKs; a client with neither ``trust`` nor ``psk`` is given what it needs to know the
    server.

    Args:
        client_config: of the client; None for one that fits the server.
        server_config: of the server; None for one that fits the client.
        loss: the share of datagrams that are lost, from 0 to below 1.
        delay: how long a datagram takes, in seconds.
        reorder: the share of datagrams that are held back, so that later ones overtake them.
        duplicate: the share of datagrams that arrive twice.
        mtu: the largest IP packet that passes, in bytes, as ``pmtu`` of a config; larger ones are
            lost, as on a path that tells nobody. None for no limit.
        seed: what happens on the link is drawn from it.
        virtual_time: in the block of ``async with`` the clock of the event loop stands still while
            there is something to do, and then jumps to the next timer. It is for tests without
            sockets and threads. Both sides keep the ``retransmit_initial`` of their configs, which
            else is 20 ms and three times the delay at most.

    Raises:
        ConfigError: nothing can be made to fit the config.
        ValueError: a number is out of bounds.
        RuntimeError: on entering, with ``virtual_time``: the loop is not asyncio's own.

    Entering raises what the handshake raises.
    """

    @checks.checked
    def __init__(
        self,
        client_config: DTLSConfig | None = None,
        server_config: DTLSConfig | None = None,
        *,
        loss: float = 0,
        delay: float = 0,
        reorder: float = 0,
        duplicate: float = 0,
        mtu: int | None = None,
        seed: int = 0,
        virtual_time: bool = False,
    ) -> None:
        for name, share in (("loss", loss), ("reorder", reorder), ("duplicate", duplicate)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is a share of the datagrams, from 0 to below 1")
        checks.at_least(0.0, "delay", delay)
        if mtu is not None:
            checks.at_least(MINIMUM_PMTU, "mtu", mtu)
        client_config, server_config = fit(client_config, server_config)
        client_config.check_client("localhost")
        server_config.check_server()
        longest = float("inf") if virtual_time else RETRANSMIT_INITIAL + 3 * delay
        self._configs = tuple(
            dataclasses.replace(config, retransmit_initial=min(config.retransmit_initial, longest))
            for config in (client_config, server_config)
        )
        self._link = Link(
            loss=loss, delay=delay, reorder=reorder, duplicate=duplicate, mtu=mtu, seed=seed
        )
        self._virtual_time = virtual_time
        self._clock: VirtualClock | None = None
        self._endpoints: tuple[DTLSEndpoint, DTLSEndpoint] | None = None

    @checks.checked
    def move_client(self, addr: tuple[str, int]) -> None:
        """The client's datagrams come from ``addr`` from now on, as behind a NAT that forgot it.

        What is sent to its old address is lost. An association follows its client by its
        connection ids (RFC 9146), which are in use unless the server has ``connection_id=0``.
        """
        self._link.move_client(addr)

    def __await__(self) -> Generator[Any, None, tuple[DTLSEndpoint, DTLSEndpoint]]:
        if self._virtual_time:
            raise RuntimeError("virtual_time ends with a block: use async with pair(...)")
        return self._connect().__await__()

    async def __aenter__(self) -> tuple[DTLSEndpoint, DTLSEndpoint]:
        if self._virtual_time:
            self._clock = clock_of(asyncio.get_running_loop())
            self._clock.stop()
        try:
            self._endpoints = await self._connect()
        except BaseException:
            self._release_clock()
            raise
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
        self._release_clock()

    def _release_clock(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.release()

    async def _connect(self) -> tuple[DTLSEndpoint, DTLSEndpoint]:
        client_config, server_config = self._configs
        client, server = ClientProtocol(), ClientProtocol(server_config)
        client_side = SimulatedTransport(client, self._link, is_client=True)
        server_side = SimulatedTransport(server, self._link, is_client=False)
        client_side.lead_to(server_side)
        server_side.lead_to(client_side)
        client.connection_made(client_side)
        server.connection_made(server_side)
        accepting = asyncio.ensure_future(server.accept(self._link.client_address))
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
