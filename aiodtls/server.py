"""DTLSServer and serve(): many peers on a few bound sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, cast

from aiodtls import log
from aiodtls.channel import Channel
from aiodtls.core import checks, sealed_state
from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import DTLSError
from aiodtls.core.id_layout import IdLayout
from aiodtls.core.sessions import Session
from aiodtls.core.statistics import Gauges, Statistics
from aiodtls.core.wire.records import begins_client_hello
from aiodtls.due_exports import DueExports
from aiodtls.endpoint import DataHandler, DTLSEndpoint, EventHandler, ServerEventHandler
from aiodtls.net import sockets as udp
from aiodtls.net.sockets import SocketAddress
from aiodtls.net.transports import open_transport
from aiodtls.protocol import DTLSProtocol, run_handler
from aiodtls.reports import FailureReports
from aiodtls.unknown_ids import OnUnknown, UnknownIds

BACKLOG = 100


class GroupMember(Protocol):
    """What a server needs of a worker of a group. :class:`aiodtls.cluster.Worker` is one."""

    sockets: list[socket.socket]
    id_layout: IdLayout

    def complete(self, config: DTLSConfig) -> DTLSConfig:
        """The config with the keys that the group shares."""

    async def prepare(self, server: DTLSServer) -> None:
        """Is awaited before the sockets are read."""

    def serving(self) -> None:
        """Is called when the sockets are read."""

    def forward(self, number: int, data: bytes, addr: Any, *, is_hello: bool) -> bool:
        """Takes a datagram that belongs to no association here, if another process may have it."""


Handler: TypeAlias = Callable[[DTLSEndpoint], Awaitable[object]]


@checks.checked
def serve(
    handler: Handler | None,
    host: str | None = None,
    port: int = 0,
    *,
    config: DTLSConfig,
    sock: socket.socket | None = None,
    sockets: Sequence[socket.socket] | None = None,
    reuse_port: bool = False,
    on_event: ServerEventHandler | None = None,
    on_data: DataHandler | None = None,
    close_timeout: float | None = 5.0,
    id_layout: IdLayout | None = None,
    worker: GroupMember | None = None,
    on_unknown: OnUnknown | None = None,
) -> DTLSServer:
    """A server: ``await`` it, or enter it with ``async with``; it is bound then.

    ``handler(endpoint)`` is a task for each peer; when it returns, raises or is cancelled, its
    association ends and nothing else. Without a handler peers wait in ``async for endpoint in
    server``, 100 at most, further ones being closed. With ``on_data`` there is no handler: it is
    called with ``(endpoint, data)`` for each message of each peer, without a task; an exception in
    it is logged and ends that association. ``host=None`` binds IPv4 and IPv6 on one
    port. ``sock`` is a bound datagram socket, used in the place of host and port; ``sockets`` are
    several, such as :func:`activated_sockets` returns. The server owns them then, and closes them.
    ``id_layout`` makes connection ids that tell the process and the host. ``worker`` is what
    ``main(worker)`` of a group gets: it has sockets, id layout and keys for cookies and tickets.
    ``on_unknown(connection_id)`` is an async function that returns a state and its key, or None: it
    is asked about connection ids that were made with the secret of the layout, and belong to nobody
    here. Their datagrams wait for the answer.

    Raises :class:`ConfigError`, and TypeError and ValueError for arguments that cannot be; awaiting
    raises OSError where nothing can be bound.
    """
    udp.check_port(port, lowest=0)
    if handler is not None and on_data is not None:
        raise TypeError("name either a handler or on_data, not both: the handler is None then")
    if worker is not None:
        _check_worker_alone(host, port, sock, sockets, id_layout)
        sockets, id_layout = worker.sockets, worker.id_layout
        config = worker.complete(config)
    if on_unknown is not None and id_layout is None:
        raise TypeError("on_unknown needs id_layout, which tells our connection ids from junk")
    if sock is not None:
        if sockets is not None:
            raise TypeError("name either sock or sockets, not both")
        sockets = [sock]
    if sockets is not None:
        udp.check_all_datagram(sockets)
    if close_timeout is not None:
        checks.at_least(0.0, "close_timeout", close_timeout)
    config.check_server()
    bind = functools.partial(_bind, host, port, given=sockets, reuse_port=reuse_port)
    return DTLSServer(
        *(handler, config, bind, on_event, on_data, close_timeout),
        id_layout=id_layout,
        worker=worker,
        on_unknown=on_unknown,
    )


def _check_worker_alone(host: str | None, port: int, *others: object) -> None:
    if host is not None or port or any(other is not None for other in others):
        raise TypeError(
            "a worker has sockets and an id layout: name no host, port, sock, sockets or "
            "id_layout beside it"
        )


def activated_sockets() -> list[socket.socket]:
    """The sockets that systemd, or another service manager, opened for this process.

    Call it once: each call makes new socket objects on the same descriptors.

    Returns:
        Sockets for ``serve(sockets=...)``; an empty list where none were passed (the environment
        variables LISTEN_PID and LISTEN_FDS of sd_listen_fds(3)).

    Raises:
        ValueError: LISTEN_FDS is not a number.
        OSError: A descriptor that was passed is not a socket.
    """
    return udp.activated(os.environ, os.getpid())


async def _bind(
    host: str | None, port: int, *, given: Sequence[socket.socket] | None, reuse_port: bool
) -> list[socket.socket]:
    if given is not None:
        return [udp.prepare(sock) for sock in given]
    addresses = await udp.resolve(host or None, port, passive=True)
    return udp.bind_all(addresses, reuse_port=reuse_port)


class DTLSServer:
    """A server. :func:`serve` makes it."""

    def __init__(
        self,
        handler: Handler | None,
        config: DTLSConfig,
        bind: Callable[[], Awaitable[list[socket.socket]]],
        on_event: ServerEventHandler | None,
        on_data: DataHandler | None,
        close_timeout: float | None,
        *,
        id_layout: IdLayout | None,
        worker: GroupMember | None,
        on_unknown: OnUnknown | None,
    ) -> None:
        self._handler = handler
        self._config = config
        self._bind: Callable[[], Awaitable[list[socket.socket]]] | None = bind
        self._on_event = on_event
        self._on_data = on_data
        self._close_timeout = close_timeout
        self._id_layout = id_layout
        self._worker = worker
        self._unknown_ids = (
            UnknownIds(on_unknown, self.adopt, self.receive_datagram)
            if on_unknown is not None
            else None
        )
        # None until somebody stores states.
        self._due_exports: DueExports | None = None
        self._protocols: list[_ServerProtocol] = []
        # What was counted on sockets that were removed.
        self._past = Statistics()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[DTLSEndpoint] = deque()
        self._readable: deque[Channel] = deque()
        # Endpoints that the user does not hold: ``messages`` needs no task that would hold them.
        self._held: dict[Channel, DTLSEndpoint] = {}
        self._reads_messages = False
        self._failure_reports = FailureReports()
        self._wakeup = asyncio.Event()
        # Set when an association or a handshake ends.
        self._association_left = asyncio.Event()
        self._closed = False
        self._serving: asyncio.Future[None] | None = None

    # -- opening ------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def _start(self) -> Self:
        bind, self._bind = self._bind, None
        if bind is None:
            raise RuntimeError("a server is awaited once")
        bound = await bind()
        try:
            if self._worker is not None:
                await self._worker.prepare(self)
            for sock in bound:
                await self._open(sock)
        except BaseException:
            for sock in bound[len(self._protocols) :]:
                sock.close()
            self.close()
            raise
        if self._worker is not None:
            self._worker.serving()
        return self

    async def _open(self, sock: socket.socket) -> None:
        protocol = _ServerProtocol(
            self, self._config, on_event=self._on_event, id_layout=self._id_layout
        )
        protocol.failure_reports = self._failure_reports
        await open_transport(protocol, sock)
        self._protocols.append(protocol)

    @checks.checked
    async def add_socket(self, sock: socket.socket) -> None:
        """Accepts peers on one more socket.

        Args:
            sock: A bound datagram socket. The server owns it from now on, and closes it.

        Raises:
            ValueError: It is not a datagram socket, or the server has it already.
            DTLSError: The server is closed, or has not been awaited yet.
        """
        udp.check_datagram(sock)
        if self._bind is not None or self._closed:
            state = "has not been awaited yet" if self._bind is not None else "is closed"
            raise DTLSError(f"the server {state}, and takes no socket")
        if self._protocol_on(sock) is not None:
            raise ValueError(f"the server has {sock!r} already")
        await self._open(udp.prepare(sock))

    @checks.checked
    def remove_socket(self, sock: Any, *, close_endpoints: bool = True) -> None:
        """Stops accepting peers on one socket, and closes it when its last association has ended.

        Args:
            sock: One of :attr:`sockets`, or a socket that was given to ``serve`` or ``add_socket``.
            close_endpoints: Closes its associations now; False lets them end by themselves.

        Raises:
            ValueError: The server has no such socket.
        """
        protocol = self._protocol_on(sock)
        if protocol is None:
            raise ValueError(f"the server has no socket {sock!r}")
        protocol.is_removed = True
        protocol.wind_up(close_endpoints=close_endpoints)

    def _protocol_on(self, sock: Any) -> _ServerProtocol | None:
        descriptor = sock.fileno()
        for protocol, transport in self._accepting_transports():
            if transport.get_extra_info("socket").fileno() == descriptor:
                return protocol
        return None

    def _accepting_transports(self) -> Iterator[tuple[_ServerProtocol, Any]]:
        """The sockets that are open and were not removed."""
        for protocol in self._protocols:
            if protocol.transport is not None and not protocol.is_removed:
                yield protocol, protocol.transport

    def _socket_lost(self, protocol: _ServerProtocol) -> None:
        """A socket that was removed has closed."""
        self._past += protocol.statistics
        self._protocols.remove(protocol)

    async def __aenter__(self) -> Self:
        if self._bind is not None:
            await self
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self._end_handlers()

    # -- what is known ------------------------------------------------------------------------

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The bound sockets, as asyncio returns them, without those that were removed."""
        return tuple(
            transport.get_extra_info("socket") for _, transport in self._accepting_transports()
        )

    @property
    def sockname(self) -> SocketAddress:
        """The address of the first socket."""
        for _, transport in self._accepting_transports():
            return cast(SocketAddress, transport.get_extra_info("sockname"))
        raise DTLSError("the server has no socket")

    def __repr__(self) -> str:
        names = [
            transport.get_extra_info("sockname") for _, transport in self._accepting_transports()
        ]
        where = ", ".join(map(str, names)) or "no socket"
        return f"<DTLSServer {'closed' if self._closed else 'open'}, {where}>"

    @property
    def endpoints(self) -> tuple[DTLSEndpoint, ...]:
        """The endpoints of all live associations."""
        return tuple(
            DTLSEndpoint.of(channel)
            for protocol in self._protocols
            for channel in protocol.channels
            if channel.connection.handshake_complete
        )

    @property
    def statistics(self) -> Statistics:
        """The sums over all peers, ended ones included, kept as they happen."""
        total = self._past
        for protocol in self._protocols:
            total += protocol.statistics
        return total

    @property
    def gauges(self) -> Gauges:
        """What there is now: associations, half-open handshakes, bytes that wait."""
        return sum((protocol.gauges for protocol in self._protocols), Gauges())

    # -- peers --------------------------------------------------------------------------------

    def _peer_connected(self, channel: Channel) -> None:
        endpoint = DTLSEndpoint.of(channel)
        channel.claim()
        if self._due_exports is not None:
            self._due_exports.add(channel)
        if self._on_data is not None:
            channel.keep_endpoint()
            channel.deliver_to(self._on_data)
        elif self._reads_messages:
            self._take_messages(channel)
        elif self._handler is not None:
            task = asyncio.ensure_future(run_handler(self._handler, endpoint))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(self._waiting) < BACKLOG:
            self._waiting.append(endpoint)
            self._wakeup.set()
        else:
            channel.close()

    async def __aiter__(self) -> AsyncIterator[DTLSEndpoint]:
        """The peers of a server without a handler, in the order in which they connect."""
        self._check_no_data_handler()
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._closed:
                return
            await self._wait()

    async def messages(self) -> AsyncIterator[tuple[DTLSEndpoint, bytes]]:
        """Yields (endpoint, data) of all peers without a task for each. For a server without a
        handler.

        The messages of each peer are in order, and the peers take turns.
        """
        if self._handler is not None:
            raise RuntimeError("messages() is for a server without a handler")
        self._check_no_data_handler()
        self._reads_messages = True
        for protocol in self._protocols:
            for channel in protocol.channels:
                if channel.connection.handshake_complete:
                    self._take_messages(channel)
        # Their endpoints are held elsewhere now. An endpoint that nobody holds is closed.
        self._waiting.clear()
        while not self._closed or self._readable:
            while self._readable:
                channel = self._readable.popleft()
                inbox = channel.inbox
                if not inbox:
                    continue
                data = inbox.popleft()
                endpoint = self._held.get(channel) or DTLSEndpoint.of(channel)
                if inbox:
                    self._readable.append(channel)
                elif channel.connection.closed:
                    self._held.pop(channel, None)
                yield endpoint, data
            if not self._closed:
                await self._wait()

    def _check_no_data_handler(self) -> None:
        if self._on_data is not None:
            raise RuntimeError("on_data gets the data of this server, and holds its endpoints")

    def _take_messages(self, channel: Channel) -> None:
        self._held[channel] = DTLSEndpoint.of(channel)
        channel.tell_of_data(self._data_waits)

    def _data_waits(self, channel: Channel) -> None:
        if channel.has_data:
            self._readable.append(channel)
            self._wakeup.set()
        elif channel.connection.closed:
            self._held.pop(channel, None)

    async def _wait(self) -> None:
        self._wakeup.clear()
        await self._wakeup.wait()

    @checks.checked
    async def connect(
        self,
        addr: Any,
        *,
        config: DTLSConfig | None = None,
        server_hostname: str | None = None,
        session: Session | None = None,
        on_event: EventHandler | None = None,
        on_data: DataHandler | None = None,
    ) -> DTLSEndpoint:
        """Connects to a peer from the server's own socket of the address's family.

        ``addr`` is (IP address, port); for IPv6 it may have a flow label and a scope id.

        Raises:
            SimultaneousOpen: the peer connected at the same time and keeps the client role.
            TypeError, ValueError: ``addr`` is not such an address.

        Otherwise raises the same as ``connect``.
        """
        protocol = self._protocol_for(addr)
        return await protocol.connect(
            addr,
            config=config,
            server_hostname=server_hostname,
            session=session,
            on_event=on_event or self._on_event,
            on_data=on_data,
        )

    @checks.checked
    def export_all(self, key: bytes) -> list[bytes]:
        """Exports every association that can be exported, as ``export_state`` does.

        They end here, and no new peers are accepted. Associations that cannot be exported now
        remain: call it again a little later.
        """
        states = []
        for protocol in self._protocols:
            protocol.stop_accepting()
            for channel in protocol.channels:
                with contextlib.suppress(DTLSError):
                    states.append(channel.export_state(key))
        return states

    # -- for a process that takes over ---------------------------------------------------------

    def pause_reading(self) -> None:
        """Accepts no new peers, and leaves what comes to another process that has the sockets.

        Associations and handshakes go on: :meth:`receive_datagram` gives them what the other
        process has read.

        Raises:
            DTLSError: The transport cannot stop reading; the one for Linux can.
        """
        for protocol in self._protocols:
            protocol.pause_reading()
            protocol.stop_accepting()

    def resume_reading(self) -> None:
        """Reads the sockets and accepts peers again, because the other process has failed."""
        for protocol in self._protocols:
            protocol.accept_again()
            protocol.resume_reading()

    def receive_datagram(self, number: int, data: bytes, addr: Any) -> None:
        """Handles a datagram that another process has read from the same socket.

        Args:
            number: Which of :attr:`sockets` it is.
            data: The datagram.
            addr: Its source, as the other process had it.
        """
        self._protocols[number].datagram_received(data, addr)

    @property
    def half_open_peers(self) -> list[tuple[int, Any]]:
        """The number of the socket and the address of each handshake in flight."""
        return [
            (number, addr)
            for number, protocol in enumerate(self._protocols)
            for addr in protocol.half_open_peers
        ]

    def export_each(self, key: bytes) -> Iterator[tuple[DTLSEndpoint, bytes]]:
        """Exports one association after another, as :meth:`export_all` does, while it is iterated.

        Associations that cannot be exported now, and those that were dialled, are left out.
        """
        for protocol in self._protocols.copy():
            for channel in protocol.channels:
                if channel.connection.role == "server":
                    with contextlib.suppress(DTLSError):
                        yield DTLSEndpoint.of(channel), channel.export_state(key)

    @checks.checked
    def export_due(self, key: bytes, *, limit: int, lease: int) -> list[tuple[DTLSEndpoint, bytes]]:
        """Exports the associations that need it, so that another process can adopt them if this one
        dies.

        These are new ones, and those that wait for a newer export. Store each state, and then call
        ``endpoint.export_stored(state)``.

        Args:
            key: 32 bytes, which seal the states.
            limit: How many at most. The loop stands still meanwhile, 0.2 ms for each.
            lease: For how many records each way, as of ``export_state``.

        Returns:
            Endpoints with their states, those that have waited longest first.

        Raises:
            ValueError: The key or the lease is none.
        """
        if self._due_exports is None:
            channels = [c for protocol in self._protocols for c in protocol.channels]
            self._due_exports = DueExports(channels)
        return self._due_exports.export(key, limit, lease)

    def take_ended_exports(self) -> list[tuple[bytes, str]]:
        """The association ids of those that have ended since the last call after they were
        exported, each with the reason. There are none before the first ``export_due``.
        """
        return self._due_exports.take_ended() if self._due_exports is not None else []

    @checks.checked
    def adopt(self, state: bytes, key: bytes) -> DTLSEndpoint:
        """Continues an association that another process exported, and calls the handler for it.

        Raises:
            ValueError: the state was not sealed with ``key``.
            DTLSError: the state was adopted before, or the peer's address has an association here.
        """
        peer = sealed_state.unseal(state, key).peer
        return self._protocol_for(peer).adopt(state, key)

    def _protocol_for(self, addr: Any) -> _ServerProtocol:
        refusals: dict[int | None, ValueError] = {}
        for protocol, _ in self._accepting_transports():
            try:
                protocol.canonical(addr)
            except ValueError as error:
                refusals[protocol.family] = error
            else:
                return protocol
        refusal = refusals.get(udp.family_of(addr))
        if refusal is not None:
            raise refusal
        raise DTLSError(f"the server has no socket of the family of {addr!r}")

    @property
    def config(self) -> DTLSConfig:
        """The config for new handshakes."""
        return self._config

    @checks.checked
    def update_config(self, config: DTLSConfig) -> None:
        """Takes another config for new handshakes.

        Ticket keys, cookie keys and a session store that it names take effect; where it names none,
        those of before live on. To have fresh ticket keys, name them: ``TicketKeys()``.

        Args:
            config: Its ``connection_id`` is as long as before.

        Raises:
            ConfigError: It cannot serve, or has another length of connection ids. The config of
                before is still in force then.
        """
        config.check_server()
        for protocol in self._protocols:
            protocol.check_update(config)
        for protocol in self._protocols:
            protocol.update_config(config)
        self._config = config

    # -- the end ------------------------------------------------------------------------------

    async def serve_forever(self) -> None:
        """Runs until it is cancelled, which ends the server as leaving ``async with`` does, or
        until closed.
        """
        if self._bind is not None:
            await self
        self._serving = asyncio.get_running_loop().create_future()
        if self._closed:
            return
        try:
            await self._serving
        except asyncio.CancelledError:
            self.close()
            await self._end_handlers()
            raise

    @checks.checked
    def close(self, *, close_endpoints: bool = True) -> None:
        """Stops accepting peers. Each socket closes when the last association on it has ended."""
        self._closed = True
        self._wakeup.set()
        if self._unknown_ids is not None:
            self._unknown_ids.close()
        for protocol in self._protocols.copy():
            protocol.wind_up(close_endpoints=close_endpoints)
        if self._serving is not None and not self._serving.done():
            self._serving.set_result(None)

    @checks.checked
    async def drain(self, timeout: float | None = None) -> int:
        """Takes no new peers, and waits until those that there are have gone.

        Handshakes that have begun are finished. Sockets stay open.

        Args:
            timeout: In seconds; None waits as long as it takes.

        Returns:
            How many associations and handshakes remain; 0 unless the time was too short.
        """
        for protocol in self._protocols:
            protocol.stop_accepting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._count():
                    self._association_left.clear()
                    await self._association_left.wait()
        return self._count()

    def _count(self) -> int:
        return sum(protocol.channel_count for protocol in self._protocols)

    def _stray(self, protocol: _ServerProtocol, data: bytes, addr: Any, cid: bytes) -> bool:
        if self._worker is None and self._unknown_ids is None:
            return False
        number, is_hello = self._protocols.index(protocol), begins_client_hello(data)
        worker, unknown = self._worker, self._unknown_ids
        if worker is not None and worker.forward(number, data, addr, is_hello=is_hello):
            return True
        return bool(cid and unknown is not None and unknown.take(number, data, addr, cid))

    def _export_needed(self, channel: Channel) -> None:
        if self._due_exports is not None:
            self._due_exports.add(channel)

    def _association_ended(self, channel: Channel) -> None:
        self._association_left.set()
        if self._due_exports is not None:
            self._due_exports.end(channel)

    async def wait_closed(self) -> None:
        """Returns when all handlers have ended and all sockets are closed."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        for protocol in self._protocols.copy():
            await protocol.wait_lost()

    async def _end_handlers(self) -> None:
        """Gives the handlers ``close_timeout`` seconds, then cancels them. Cancels at once if
        cancelled.
        """
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._close_timeout)
        finally:
            late = list(self._tasks)
            for task in late:
                task.cancel()
            if late:
                log.say(log.server, log.HANDLERS_CANCELLED, len(late))
        await self.wait_closed()


class _ServerProtocol(DTLSProtocol):
    """The protocol of one of the server's sockets."""

    accepts_all = takes_strays = True

    def __init__(
        self,
        server: DTLSServer,
        config: DTLSConfig,
        *,
        on_event: ServerEventHandler | None,
        id_layout: IdLayout | None,
    ) -> None:
        super().__init__(config, on_event=on_event, id_layout=id_layout)
        self._server = server
        self._closes_when_idle = False
        # The server goes on without this socket.
        self.is_removed = False
        self._lost = asyncio.Event()
        self.family: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        self.family = int(sock.family) if sock is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost.set()
        if self.is_removed:
            self._server._socket_lost(self)

    def stray_received(self, data: bytes, addr: Any, cid: bytes) -> bool:
        return self._server._stray(self, data, addr, cid)

    def peer_connected(self, channel: Channel) -> None:
        self._server._peer_connected(channel)

    def export_needed(self, channel: Channel) -> None:
        self._server._export_needed(channel)

    def association_ended(self, channel: Channel) -> None:
        super().association_ended(channel)
        self._server._association_ended(channel)
        if self._closes_when_idle:
            self.close_when_idle()

    def wind_up(self, *, close_endpoints: bool) -> None:
        """Accepts no more peers, and closes the socket once no association is left on it."""
        self.stop_accepting()
        if close_endpoints:
            for channel in self.channels:
                channel.close()
        self.close_when_idle()

    def close_when_idle(self) -> None:
        """Closes the socket once no association is left on it."""
        self._closes_when_idle = True
        established = any(c.connection.handshake_complete for c in self.channels)
        if not established and self.transport is not None:
            self.close_transport()

    async def wait_lost(self) -> None:
        await self._lost.wait()
