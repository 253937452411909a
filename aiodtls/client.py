"""connect(): a client's association on its own socket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiodtls.channel import Channel
from aiodtls.core import checks, sealed_state
from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError, HandshakeError, HandshakeTimeout
from aiodtls.core.sessions import Session, SessionCache
from aiodtls.endpoint import DataHandler, DTLSEndpoint, EventHandler
from aiodtls.leavers import leavers
from aiodtls.net import sockets
from aiodtls.net.eager_future import resolve
from aiodtls.net.transports import open_transport
from aiodtls.protocol import DTLSProtocol

# The errors of a socket while the network is down.
NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


@checks.checked
def connect(
    host: str | None,
    port: int | None,
    *,
    config: DTLSConfig | None = None,
    server_hostname: str | None = None,
    local_addr: tuple[str, int] | None = None,
    family: int = 0,
    happy_eyeballs_delay: float | None = 0.25,
    session: Session | SessionCache | None = None,
    sock: socket.socket | None = None,
    on_event: EventHandler | None = None,
    on_data: DataHandler | None = None,
) -> DTLSEndpoint:
    """A client's endpoint: ``await`` it, or enter it with ``async with``; it is connected then.

    Every address of ``host`` is tried, the next one ``happy_eyeballs_delay`` seconds after the
    last or as soon as it failed; the first to complete wins, the others end in silence.
    ``server_hostname`` defaults to ``host``. ``session`` is resumed where the server agrees, and
    else a full handshake follows in the same exchange; a :class:`SessionCache` is asked for one,
    by name and port, and keeps what the server gives. ``sock`` is a connected datagram socket,
    used in the place of all addresses. ``on_event(endpoint, event)`` is called with the events of
    ``aiodtls.events``. ``on_data(endpoint, data)`` is called with each message from the end of the
    handshake on, in the place of ``recv``; an exception in it is logged and ends the association.

    Raises TypeError and ValueError for arguments that cannot be. Awaiting raises
    :class:`ConfigError`, :class:`HandshakeError` and its children, and OSError from the resolver
    and for a port that ICMP tells to be closed. While there is no route it tries again, as a hello
    is resent, until ``handshake_timeout``.
    """
    if sock is not None:
        sockets.check_datagram(sock)
    elif port is None:
        raise ValueError("a port is needed, or a connected socket")
    else:
        sockets.check_port(port)
    if local_addr is not None:
        sockets.check_port(local_addr[1], lowest=0)
    sockets.check_family(family)
    if happy_eyeballs_delay is not None:
        checks.at_least(0.0, "happy_eyeballs_delay", happy_eyeballs_delay)
    opener = functools.partial(
        _open,
        host=host,
        port=port,
        config=config if config is not None else DTLSConfig(),
        server_hostname=server_hostname if server_hostname is not None else host,
        local_addr=local_addr,
        family=family,
        delay=happy_eyeballs_delay,
        session=session,
        sock=sock,
        on_event=on_event,
    )
    return DTLSEndpoint(opener, on_data)


async def _open(
    endpoint: DTLSEndpoint,
    *,
    host: str | None,
    port: int | None,
    config: DTLSConfig,
    server_hostname: str | None,
    local_addr: tuple[str, int] | None,
    family: int,
    delay: float | None,
    session: Session | SessionCache | None,
    sock: socket.socket | None,
    on_event: EventHandler | None,
) -> Channel:
    config.check_client(server_hostname)
    attempt = functools.partial(
        _attempt,
        endpoint,
        config=config,
        server_hostname=server_hostname,
        sessions=_Sessions(session, (server_hostname, port)),
        on_event=on_event,
    )
    if sock is not None:
        return await attempt(sock)
    assert port is not None
    targets = await sockets.resolve(host, port, family=family)
    locals_: dict[int, Any] = {}
    if local_addr is not None:
        found = await sockets.resolve(*local_addr, family=family, passive=True)
        locals_ = dict(reversed(found))
        targets = [target for target in targets if target[0] in locals_]
        if not targets:
            raise OSError(f"{host!r} has no address of the family of {local_addr!r}")
    attempts = [
        functools.partial(_dial, attempt, af, address, locals_.get(af)) for af, address in targets
    ]
    return await _wait_for_route(config, functools.partial(_try_all, attempts, delay))


async def _wait_for_route(config: DTLSConfig, dial: Callable[[], Awaitable[Channel]]) -> Channel:
    """Calls ``dial``. While no address has a route, tries again at the times at which a hello is
    resent.

    A connected socket needs the route before the first hello, and a network may be down for a
    moment. Raises what ``dial`` raises; in the end that there is no route.
    """
    loop = asyncio.get_running_loop()
    limit = config.handshake_timeout
    deadline = loop.time() + limit if limit is not None else float("inf")
    pause = config.retransmit_initial
    most = config.max_retransmits
    for _ in itertools.count() if most is None else range(most):
        try:
            return await dial()
        except OSError as error:
            if error.errno not in NO_ROUTE or loop.time() + pause > deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, config.retransmit_max)
    return await dial()


async def _try_all(
    attempts: Sequence[Callable[[], Awaitable[Channel]]], delay: float | None
) -> Channel:
    """The first attempt to complete a handshake. They begin ``delay`` seconds apart."""
    if len(attempts) == 1:
        return await attempts[0]()
    race = _Race(delay)
    for number, attempt in enumerate(attempts, 1):
        winner = await race.enter(attempt(), last=number == len(attempts))
        if winner is not None:
            return winner
    return await race.finish()


async def _dial(
    attempt: Callable[[socket.socket], Awaitable[Channel]], family: int, address: Any, local: Any
) -> Channel:
    try:
        sock = sockets.connected_socket(family, address, local)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or local is None:
            raise
        # One of our own that has left may still be there for its peer.
        await leavers.leave_port(local[1])
        sock = sockets.connected_socket(family, address, local)
    return await attempt(sock)


async def _attempt(
    endpoint: DTLSEndpoint,
    sock: socket.socket,
    *,
    config: DTLSConfig,
    server_hostname: str | None,
    sessions: _Sessions,
    on_event: EventHandler | None,
) -> Channel:
    """One handshake on one socket. The socket is closed unless the handshake succeeds."""
    protocol = ClientProtocol()
    try:
        sock.setblocking(False)
        peer = sock.getpeername()
        await open_transport(protocol, sock)
    except BaseException:
        sock.close()
        raise
    try:
        channel = protocol.dial(
            peer, config=config, server_hostname=server_hostname, session=sessions.take()
        )
        channel.report_to(on_event)
        channel.keep_sessions(sessions.keep, sessions.revoke)
        # Events of the handshake are reported with the endpoint that the user will get.
        endpoint.attach(channel)
        protocol.drain()
        await channel.handshake
    except BaseException:
        protocol.abort()
        raise
    return channel


@checks.checked
async def adopt(
    state: bytes,
    key: bytes,
    *,
    config: DTLSConfig | None = None,
    sock: socket.socket | None = None,
    on_event: EventHandler | None = None,
    on_data: DataHandler | None = None,
) -> DTLSEndpoint:
    """Continues a client's association that another process exported with ``export_state``.

    Args:
        state: the exported state. Adopt each one only once; across processes the caller must ensure
            that.
        key: the key that it was sealed with.
        config: the configuration.
        sock: a connected datagram socket. Without one, a socket is made with the association's
            local address. If that is in use it gets another; then the association needs connection
            ids.
        on_event: called with the events of ``aiodtls.events``.
        on_data: called with each message, those that came along first, in the place of ``recv``.

    Raises:
        ValueError: the state was not sealed with ``key``.
        OSError: no socket can be made.
    """
    exported = sealed_state.unseal(state, key)
    if sock is None:
        sock = _socket_between(exported.local, exported.peer)
    protocol = ClientProtocol()
    try:
        sock.setblocking(False)
        await open_transport(protocol, sock)
    except BaseException:
        sock.close()
        raise
    try:
        endpoint = protocol.adopt(state, key, config=config or DTLSConfig())
    except BaseException:
        protocol.abort()
        raise
    for channel in protocol.channels:
        channel.report_to(on_event)
        if on_data is not None:
            channel.deliver_to(on_data)
    return endpoint


def _socket_between(local: Any, peer: Any) -> socket.socket:
    family = sockets.family_of(peer)
    try:
        return sockets.connected_socket(family, peer, local)
    except OSError:
        return sockets.connected_socket(family, peer)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """The source of the session for one ``connect``, and the place for new ones."""

    source: Session | SessionCache | None
    server: tuple[str | None, int | None]
    # What the association offered or was given, to be revoked with it.
    own: list[Session] = field(default_factory=list)

    def take(self) -> Session | None:
        if not isinstance(self.source, SessionCache):
            return self.source
        found = self.source.get(self.server)
        if found is not None:
            self.own.append(found)
        return found

    def keep(self, session: Session) -> None:
        if isinstance(self.source, SessionCache):
            self.own.append(session)
            self.source.put(self.server, session)

    def revoke(self) -> None:
        if isinstance(self.source, SessionCache):
            for session in self.own:
                self.source.discard(self.server, session)


class ClientProtocol(DTLSProtocol):
    """The protocol of one association. The transport ends with it, or once the peer can ask for
    nothing more. For the owner the association has ended at once.
    """

    _ended: Channel | None = None
    # Done when the peer can ask for nothing more, while the transport is open for that alone.
    _peer_done: asyncio.Future[None] | None = None
    _peer_is_gone = False

    def association_ended(self, channel: Channel) -> None:
        if self.transport is None:
            channel.released()
        elif self._lingers_for(channel.connection):
            self._peer_done = channel.loop.create_future()
            leavers.add(self, self._peer_done)
            self.left(channel)
        else:
            self._ended = channel
            self.close_transport()

    def _lingers_for(self, connection: DTLSConnection) -> bool:
        is_asked = connection.role == "client" and connection.lingers_until > self._now()
        return is_asked and not self._peer_is_gone

    def peer_is_gone(self) -> None:
        """Nobody is there any more to ask for anything."""
        self._peer_is_gone = True
        if self._peer_done is not None:
            resolve(self._peer_done)

    def left(self, channel: Channel) -> None:
        """The association has ended, and the transport stays open for its peer's sake."""
        channel.loop.call_soon(channel.released)

    def drain(self) -> None:
        super().drain()
        if self._peer_done is not None and not self._listener.connections:
            resolve(self._peer_done)

    def close_transport(self) -> None:
        """Closes it, unless it stays open for the peer's sake."""
        if self._peer_done is None or self._peer_done.done():
            super().close_transport()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._peer_done is not None:
            resolve(self._peer_done)
        # Keeping it would form a reference cycle with the association.
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.released()

    def abort(self) -> None:
        """Ends everything silently."""
        for channel in self.channels:
            channel.report_to(None)
            channel.abort()
        self.close_transport()


def _rank(error: BaseException) -> int:
    """Sorts the errors of several addresses, the most informative first."""
    if isinstance(error, OSError) and error.errno in NO_ROUTE:
        return 1
    return 2 if isinstance(error, TimeoutError) else 0


class _Race:
    """Handshakes with several addresses of one host. The first to complete wins."""

    def __init__(self, delay: float | None) -> None:
        self._delay = delay
        self._running: set[asyncio.Task[Channel]] = set()
        self._errors: list[BaseException] = []

    async def enter(self, attempt: Any, *, last: bool) -> Channel | None:
        """Starts another attempt. Returns the winner, or None when the next should start."""
        self._running.add(asyncio.ensure_future(attempt))
        return None if last else await self._wait(self._delay)

    async def finish(self) -> Channel:
        """Waits for the remaining attempts. Raises the most informative error if none succeeds."""
        while self._running:
            winner = await self._wait(None)
            if winner is not None:
                return winner
        raise min(self._errors, key=_rank)

    async def _wait(self, timeout: float | None) -> Channel | None:
        try:
            done, self._running = await asyncio.wait(
                self._running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            await self._stop()
            raise
        for task in done:
            error = task.exception()
            if error is None:
                await self._stop()
                return task.result()
            self._errors.append(error)
            # The server was reached, so another address would fail in the same way.
            if isinstance(error, DTLSError) and not isinstance(error, HandshakeTimeout):
                await self._stop()
                raise error
        return None

    async def _stop(self) -> None:
        """Ends the other attempts silently."""
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError, OSError, HandshakeError):
                (await task).abort()
        self._running = set()
