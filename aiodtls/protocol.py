"""DTLSProtocol: the sans-IO core on any datagram transport.

It uses only ``loop.time()``, and needs only ``sendto(data, addr)`` of its transport. So ICE, TURN
or a fake in a test can serve as well as a socket.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any, TypeAlias, cast

from aiodtls import log, reports, trace
from aiodtls.channel import Channel
from aiodtls.core import checks
from aiodtls.core.config import MINIMUM_PMTU, DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError, EndpointClosed
from aiodtls.core.events import HandshakeFailed
from aiodtls.core.id_layout import IdLayout
from aiodtls.core.listener import Listener, PeerConnected
from aiodtls.core.sessions import Session
from aiodtls.core.statistics import Gauges, Statistics
from aiodtls.endpoint import DataHandler, DTLSEndpoint, EventHandler, ServerEventHandler
from aiodtls.net import distant_timer, sockets
from aiodtls.net.batching import FLUSH_TIME, BatchingTransport
from aiodtls.net.eager_future import resolve
from aiodtls.net.recent import RecentDatagrams
from aiodtls.net.segments import split_batch
from aiodtls.net.send_queue import DEFAULT_LIMIT, Priority, SendQueue
from aiodtls.reports import FailureReports

# The first byte of a datagram distinguishes DTLS from STUN, TURN, SRTP and QUIC (RFC 7983,
# RFC 9443).
FIRST_DTLS_BYTE, LAST_DTLS_BYTE = 20, 63
IPV4_AND_UDP_HEADERS = 28
IPV6_AND_UDP_HEADERS = 48
LEAST_DATAGRAM = MINIMUM_PMTU - IPV6_AND_UDP_HEADERS

Handler: TypeAlias = Callable[[DTLSEndpoint], Awaitable[object]]


# The protocols that a forked child must not continue.
_alive: weakref.WeakSet[DTLSProtocol] = weakref.WeakSet()


class DTLSProtocol(asyncio.DatagramProtocol):
    """Any number of associations on one datagram transport.

    Args:
        config: for peers that connect, and for those that we connect to without another config.
            Without it no peer can connect.
        handler: ``handler(endpoint)`` becomes a task for each peer whose handshake completes.
            Without a handler a peer can only connect through ``accept(addr)``. The ClientHello of
            each address waits for that, within ``Limits.hello_pool_bytes``, without an answer.
        max_datagram_size: in bytes; overrides what ``pmtu`` and the transport's address family
            give.
        id_layout: makes connection ids that tell the process; without it they are random.
    """

    # Whether peers can connect without a handler. Subclasses that override ``peer_connected`` set
    # it.
    accepts_all = False
    # Whether ``stray_received`` is called. Subclasses that override it set it.
    takes_strays = False

    @checks.checked
    def __init__(
        self,
        config: DTLSConfig | None = None,
        *,
        handler: Handler | None = None,
        max_datagram_size: int | None = None,
        on_event: ServerEventHandler | None = None,
        id_layout: IdLayout | None = None,
    ) -> None:
        if max_datagram_size is not None:
            checks.at_least(LEAST_DATAGRAM, "max_datagram_size", max_datagram_size)
        self._listener = Listener(
            config if _can_serve(config) else None,
            holds_hellos=handler is None and not self.accepts_all,
            datagram_size=self.datagram_size,
            id_layout=id_layout,
            observe=trace.observe,
            on_stray=self.stray_received if self.takes_strays else None,
        )
        self._config = config
        self._handler = handler
        self._max_datagram_size = max_datagram_size
        self.on_event = on_event
        # A server's sockets share them.
        self.failure_reports: FailureReports = FailureReports()
        self.transport: asyncio.DatagramTransport | None = None
        self.is_paused: bool = False
        # The bytes of an IP packet before the UDP payload.
        self.headers: int = IPV4_AND_UDP_HEADERS
        self._loop: asyncio.AbstractEventLoop | None = None
        # The only peer of a connected socket, which takes no address to send to.
        self._connected_to: Any = None
        # Datagrams that wait while the transport is paused, if it does not batch.
        self._held_back = SendQueue()
        # The address and size of the datagram that is being given to the transport. Also the recent
        # ones, if the transport does not batch.
        self._sending: tuple[Any, int] | None = None
        self._given = RecentDatagrams()
        # Converts a peer's address to the form in which the transport reports it.
        self.canonical: Callable[[Any], Any] = _unchanged
        # The transport, if it takes batches of datagrams.
        self.batching: BatchingTransport | None = None
        self._channels: dict[DTLSConnection, Channel] = {}
        self._timer: distant_timer.Timer | None = None
        self._due = 0.0
        self._draining = False
        # Channels with data for the user's ``on_data``, and whether that is being called.
        self._with_data: list[Channel] = []
        self._is_calling = False
        # Aborts a closed transport that cannot send its queue.
        self._flush_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        # Set once no new associations are accepted. The future is made for those who wait for that.
        self._is_closed = False
        self._closing: asyncio.Future[None] | None = None
        self._dropped, self._output_bytes = 0, DEFAULT_LIMIT
        self._kernel_drops = self._wire_sent = self._wire_received = 0
        _alive.add(self)

    # -- asyncio.DatagramProtocol -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        self._loop = asyncio.get_running_loop()
        # The event loop of asyncio uses the same clock, but through another call.
        is_plain = type(self._loop).time is asyncio.BaseEventLoop.time
        self._time = time.monotonic if is_plain else self._loop.time
        self.batching = transport if isinstance(transport, BatchingTransport) else None
        if self._config is not None:
            self._limit_output(self._config)
        get = getattr(transport, "get_extra_info", lambda name: None)
        self._connected_to = get("peername")
        sockname = get("sockname")
        is_ipv6 = isinstance(sockname, tuple) and len(sockname) == 4
        self.headers = IPV6_AND_UDP_HEADERS if is_ipv6 else IPV4_AND_UDP_HEADERS
        self.canonical = sockets.canonical_for(get("socket")) or _unchanged

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.batch_received(data, len(data), addr)

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool = False) -> None:
        """Processes datagrams of ``size`` bytes, concatenated. The last one may be shorter.

        For transports that batch. HOT PATH. ``in_callback`` tells that a callback of the loop is
        the caller, not a task, so that tasks may run inside.
        """
        if self._connected_to is not None:
            addr = self._connected_to
        self._wire_received += len(batch)
        taken = 0
        connection = self._listener.live_connection(addr)
        if connection is not None:
            messages: list[bytes] = []
            taken = connection.receive_batch(batch, size, messages, self._time())
            if messages:
                channel = self._channels.get(connection) or self._channel(connection)
                channel.deliver(messages, in_callback)
            if taken and taken * size >= len(batch):
                if self._with_data:
                    self._call_on_data()
                return
        now = self._time()
        # Our address that the datagram came to, if the transport tells.
        local = getattr(addr, "source", None)
        receive = self._listener.receive_datagram
        for data in split_batch(batch, size)[taken:]:
            if not data:
                continue
            if FIRST_DTLS_BYTE <= data[0] <= LAST_DTLS_BYTE:
                receive(data, addr, now, local)
            else:
                self.foreign_datagram_received(data, addr)
        self.drain()
        self._call_on_data()

    def foreign_datagram_received(self, data: bytes, addr: Any) -> None:
        """Gets datagrams whose first byte is not that of DTLS. Override it for STUN or SRTP."""

    def stray_received(self, data: bytes, addr: Any, cid: bytes) -> bool:
        """A datagram belongs to no association here. Returns whether it was taken; else it is
        handled as usual. ``cid`` is its connection id, empty if it has none.
        """
        return False

    def error_received(self, exc: Exception) -> None:
        """Handles an ICMP error, or the failure of a datagram that is being sent.

        asyncio does not tell the address. It is known on a connected socket and during ``sendto``.
        At other times a datagram that was too big can only be the largest recent one. Other errors
        are ignored, and the timers resend what was lost.
        """
        datagram, self._sending = self._sending, None
        if datagram is None and isinstance(exc, OSError) and exc.errno == errno.EMSGSIZE:
            datagram = self._given.take_largest()
        addr, size = datagram or (None, None)
        self.send_failed(exc, addr, size)

    def send_failed(self, error: Exception, addr: Any, size: int | None = None) -> None:
        """The transport could not send ``size`` bytes to ``addr``, or got an ICMP error from there.

        Only the associations at that address are told. Batching transports call it.
        """
        if self._connected_to is not None:
            addr = self._connected_to
        if not isinstance(error, OSError) and self._loop is not None:
            log.about(self._loop, log.server, log.SEND_FAILED, addr, error)
        fits = self._fits(addr) if getattr(error, "errno", None) == errno.EMSGSIZE else None
        self._listener.transport_error(error, addr, self._now(), size=size, fits=fits)
        self.drain()

    def _fits(self, addr: Any) -> int | None:
        """How many bytes of UDP payload the path to ``addr`` takes, if the system knows."""
        is_ip_socket = self.canonical is not _unchanged
        mtu = sockets.path_mtu(addr) if is_ip_socket and addr is not None else None
        return None if mtu is None else mtu - self.headers

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed: every association on it ends."""
        self._dropped += self._unsent_dropped()
        self._kernel_drops += self._receive_buffer()[1]
        self.transport = self.batching = None
        self._held_back.clear()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        for channel in list(self._channels.values()):
            channel.connection.fail(EndpointClosed("local", "the socket was closed"))
        self.drain()
        self._listener.release()
        self._take_no_more()
        for task in self._tasks:
            task.cancel()

    def forked(self) -> None:
        """In a forked child: the associations belong to the parent, and end here silently.

        If both used them, one nonce would protect two records. The socket, the timer and their
        registrations in the event loop are shared with the parent, so they are not touched.
        """
        self.transport = self.batching = self._timer = None
        self._held_back.clear()
        for connection in self._listener.connections:
            connection.abort(
                EndpointClosed("forked", "the association belongs to the parent process")
            )
        for channel in self._channels.values():
            channel.forget_pending()

    def pause_writing(self) -> None:
        self.is_paused = True
        for channel in list(self._channels.values()):
            # Otherwise more messages could join the coalesced ones.
            channel.flush()

    def resume_writing(self) -> None:
        self.is_paused = False
        self._send_held_back()
        if self.is_paused:
            return
        for channel in list(self._channels.values()):
            channel.room_again()

    # -- called by users ----------------------------------------------------------------------

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
        """Connects to ``addr`` and completes the handshake.

        If it is cancelled, the handshake ends silently. Datagrams that the transport cannot send
        are resent by the timers until ``handshake_timeout``.

        Raises:
            HandshakeError: the handshake failed.
            OSError: an ICMP error says that the port is closed.
            ConfigError: the config has no way to authenticate the server.
            TypeError, ValueError: ``addr`` is not an address of the transport.
        """
        channel = self.dial(addr, config=config, server_hostname=server_hostname, session=session)
        return await self._complete(channel, on_event, on_data)

    @checks.checked
    async def accept(
        self,
        addr: Any,
        *,
        on_event: EventHandler | None = None,
        on_data: DataHandler | None = None,
    ) -> DTLSEndpoint:
        """Completes a server's handshake with ``addr``, an address known to be good, without a
        cookie.

        Begins at once if a ClientHello from there waits, else waits for one. Raises the same as
        ``connect``.
        """
        self._check_not_closed()
        channel = self._channel(self._listener.accept(self.canonical(addr), self._now()))
        return await self._complete(channel, on_event, on_data)

    def dial(
        self,
        addr: Any,
        *,
        config: DTLSConfig | None = None,
        server_hostname: str | None = None,
        session: Session | None = None,
    ) -> Channel:
        """Begins a client's handshake. ``drain`` sends its hello. Users call ``connect``."""
        chosen = config or self._config
        if chosen is None:
            raise DTLSError("a config is needed to connect")
        self._check_not_closed()
        if self._config is None:
            self._limit_output(chosen)
        connection = self._listener.dial(
            self.canonical(addr),
            self._now(),
            config=chosen,
            server_hostname=server_hostname,
            session=session,
        )
        return self._channel(connection)

    @checks.checked
    def adopt(self, state: bytes, key: bytes, *, config: DTLSConfig | None = None) -> DTLSEndpoint:
        """Continues an association that another process exported, and calls the handler for it.

        Raises the same as ``Listener.adopt``.
        """
        connection = self._listener.adopt(state, key, self._now(), config=config)
        channel = self._channel(connection)
        endpoint = DTLSEndpoint.of(channel)
        if channel.connection.role == "client":
            channel.claim()
        self.drain()
        return endpoint

    async def _complete(
        self, channel: Channel, on_event: EventHandler | None, on_data: DataHandler | None
    ) -> DTLSEndpoint:
        endpoint = DTLSEndpoint.of(channel)
        channel.claim()
        channel.report_to(on_event or self.on_event)
        self.drain()
        try:
            await channel.handshake
        except BaseException:
            channel.abort()
            raise
        if on_data is not None:
            channel.deliver_to(on_data)
        return endpoint

    @property
    def endpoints(self) -> tuple[DTLSEndpoint, ...]:
        """The endpoints of all live associations."""
        established = (c for c in self.channels if c.connection.handshake_complete)
        return tuple(map(DTLSEndpoint.of, established))

    def close(self) -> None:
        """Ends every association with a close_notify and accepts no new ones. Calling it again does
        nothing.

        The transport stays open; whoever made it must close it.
        """
        self._take_no_more()
        for channel in self.channels:
            channel.close()

    def abort(self) -> None:
        """Ends every association without sending anything, and accepts no new ones. Calling it
        again does nothing.
        """
        self._take_no_more()
        for channel in self.channels:
            channel.abort()

    async def wait_closed(self) -> None:
        """Returns when it is closed or has lost its transport, and all handlers have ended."""
        if not self._is_closed:
            if self._closing is None:
                self._closing = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._closing)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _take_no_more(self) -> None:
        self.stop_accepting()
        self._is_closed = True
        if self._closing is not None:
            resolve(self._closing)

    def _check_not_closed(self) -> None:
        if self._is_closed:
            raise DTLSError("the protocol is closed: it takes no new associations")

    @property
    def statistics(self) -> Statistics:
        """The sums over all associations of this transport, ended ones included.

        They are kept as they happen, so this takes as long for one association as for 100,000.
        """
        if self.batching is not None:
            # What is coalesced was sent, as far as its sender knows.
            self.batching.end_iteration_early()
        own = Statistics(
            datagrams_dropped=self._dropped + self._unsent_dropped(),
            wire_bytes_sent=self._wire_sent,
            wire_bytes_received=self._wire_received,
            kernel_drops=self._kernel_drops + self._receive_buffer()[1],
        )
        return self._listener.statistics + own

    @property
    def gauges(self) -> Gauges:
        """What there is now."""
        waiting = self.batching.get_write_buffer_size() if self.batching is not None else 0
        own = Gauges(
            output_bytes=waiting + self._held_back.size, input_bytes=self._receive_buffer()[0]
        )
        return self._listener.gauges + own

    def _receive_buffer(self) -> tuple[int, int]:
        """The memory of datagrams that wait in the system's buffer, and how many it has dropped."""
        get = getattr(self.transport, "get_extra_info", lambda name: None)
        return sockets.receive_buffer(get("socket"))

    def endpoint_of(self, channel: Channel) -> DTLSEndpoint:
        """The user's endpoint for a channel."""
        return DTLSEndpoint.of(channel)

    @property
    def channel_count(self) -> int:
        """How many associations and handshakes there are."""
        return len(self._channels)

    @property
    def channels(self) -> list[Channel]:
        return list(self._channels.values())

    def check_update(self, config: DTLSConfig) -> None:
        """Raises :class:`ConfigError` if ``update_config`` would raise it."""
        self._listener.check_update(config)

    @checks.checked
    def update_config(self, config: DTLSConfig) -> None:
        """Uses ``config`` for new handshakes; see :meth:`DTLSServer.update_config`."""
        self._listener.update_config(config, self._now() if self._loop is not None else 0.0)
        self._config = self._listener.config
        self._limit_output(config)

    def stop_accepting(self) -> None:
        self._listener.stop_accepting()

    def accept_again(self) -> None:
        self._listener.accept_again()

    @property
    def half_open_peers(self) -> list[Any]:
        """The addresses whose handshakes are in flight."""
        return self._listener.half_open_peers

    def pause_reading(self) -> None:
        """Leaves what comes to another reader of the socket. Sending goes on.

        Raises :class:`DTLSError` if the transport cannot do that.
        """
        self._pausable().pause_reading()

    def resume_reading(self) -> None:
        self._pausable().resume_reading()

    def _pausable(self) -> BatchingTransport:
        if self.batching is None:
            raise DTLSError("only the batching transport, on Linux, can stop reading")
        return self.batching

    # -- output of the core -------------------------------------------------------------------

    def drain(self) -> None:
        """Sends, schedules and delivers until the core has nothing more to report."""
        if self._draining:
            return
        self._draining = True
        try:
            self._drain()
        finally:
            self._draining = False
        if self._with_data and self._loop is not None:
            # The caller may be a call of the user, which does not expect to be called itself.
            self._loop.call_soon(self._call_on_data)

    def data_waits(self, channel: Channel) -> None:
        """Called by a channel with data for ``on_data``, which is called when the core is drained.
        Inside the core's own calls it could not use its endpoint.
        """
        self._with_data.append(channel)

    def _call_on_data(self) -> None:
        if self._is_calling:
            return
        self._is_calling = True
        try:
            while self._with_data:
                self._with_data.pop(0).call_on_data()
        finally:
            self._is_calling = False

    def _drain(self) -> None:
        listener = self._listener
        while touched := listener.ready():
            for connection in touched:
                self._drain_connection(connection)
            self._send_answers()
            self._take_events()
        self._send_answers()
        self._take_events()
        # Without a transport the state that the listener keeps for peers is useless.
        self._listener_timer(listener.next_timeout() if self.transport is not None else None)

    def _take_events(self) -> None:
        while (event := self._listener.next_event()) is not None:
            if isinstance(event, PeerConnected):
                self._peer_connected(event)
            elif isinstance(event, HandshakeFailed):
                self._failed_without_endpoint(event, began=False)

    def _drain_connection(self, connection: DTLSConnection) -> None:
        datagrams = connection.datagrams_to_send()
        if datagrams:
            complete = connection.handshake_complete
            self.send_datagrams(datagrams, Priority.control if complete else Priority.handshake)
        if connection.closed:
            # A peer that completed its handshake and left must be known before it is forgotten.
            self._take_events()
            # The listener may keep it for its peer. For its owner it has ended.
            channel = self._channels.pop(connection, None)
            if channel is not None:
                channel.drain()
                self.association_ended(channel)
            else:
                self._take_last_events(connection)
            self._listener.remove(connection)
            return
        self._channel(connection).drain()

    def _send_answers(self) -> None:
        answers = self._listener.datagrams_to_send()
        if answers:
            self.send_datagrams(answers, Priority.stateless_answer)

    def send_datagrams(self, datagrams: list[tuple[bytes, Any]], priority: Priority) -> None:
        """Gives datagrams to the transport in order; those to one address together."""
        self._wire_sent += sum(len(data) for data, _ in datagrams)
        batching = self.batching
        if batching is None:
            for data, addr in datagrams:
                self._send_or_hold_back(data, addr, priority)
            return
        for addr, group in itertools.groupby(datagrams, itemgetter(1)):
            target = addr if self._connected_to is None else None
            together = [data for data, _ in group]
            if len(together) == 1:
                batching.send_batch(together[0], len(together[0]), target, priority)
            else:
                batching.send_many(together, target, priority)

    def _send_or_hold_back(self, data: bytes, addr: Any, priority: Priority) -> None:
        """Gives one datagram to a transport that does not batch, once it has room."""
        if self.is_paused and self.transport is not None:
            self._held_back.add((data,), addr, priority)
        else:
            self._send_datagram(data, addr)

    def _send_held_back(self) -> None:
        while self._held_back and not self.is_paused:
            waiting = self._held_back.first()
            data, addr = waiting.datagrams[0], waiting.addr
            self._held_back.done(waiting, 1)
            self._send_datagram(data, addr)

    def close_transport(self) -> None:
        """Closes the transport. It has ``FLUSH_TIME`` to send its queue."""
        transport = self.transport
        if transport is None:
            return
        if self.batching is None and self._loop is not None:
            self.is_paused = False
            self._send_held_back()
            if self._flush_timer is None:
                self._flush_timer = self._loop.call_later(FLUSH_TIME, transport.abort)
        transport.close()

    def _limit_output(self, config: DTLSConfig) -> None:
        """Limits what may wait for the transport."""
        self._output_bytes = config.limits.output_bytes
        bounds = self._output_bytes, config.limits.network_of
        self._held_back.limit(*bounds)
        if self.batching is not None:
            self.batching.limit_output(*bounds)
        set_limits = getattr(self.transport, "set_write_buffer_limits", None)
        if set_limits is not None:
            set_limits(high=config.write_limit)

    @property
    def is_full(self) -> bool:
        """Whether so much data waits that ``sendto`` would drop more."""
        waiting = self.batching or self._held_back
        return self.is_paused and waiting.data_size >= self._output_bytes

    def drop_unsent(self) -> None:
        """Counts one datagram that is dropped because too much waits."""
        self._dropped += 1

    def _unsent_dropped(self) -> int:
        """How many datagrams were dropped because too much waited for this transport."""
        batching = self.batching.dropped if self.batching is not None else 0
        return batching + self._held_back.dropped

    def _send_datagram(self, data: bytes, addr: Any) -> None:
        """Gives one datagram to the transport. If that raises, the datagram is lost."""
        transport = self.transport
        if transport is None:
            return
        self._sending = datagram = addr, len(data)
        try:
            if self._connected_to is not None:
                transport.sendto(data)
            else:
                transport.sendto(data, addr)
        except Exception as error:
            self._sending = None
            self.send_failed(error, *datagram)
        else:
            # If no error has come yet, the transport may still find it too big.
            if self._sending is not None:
                self._given.add(datagram)
        finally:
            self._sending = None

    def send_batch(self, batch: bytes, size: int, addr: Any) -> None:
        """Gives datagrams of ``size`` bytes, concatenated, to the transport at once."""
        self._wire_sent += len(batch)
        if self.batching is None:
            for data in split_batch(batch, size):
                self._send_or_hold_back(data, addr, Priority.data)
        else:
            self.batching.send_batch(batch, size, addr if self._connected_to is None else None)

    def _channel(self, connection: DTLSConnection) -> Channel:
        channel = self._channels.get(connection)
        if channel is None:
            channel = self._channels[connection] = Channel(self, connection)
            channel.report_to(self.on_event)
        return channel

    def datagram_size(self, pmtu: int) -> int:
        """The bytes of UDP payload in an IP packet of ``pmtu`` bytes here."""
        if self._max_datagram_size is not None:
            return self._max_datagram_size
        return pmtu - self.headers

    def _peer_connected(self, event: PeerConnected) -> None:
        channel = self._channel(event.connection)
        if not channel.is_claimed:
            self.peer_connected(channel)

    def peer_connected(self, channel: Channel) -> None:
        """A peer has connected. Here the handler is called; the server overrides it."""
        endpoint = DTLSEndpoint.of(channel)
        channel.claim()
        # Without a handler the association was adopted, and the caller has the endpoint.
        if self._handler is None:
            return
        task = asyncio.ensure_future(run_handler(self._handler, endpoint))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def address_changed(self, channel: Channel, old: Any) -> None:
        """The peer has moved away from ``old``. Subclasses that keep addresses override it."""

    def export_needed(self, channel: Channel) -> None:
        """An association with a lease waits for a newer export. The server overrides it."""

    def association_ended(self, channel: Channel) -> None:
        """The association has ended and is drained. The transport stays, because it has others."""
        channel.released()

    def _take_last_events(self, connection: DTLSConnection) -> None:
        """A connection that ended at once never had a channel."""
        while (event := connection.next_event()) is not None:
            if reports.is_detailed() and self._loop is not None:
                reports.detail(self._loop, connection, event)
            if isinstance(event, HandshakeFailed):
                self._failed_without_endpoint(event, began=True)

    def _failed_without_endpoint(self, event: HandshakeFailed, *, began: bool) -> None:
        """Reports a handshake that failed before there was an endpoint."""
        loop = self._loop
        if loop is None:
            return
        reports.failed(loop, event, began=began)
        if self.on_event is None or not self.admits(event):
            return
        try:
            self.on_event(None, event)
        except Exception as error:
            name = type(event).__name__
            log.about(loop, log.server, log.CALLBACK_RAISED, event.peername, name, error=error)

    def admits(self, event: HandshakeFailed) -> bool:
        """Whether ``on_event`` is told of this failed handshake: only so many are, in a second."""
        return self._loop is not None and self.failure_reports.admits(event, self._loop)

    def _listener_timer(self, at: float | None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            if at is not None and self._due <= at:
                self._timer = timer
                return
            timer.cancel()
        if at is not None and self._loop is not None:
            self._timer = distant_timer.call_at(self._loop, at, self._listener_timeout)
            # A handle of uvloop does not tell its time if that has passed.
            self._due = at

    def _listener_timeout(self) -> None:
        self._timer = None
        self._listener.handle_timeout(self._now())
        self.drain()

    def _now(self) -> float:
        assert self._loop is not None, "the protocol has no transport yet"
        return self._time()


def _forked() -> None:
    for protocol in list(_alive):
        protocol.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _unchanged(addr: Any) -> Any:
    """For a transport that is not an IP socket."""
    return addr


def _can_serve(config: DTLSConfig | None) -> bool:
    return config is not None and config.can_serve


async def run_handler(handler: Handler, endpoint: DTLSEndpoint) -> None:
    """Runs a handler. However it ends, only its own association ends."""
    loop, peer = asyncio.get_running_loop(), endpoint.peername
    try:
        await handler(endpoint)
    except EndpointClosed as error:
        log.about(loop, log.server, log.HANDLER_ENDED, peer, error)
    except Exception as error:
        log.about(loop, log.server, log.HANDLER_RAISED, peer, error=error)
    finally:
        endpoint.close()
