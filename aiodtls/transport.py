"""create_datagram_endpoint(): like asyncio's, with DTLS in between.

An existing DatagramProtocol needs no change: what it sends is protected, what it receives is
authenticated. With ``remote_addr`` the handshake is complete before ``connection_made``. Without it
the socket serves every peer, and connects to addresses that are sent to.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from aiodtls import log
from aiodtls.channel import Channel
from aiodtls.client import ClientProtocol
from aiodtls.core import checks
from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import (
    DTLSError,
    EndpointClosed,
    MessageTooLarge,
    SimultaneousOpen,
    about_peer,
)
from aiodtls.core.events import HandshakeCompleted
from aiodtls.endpoint import GRACEFUL_ENDS, DTLSEndpoint
from aiodtls.net import sockets
from aiodtls.net.borrowed import BorrowedTransport, check_datagram_transport
from aiodtls.net.transports import open_transport
from aiodtls.protocol import DTLSProtocol

# How many bytes may wait for a handshake that was begun by sending, for each peer.
MAX_WAITING = 65536

ProtocolFactory: TypeAlias = Callable[[], asyncio.DatagramProtocol]
HostnameSource: TypeAlias = str | Callable[[Any], str | None] | None


@checks.checked
async def create_datagram_endpoint(
    protocol_factory: ProtocolFactory,
    local_addr: tuple[str | None, int] | None = None,
    remote_addr: tuple[str, int] | None = None,
    *,
    config: DTLSConfig | None = None,
    server_hostname: HostnameSource = None,
    family: int = 0,
    reuse_port: bool | None = None,
    sock: socket.socket | None = None,
    dial: bool = True,
    transport: Any = None,
) -> tuple[DTLSTransport, asyncio.DatagramProtocol]:
    """As ``loop.create_datagram_endpoint``, over DTLS.

    With ``remote_addr`` the handshake is done when this returns; it raises what ``connect``
    raises, and ``connection_made`` is then never called. Without it ``connection_made`` comes at
    bind, and an address that is sent to is dialled unless ``dial`` is False. The name checked is
    the IP address, unless ``server_hostname`` (text, or a function of the address) says otherwise.

    ``transport`` is an asyncio.DatagramTransport that exists already, in the place of addresses and
    of ``sock``. Its protocol is replaced. If it is connected this is as with ``remote_addr``. It is
    never closed here: what it receives after the end is dropped, until its owner sets another
    protocol. Other paths of datagrams, such as ICE, use :class:`DTLSProtocol`.

    Raises TypeError and ValueError for arguments that cannot be.
    """
    if transport is not None:
        if any(given is not None for given in (local_addr, remote_addr, reuse_port, sock)):
            raise TypeError(
                "a transport has its addresses: name no local_addr, remote_addr, reuse_port or "
                "sock beside it"
            )
        check_datagram_transport(transport)
    if sock is not None:
        sockets.check_datagram(sock)
    sockets.check_family(family)
    chosen = config if config is not None else DTLSConfig()
    carrier: _Carrier
    if transport is not None:
        carrier = await _borrow(transport, protocol_factory, chosen, server_hostname, dial)
    elif remote_addr is not None or (sock is not None and _is_connected(sock)):
        if sock is None:
            assert remote_addr is not None
            sock = await _connect_socket(local_addr, remote_addr, family)
        carrier = connected = _ConnectedCarrier(protocol_factory)
        peer = sock.getpeername()
        await _open(connected, sock)
        await _shake_hands(connected, chosen, server_hostname, peer)
    else:
        if sock is None:
            addresses = await sockets.resolve(
                *(local_addr or (None, 0)), family=family, passive=True
            )
            sock = sockets.bind_all(addresses[:1], reuse_port=bool(reuse_port))[0]
        carrier = _BoundCarrier(protocol_factory, chosen, server_hostname, dial)
        await _open(carrier, sock)
    return carrier.face, carrier.user


class DTLSTransport(asyncio.DatagramTransport):
    """The transport that the user's protocol gets. One datagram is one record."""

    def __init__(self, carrier: _Carrier) -> None:
        super().__init__()
        self._carrier = carrier

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Sends one record. Never splits, and never raises for the network: ``error_received``
        reports both.

        While ``Limits.output_bytes`` of datagrams wait for the socket, long after
        ``pause_writing``, further ones are dropped and counted.

        Raises:
            ValueError: the data is empty, because the peer would not get an empty message.
            TypeError: the data is not bytes.

        Both are also raised for an address that is not of the socket's form: (IP address, port),
        and for IPv6 a flow label and a scope id.
        """
        self._carrier.send(checks.message(data), addr)

    def get_endpoint(self, addr: Any = None) -> DTLSEndpoint | None:
        """The association with ``addr``, to look at the peer's identity; None if there is none."""
        channel = self._carrier.channel_of(addr)
        return DTLSEndpoint.of(channel) if channel is not None else None

    def close(self) -> None:
        self._carrier.close()

    def abort(self) -> None:
        self._carrier.abort_all()

    def is_closing(self) -> bool:
        return self._carrier.is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        channel = self._carrier.channel_of(None)
        if channel is not None:
            return DTLSEndpoint.of(channel).get_extra_info(name, default)
        transport = self._carrier.transport
        return transport.get_extra_info(name, default) if transport is not None else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._carrier.user = cast(asyncio.DatagramProtocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._carrier.user


class _Carrier(DTLSProtocol, ABC):
    """The common part of both forms: the user's protocol, and delivery of data to it."""

    def __init__(self, factory: ProtocolFactory, config: DTLSConfig | None) -> None:
        super().__init__(config)
        self.user: asyncio.DatagramProtocol = factory()
        self.face: DTLSTransport = DTLSTransport(self)
        self.is_closing: bool = False
        # The user has only the transport, so the endpoints are held here.
        self._held: dict[Any, DTLSEndpoint] = {}

    @abstractmethod
    def channel_of(self, addr: Any) -> Channel | None:
        """The established association with ``addr``."""

    @abstractmethod
    def send(self, data: bytes, addr: Any) -> None:
        """Sends one datagram of the user."""

    def close(self) -> None:
        """Sends close_notify to every peer, then closes the socket."""
        if not self.is_closing:
            self.is_closing = True
            for channel in self.channels:
                channel.close()
            self.close_transport()

    def abort_all(self) -> None:
        self.is_closing = True
        for channel in self.channels:
            channel.abort()
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._call("pause_writing")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._call("resume_writing")

    def take_over(self, channel: Channel) -> None:
        """From now on the channel's data goes to the user's protocol."""
        self._held[channel.connection.peer] = DTLSEndpoint.of(channel)
        channel.tell_of_data(self._deliver)

    def _deliver(self, channel: Channel) -> None:
        while channel.has_data:
            self._call("datagram_received", channel.recv_nowait(), channel.connection.peer)

    def transmit_one(self, channel: Channel, data: bytes) -> None:
        """Sends one record. Errors go to ``error_received``."""
        if self.is_full:
            # The user's protocol ignores ``pause_writing``. A peer may make it send.
            self.drop_unsent()
            return
        try:
            channel.send_now(channel.pieces(data, split=False))
        except (MessageTooLarge, EndpointClosed) as error:
            self._call("error_received", about_peer(error, channel.connection.peer))

    def _call(self, name: str, *arguments: Any) -> None:
        """Calls the user's protocol. Its exceptions are logged and end nothing else."""
        method = getattr(self.user, name, None)
        if method is None:
            return
        try:
            method(*arguments)
        except Exception as error:
            loop, peer = asyncio.get_running_loop(), _peer_of(arguments)
            log.about(loop, log.server, log.PROTOCOL_RAISED, peer, name, error=error)


class _ConnectedCarrier(_Carrier, ClientProtocol):
    """One peer. Its handshake is complete before the user's protocol is told of anything."""

    def __init__(self, factory: ProtocolFactory) -> None:
        super().__init__(factory, None)
        self._established: Channel | None = None
        self._has_said_lost = False
        self._peer: Any = None

    def channel_of(self, addr: Any) -> Channel | None:
        return self._established

    def send(self, data: bytes, addr: Any) -> None:
        channel = self._established
        if addr is not None and self.canonical(addr) != self._peer:
            raise ValueError(f"the transport is connected; it cannot send to {addr!r}")
        if channel is not None and not self.is_closing:
            self.transmit_one(channel, data)

    def begin(self, channel: Channel) -> None:
        self._established = channel
        self._peer = channel.connection.peer
        self._call("connection_made", self.face)
        self.take_over(channel)

    def send_failed(self, error: Exception, addr: Any, size: int | None = None) -> None:
        super().send_failed(error, addr, size)
        if self._established is not None and not self.is_closing:
            self._call("error_received", error)

    def association_ended(self, channel: Channel) -> None:
        self.is_closing = True
        self._deliver(channel)
        super().association_ended(channel)

    def left(self, channel: Channel) -> None:
        super().left(channel)
        channel.loop.call_soon(self._say_lost)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._say_lost()

    def _say_lost(self) -> None:
        channel = self._established
        if channel is not None and not self._has_said_lost:
            self._has_said_lost = True
            self._call("connection_lost", _visible(channel.connection.failure))
            self._held.clear()


class _BoundCarrier(_Carrier):
    """Every peer: those that connect, and those that are sent to."""

    accepts_all = True

    def __init__(
        self,
        factory: ProtocolFactory,
        config: DTLSConfig,
        server_hostname: HostnameSource,
        dial: bool,
    ) -> None:
        super().__init__(factory, config)
        self._chosen = config
        self._server_hostname = server_hostname
        self._dials = dial
        self._by_addr: dict[Any, Channel] = {}
        self._waiting: dict[Any, deque[bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._call("connection_made", self.face)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closing = True
        super().connection_lost(exc)
        self._call("connection_lost", exc)

    def send_failed(self, error: Exception, addr: Any, size: int | None = None) -> None:
        super().send_failed(error, addr, size)
        # A stateless answer that could not be sent does not concern the user.
        if addr is None or addr in self._by_addr or addr in self._waiting:
            self._call("error_received", error)

    def channel_of(self, addr: Any) -> Channel | None:
        return self._by_addr.get(self._canonical_once(addr))

    def _canonical_once(self, addr: Any) -> Any:
        """``canonical``, which costs nothing for an address in the form of the socket."""
        if addr is None or (isinstance(addr, tuple) and addr in self._by_addr):
            return addr
        return self.canonical(addr)

    def send(self, data: bytes, addr: Any) -> None:
        if addr is None:
            raise ValueError("the transport is not connected; an address is needed")
        if self.is_closing:
            return
        addr = self._canonical_once(addr)
        channel = self._by_addr.get(addr)
        if channel is not None:
            self.transmit_one(channel, data)
        elif addr in self._waiting or self._begin_dial(addr):
            self._wait(addr, data)

    def _wait(self, addr: Any, data: bytes) -> None:
        waiting = self._waiting.get(addr)
        if waiting is not None and sum(map(len, waiting)) + len(data) <= MAX_WAITING:
            waiting.append(data)

    def _begin_dial(self, addr: Any) -> bool:
        """Begins a handshake with an address. Returns False if that fails, which ``error_received``
        reports.
        """
        name = self._server_hostname
        hostname = name(addr) if callable(name) else name
        try:
            if not self._dials:
                raise OSError(errno.ENOTCONN, "there is no association with this address")
            channel = self.dial(
                addr,
                config=self._chosen,
                server_hostname=hostname if hostname is not None else addr[0],
            )
        except (DTLSError, OSError) as error:
            self._tell(error, addr)
            return False
        self._waiting[addr] = deque()
        self._held[addr] = DTLSEndpoint.of(channel)
        channel.claim()
        channel.report_to(lambda _, event: self._dialled(channel, event))
        self.drain()
        return True

    def _dialled(self, channel: Channel, event: object) -> None:
        """The handshake that sending began is complete: sends what waited."""
        if isinstance(event, HandshakeCompleted):
            channel.report_to(None)
            self._connected(channel)

    def peer_connected(self, channel: Channel) -> None:
        self._connected(channel)
        channel.claim()

    def _connected(self, channel: Channel) -> None:
        addr = channel.connection.peer
        self._by_addr[addr] = channel
        self._call("peer_connected", addr)
        for data in self._waiting.pop(addr, ()):
            self.transmit_one(channel, data)
        self.take_over(channel)

    def address_changed(self, channel: Channel, old: Any) -> None:
        """For the user a new peer replaces the old one."""
        addr = channel.connection.peer
        if self._by_addr.get(old) is not channel:
            return
        del self._by_addr[old]
        held = self._held.pop(old, None)
        self._call("peer_lost", old, None)
        self._by_addr[addr] = channel
        if held is not None:
            self._held[addr] = held
        self._call("peer_connected", addr)

    def association_ended(self, channel: Channel) -> None:
        addr, failure = channel.connection.peer, channel.connection.failure
        if channel.on_waiting is not None:
            self._deliver(channel)
        if self._by_addr.get(addr) is channel:
            del self._by_addr[addr]
            self._held.pop(addr, None)
            self._call("peer_lost", addr, _visible(failure))
        elif addr in self._waiting and not isinstance(failure, SimultaneousOpen):
            # After a simultaneous open the waiting data goes to the handshake that the peer began.
            del self._waiting[addr]
            self._held.pop(addr, None)
            self._tell(failure, addr)
        super().association_ended(channel)

    def _tell(self, error: Exception | None, addr: Any) -> None:
        if error is not None:
            self._call("error_received", about_peer(error, addr))


def _visible(failure: Exception | None) -> Exception | None:
    """None if one of the two sides closed normally, as asyncio has it."""
    graceful = isinstance(failure, EndpointClosed) and failure.reason in GRACEFUL_ENDS
    return None if graceful else failure


async def _connect_socket(
    local_addr: tuple[str | None, int] | None, remote_addr: tuple[str, int], family: int
) -> socket.socket:
    af, address = (await sockets.resolve(*remote_addr, family=family))[0]
    if local_addr is None:
        return sockets.connected_socket(af, address)
    local = await sockets.resolve(*local_addr, family=af, passive=True)
    return sockets.connected_socket(af, address, local[0][1])


async def _open(carrier: _Carrier, sock: socket.socket) -> None:
    try:
        sock.setblocking(False)
        await open_transport(carrier, sock)
    except BaseException:
        sock.close()
        raise


async def _borrow(
    transport: asyncio.DatagramTransport,
    factory: ProtocolFactory,
    config: DTLSConfig,
    server_hostname: HostnameSource,
    dial: bool,
) -> _Carrier:
    peer = transport.get_extra_info("peername")
    if peer is None:
        bound = _BoundCarrier(factory, config, server_hostname, dial)
        BorrowedTransport(transport, bound)
        return bound
    connected = _ConnectedCarrier(factory)
    BorrowedTransport(transport, connected)
    await _shake_hands(connected, config, server_hostname, peer)
    return connected


async def _shake_hands(
    carrier: _ConnectedCarrier, config: DTLSConfig, server_hostname: HostnameSource, peer: Any
) -> None:
    try:
        hostname = server_hostname(peer) if callable(server_hostname) else server_hostname
        channel = carrier.dial(
            peer, config=config, server_hostname=hostname if hostname is not None else peer[0]
        )
        # Held here until the carrier holds it, so that it does not count as dropped.
        endpoint = DTLSEndpoint.of(channel)
        carrier.drain()
        await channel.handshake
    except BaseException:
        carrier.abort()
        raise
    carrier.begin(channel)
    del endpoint


def _peer_of(arguments: tuple[Any, ...]) -> Any:
    """The address that a call of the user's protocol is about, or None."""
    for argument in arguments:
        if isinstance(argument, tuple):
            return argument
    return getattr(arguments[0], "peername", None) if arguments else None


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
