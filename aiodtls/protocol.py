"""DTLSProtocol: the sans-IO core on any datagram transport.

It reads nothing but ``loop.time()`` and needs nothing of its transport but ``sendto(data, addr)``,
so that ICE, TURN or a test's fake will do as well as a socket.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any, TypeAlias, cast

from aiodtls import log
from aiodtls.channel import Channel
from aiodtls.core import checks
from aiodtls.core.config import MINIMUM_PMTU, DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError, EndpointClosed
from aiodtls.core.listener import Listener, PeerConnected
from aiodtls.core.sessions import Session
from aiodtls.core.statistics import Statistics
from aiodtls.endpoint import DTLSEndpoint, EventHandler
from aiodtls.net import sockets
from aiodtls.net.batching import FLUSH_TIME, BatchingTransport
from aiodtls.net.eager_future import resolve
from aiodtls.net.recent import RecentDatagrams
from aiodtls.net.segments import split_batch
from aiodtls.net.send_queue import DEFAULT_LIMIT, Priority, SendQueue

# The first byte of a datagram tells DTLS from STUN, TURN, SRTP and QUIC (RFC 7983, RFC 9443).
FIRST_DTLS_BYTE, LAST_DTLS_BYTE = 20, 63
IPV4_AND_UDP_HEADERS = 28
IPV6_AND_UDP_HEADERS = 48
LEAST_DATAGRAM = MINIMUM_PMTU - IPV6_AND_UDP_HEADERS

Handler: TypeAlias = Callable[[DTLSEndpoint], Awaitable[object]]


# All that a forked child must not go on with.
_alive: weakref.WeakSet[DTLSProtocol] = weakref.WeakSet()


class DTLSProtocol(asyncio.DatagramProtocol):
    """Any number of associations on one datagram transport.

    ``config`` is for peers that come in, and for those dialled without one of their own; without
    it nobody comes in. ``handler(endpoint)`` is a task for each peer whose handshake completes.
    Without a handler a peer comes in by ``accept(addr)`` alone; the ClientHello of each address
    waits for that, within ``Limits.hello_pool_bytes``, and draws no answer. ``max_datagram_size``
    in bytes overrides what ``pmtu`` and the transport's address family come to.
    """

    # Whether peers come in without a handler. Who overrides ``peer_connected`` says so.
    accepts_all = False

    @checks.checked
    def __init__(
        self,
        config: DTLSConfig | None = None,
        *,
        handler: Handler | None = None,
        max_datagram_size: int | None = None,
        on_event: EventHandler | None = None,
    ) -> None:
        if max_datagram_size is not None:
            checks.at_least(LEAST_DATAGRAM, "max_datagram_size", max_datagram_size)
        self._listener = Listener(config if _can_serve(config) else None)
        self._listener.datagram_size = self.datagram_size
        self._listener.holds_hellos = handler is None and not self.accepts_all
        self._config = config
        self._handler = handler
        self._max_datagram_size = max_datagram_size
        self.on_event = on_event
        self.transport: asyncio.DatagramTransport | None = None
        self.is_paused = False
        # What of an IP packet is not ours.
        self.headers = IPV4_AND_UDP_HEADERS
        self._loop: asyncio.AbstractEventLoop | None = None
        # The one peer of a connected socket, which takes no address to send to.
        self._connected_to: Any = None
        # What waits while the transport is paused, where it does not batch.
        self._held_back = SendQueue()
        # The datagram that the transport is given just now: its address and size. Where the
        # transport does not batch, also what it was given lately.
        self._sending: tuple[Any, int] | None = None
        self._given = RecentDatagrams()
        # Makes a peer's address the one that the transport shows for it.
        self.canonical: Callable[[Any], Any] = _unchanged
        # The transport, where it takes batches of datagrams.
        self.batching: BatchingTransport | None = None
        self._channels: dict[DTLSConnection, Channel] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._draining = False
        # Ends a transport that cannot send what it was closed with.
        self._flush_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        # Set once it takes no new associations; the future is made for those who wait for that.
        self._is_closed = False
        self._closing: asyncio.Future[None] | None = None
        self._dropped, self._output_bytes = 0, DEFAULT_LIMIT
        _alive.add(self)

    # -- asyncio.DatagramProtocol -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        self._loop = asyncio.get_running_loop()
        # asyncio's own loop asks the same clock, but by way of one more call.
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
        """Datagrams of ``size`` bytes one behind another, the last one maybe shorter.

        For transports that batch; HOT PATH. ``in_callback`` says that a callback of the loop calls
        it and no task, so that tasks may go on within it.
        """
        if self._connected_to is not None:
            addr = self._connected_to
        taken = 0
        connection = self._listener.live_connection(addr)
        if connection is not None:
            messages: list[bytes] = []
            taken = connection.receive_batch(batch, size, messages, self._time())
            if messages:
                channel = self._channels.get(connection) or self._channel(connection)
                channel.deliver(messages, in_callback)
            if taken and taken * size >= len(batch):
                return
        now = self._time()
        # The address of ours that it came to, where the transport tells.
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

    def foreign_datagram_received(self, data: bytes, addr: Any) -> None:
        """A datagram that is not DTLS by its first byte; override it for STUN or SRTP."""

    def error_received(self, exc: Exception) -> None:
        """An ICMP error, or what became of a datagram that is being sent.

        asyncio names no address. It is known on a connected socket and during ``sendto``. Later
        only the largest datagram of late can have been too big; any other error concerns nobody,
        and the timers send again what was lost.
        """
        datagram, self._sending = self._sending, None
        if datagram is None and isinstance(exc, OSError) and exc.errno == errno.EMSGSIZE:
            datagram = self._given.take_largest()
        addr, size = datagram or (None, None)
        self.send_failed(exc, addr, size)

    def send_failed(self, error: Exception, addr: Any, size: int | None = None) -> None:
        """The transport could not send ``size`` bytes to ``addr``, or had an ICMP error from there.

        It concerns the associations at that address alone. Batching transports call it.
        """
        if self._connected_to is not None:
            addr = self._connected_to
        if not isinstance(error, OSError):
            self._log(log.server, addr, "the transport failed to send to %s: %r", addr, error)
        fits = self._fits(addr) if getattr(error, "errno", None) == errno.EMSGSIZE else None
        self._listener.transport_error(error, addr, self._now(), size=size, fits=fits)
        self.drain()

    def _fits(self, addr: Any) -> int | None:
        """Bytes of UDP payload that the path to ``addr`` takes, where the system knows it."""
        is_ip_socket = self.canonical is not _unchanged
        mtu = sockets.path_mtu(addr) if is_ip_socket and addr is not None else None
        return None if mtu is None else mtu - self.headers

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed: every association on it ends."""
        self._dropped += self._unsent_dropped()
        self.transport = self.batching = None
        self._held_back.clear()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        for channel in list(self._channels.values()):
            channel.connection.fail(EndpointClosed("local", "the socket was closed"))
        self.drain()
        # A reference cycle, which the garbage collector would have to find.
        self._listener.datagram_size = None
        self._take_no_more()
        for task in self._tasks:
            task.cancel()

    def forked(self) -> None:
        """In a forked child: the associations are the parent's, and end here without a word.

        Two owners of one number would be two records under one nonce. The socket and what the
        event loop knows of it are shared with the parent, so they are left alone.
        """
        self.transport = self.batching = None
        self._held_back.clear()
        for connection in self._listener.connections:
            connection.abort(EndpointClosed("forked", "the association is the parent process's"))
        for channel in self._channels.values():
            channel.forget_pending()

    def pause_writing(self) -> None:
        self.is_paused = True
        for channel in list(self._channels.values()):
            # What is coalesced would let more join it.
            channel.flush()

    def resume_writing(self) -> None:
        self.is_paused = False
        self._send_held_back()
        if self.is_paused:
            return
        for channel in list(self._channels.values()):
            channel.room_again()

    # -- what users call ----------------------------------------------------------------------

    @checks.checked
    async def connect(
        self,
        addr: Any,
        *,
        config: DTLSConfig | None = None,
        server_hostname: str | None = None,
        session: Session | None = None,
        on_event: EventHandler | None = None,
    ) -> DTLSEndpoint:
        """A client's handshake with ``addr``, done when this returns.

        Raises :class:`HandshakeError` and its children, OSError for a port that ICMP tells to be
        closed, :class:`ConfigError`, and TypeError or ValueError for what is no address of the
        transport's. Cancelled, the handshake ends in silence. What the transport cannot send is
        sent again by the timers, until ``handshake_timeout``.
        """
        channel = self.dial(addr, config=config, server_hostname=server_hostname, session=session)
        return await self._complete(channel, on_event)

    @checks.checked
    async def accept(self, addr: Any, *, on_event: EventHandler | None = None) -> DTLSEndpoint:
        """A server's handshake with ``addr``, known to be good, so without a cookie.

        Where a ClientHello from there waits, it begins at once; else it waits for one. Raises as
        ``connect`` does.
        """
        self._check_not_closed()
        channel = self._channel(self._listener.accept(self.canonical(addr), self._now()))
        return await self._complete(channel, on_event)

    def dial(
        self,
        addr: Any,
        *,
        config: DTLSConfig | None = None,
        server_hostname: str | None = None,
        session: Session | None = None,
    ) -> Channel:
        """Begins a client's handshake; ``drain`` sends its hello. Users call ``connect``."""
        chosen = config or self._config
        if chosen is None:
            raise DTLSError("there is no config to dial with")
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
        """Goes on with an association that another process exported; the handler runs for it.

        Raises what ``Listener.adopt`` raises.
        """
        connection = self._listener.adopt(state, key, self._now(), config=config)
        channel = self._channel(connection)
        endpoint = DTLSEndpoint.of(channel)
        if channel.connection.role == "client":
            channel.hand_over()
        self.drain()
        return endpoint

    async def _complete(self, channel: Channel, on_event: EventHandler | None) -> DTLSEndpoint:
        endpoint = DTLSEndpoint.of(channel)
        channel.hand_over()
        channel.on_event = on_event or self.on_event
        self.drain()
        try:
            await channel.handshake
        except BaseException:
            channel.abort()
            raise
        return endpoint

    @property
    def endpoints(self) -> tuple[DTLSEndpoint, ...]:
        """The endpoints of all live associations."""
        established = (c for c in self.channels if c.connection.handshake_complete)
        return tuple(map(DTLSEndpoint.of, established))

    def close(self) -> None:
        """Ends every association with a close_notify and takes no new ones; idempotent.

        The transport stays open: whoever made it closes it.
        """
        self._take_no_more()
        for channel in self.channels:
            channel.close()

    def abort(self) -> None:
        """Ends every association, sends nothing and takes no new ones; idempotent."""
        self._take_no_more()
        for channel in self.channels:
            channel.abort()

    async def wait_closed(self) -> None:
        """Returns when it is closed, or has lost its transport, and all handlers have ended."""
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
        for channel in self._channels.values():
            channel.flush()
        unsent = Statistics(datagrams_dropped=self._dropped + self._unsent_dropped())
        return self._listener.statistics + unsent

    def endpoint_of(self, channel: Channel) -> DTLSEndpoint:
        """The user's object for a channel."""
        return DTLSEndpoint.of(channel)

    @property
    def channels(self) -> list[Channel]:
        return list(self._channels.values())

    def check_update(self, config: DTLSConfig) -> None:
        """Raises :class:`ConfigError` where ``update_config`` would."""
        self._listener.check_update(config)

    @checks.checked
    def update_config(self, config: DTLSConfig) -> None:
        """``config`` is for new handshakes; see :meth:`DTLSServer.update_config`."""
        self._listener.update_config(config, self._now() if self._loop is not None else 0.0)
        self._config = self._listener.config
        self._limit_output(config)

    def stop_accepting(self) -> None:
        self._listener.accepting = False

    # -- moving what the core has to say ------------------------------------------------------

    def drain(self) -> None:
        """Sends, schedules and delivers until the core has nothing left to say."""
        if self._draining:
            return
        self._draining = True
        try:
            self._drain()
        finally:
            self._draining = False

    def _drain(self) -> None:
        listener = self._listener
        while touched := listener.ready():
            for connection in touched:
                self._drain_connection(connection)
            self._send_answers()
            while (event := listener.next_event()) is not None:
                if isinstance(event, PeerConnected):
                    self._peer_connected(event)
        self._send_answers()
        # Without a transport nobody can ask for what the listener would remember.
        self._listener_timer(listener.next_timeout() if self.transport is not None else None)

    def _drain_connection(self, connection: DTLSConnection) -> None:
        datagrams = connection.datagrams_to_send()
        if datagrams:
            complete = connection.handshake_complete
            self.send_datagrams(datagrams, Priority.control if complete else Priority.handshake)
        if connection.closed:
            # What it lingers for is the listener's affair; for its owner it has ended.
            channel = self._channels.pop(connection, None)
            if channel is not None:
                self._log_end(connection)
                channel.drain()
                self.association_ended(channel)
            self._listener.remove(connection)
            return
        self._channel(connection).drain()

    def _send_answers(self) -> None:
        answers = self._listener.datagrams_to_send()
        if answers:
            self.send_datagrams(answers, Priority.stateless_answer)

    def send_datagrams(self, datagrams: list[tuple[bytes, Any]], priority: Priority) -> None:
        """Hands datagrams to the transport, in order; those to one address together."""
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
        """Hands one datagram to a transport that does not batch, once that has room."""
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
        """Closes the transport, which has ``FLUSH_TIME`` for what it still has to send."""
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
        """Bounds what waits for the transport."""
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
        """Whether so much data waits that a caller who does not wait loses what it sends."""
        waiting = self.batching or self._held_back
        return self.is_paused and waiting.data_size >= self._output_bytes

    def drop_unsent(self) -> None:
        """Counts one datagram that is not sent because too much waits."""
        self._dropped += 1

    def _unsent_dropped(self) -> int:
        """Datagrams given up because too much waited for this transport."""
        batching = self.batching.dropped if self.batching is not None else 0
        return batching + self._held_back.dropped

    def _send_datagram(self, data: bytes, addr: Any) -> None:
        """Hands one datagram to the transport. What that raises is a datagram lost."""
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
            # Where no error came yet, the transport may still find it too big.
            if self._sending is not None:
                self._given.add(datagram)
        finally:
            self._sending = None

    def send_batch(self, batch: bytes, size: int, addr: Any) -> None:
        """Hands datagrams of ``size`` bytes one behind another to the transport, at once."""
        if self.batching is None:
            for data in split_batch(batch, size):
                self._send_or_hold_back(data, addr, Priority.data)
        else:
            self.batching.send_batch(batch, size, addr if self._connected_to is None else None)

    def _channel(self, connection: DTLSConnection) -> Channel:
        channel = self._channels.get(connection)
        if channel is None:
            channel = self._channels[connection] = Channel(self, connection)
            channel.on_event = self.on_event
        return channel

    def datagram_size(self, pmtu: int) -> int:
        """Bytes of UDP payload in an IP packet of ``pmtu`` bytes here."""
        if self._max_datagram_size is not None:
            return self._max_datagram_size
        return pmtu - self.headers

    def _peer_connected(self, event: PeerConnected) -> None:
        channel = self._channel(event.connection)
        if not channel.handed_over:
            self.peer_connected(channel)

    def peer_connected(self, channel: Channel) -> None:
        """A peer came in. The server overrides it; here the handler is called."""
        endpoint = DTLSEndpoint.of(channel)
        channel.hand_over()
        # Without a handler it was adopted, and whoever did so has the endpoint.
        if self._handler is None:
            return
        task = asyncio.ensure_future(run_handler(self._handler, endpoint))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def address_changed(self, channel: Channel, old: Any) -> None:
        """The peer was at ``old`` and is not any more. Who keeps addresses overrides it."""

    def association_ended(self, channel: Channel) -> None:
        """Its channel is drained for the last time. The transport stays, for it has others."""
        channel.released()

    def _log_end(self, connection: DTLSConnection) -> None:
        if connection.handshake_complete or connection.failure is None:
            return
        logger = log.client if connection.role == "client" else log.server
        peer, failure = connection.peer, connection.failure
        self._log(logger, peer, "handshake with %s failed: %s", peer, failure)

    def _log(self, logger: logging.Logger, peer: Any, message: str, *arguments: object) -> None:
        """What a peer or its path did; without a loop nothing is going on."""
        if self._loop is not None:
            log.about(self._loop, logger, logging.INFO, peer, message, *arguments)

    def _listener_timer(self, at: float | None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            if at is not None and self._due <= at:
                self._timer = timer
                return
            timer.cancel()
        if at is not None and self._loop is not None:
            self._timer = self._loop.call_at(at, self._listener_timeout)
            # uvloop's handle of what is due already does not say when.
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
    """Of a transport that is no IP socket, addresses are its own affair."""
    return addr


def _can_serve(config: DTLSConfig | None) -> bool:
    return config is not None and config.can_serve


async def run_handler(handler: Handler, endpoint: DTLSEndpoint) -> None:
    """A handler ends its own association, however it ends, and nothing else."""
    loop, peer = asyncio.get_running_loop(), endpoint.peername
    try:
        await handler(endpoint)
    except EndpointClosed as error:
        log.about(
            loop, log.server, logging.DEBUG, peer, "the handler for %s met the end: %s", peer, error
        )
    except Exception as error:
        log.about(
            loop, log.server, logging.ERROR, peer, "the handler for %s raised", peer, error=error
        )
    finally:
        endpoint.close()
