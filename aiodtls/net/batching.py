"""The batching transport: many UDP datagrams in one system call, on Linux.

It sends datagrams of equal size in one call (UDP_SEGMENT), receives many in one call (UDP_GRO), and
answers from the address to which the peer has sent (IP_PKTINFO).

Its protocol may have two additional methods:

- ``batch_received(batch, size, addr, in_callback)`` gets the datagrams of one call: they are
  concatenated, of ``size`` bytes each, the last one maybe shorter. ``in_callback`` is True, because
  the event loop is the caller. Without the method ``datagram_received`` is called for each.
- ``send_failed(error, addr, size)`` is told which datagram could not be sent, and its size, None if
  unknown. Without the method ``error_received`` is called.

HOT PATH: a datagram costs only its share of a system call, and no object of its own.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import Any

from aiodtls.net.ancillary import (
    ANCILLARY_SPACE,
    SOL_UDP,
    UDP_GRO,
    UDP_SEGMENT,
    Ancillary,
    PeerAddress,
    ask_for_destinations,
    segments_of,
    try_option,
    with_source,
)
from aiodtls.net.segments import MAX_BATCH, MAX_SEGMENTS, batch_length, split_batch
from aiodtls.net.send_queue import Priority, SendQueue, Waiting

MAX_DATAGRAM = 65536
# How many system calls at most before other callbacks of the loop run, and after how many received
# datagrams none follows, so that tasks can take the data before their queues are full.
MAX_READS = 16
MANY = 128
# After so many wake-ups with a single datagram, the transport looks for a second one.
MAX_PATIENCE = 64
# In seconds. A datagram that is sent longer than this after the previous one leaves at once.
QUIET = 100e-6
HIGH_WATER = 65536
# How many seconds a closed transport takes at most to send its queue.
FLUSH_TIME = 1.0
NEVER = float("-inf")
UNCONNECTED = "the socket is not connected; an address is needed"

_NOT_SEGMENTED = frozenset(
    {errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT}
)


class BatchingTransport(asyncio.DatagramTransport):
    """A UDP socket on an event loop that has ``add_reader``.

    Datagrams leave at once, unless the socket has no room. To send several to one address in one
    system call, use ``send_batch`` or ``send_many``. ``follows_closely`` tells whether it is worth
    waiting for more.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.BaseProtocol
    ) -> None:
        peername = _peername(sock)
        sockname = sock.getsockname()
        super().__init__(
            {"socket": TransportSocket(sock), "sockname": sockname, "peername": peername}
        )
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._peer = peername
        # The largest datagram that may be part of a batch; 0 if batches are not supported.
        self.segment_limit = MAX_BATCH if try_option(sock, UDP_SEGMENT, 0) else 0
        try_option(sock, UDP_GRO, 1)
        if peername is None and sockname[0] in ("0.0.0.0", "::"):  # noqa: S104 - compared only
            ask_for_destinations(sock)
        # How many system calls to make in one iteration, and after how many wake-ups to try more.
        self._reads = self._patience = self._wakeups = 1
        self._recvmsg = sock.recvmsg
        self._reading = self._sending = False
        # Callbacks for when everything that this iteration reads has been read.
        self._at_end: dict[Callable[[], None], None] = {}
        self._queue = SendQueue()
        # When a datagram was sent last, and to which address; None on a connected socket.
        self._sent_at, self._sent_to = NEVER, None
        self._blocked = self._paused = False
        self._closing = self._lost = self._leaves_input = False
        self._flush_timer: asyncio.TimerHandle | None = None
        self.set_write_buffer_limits()
        self.set_protocol(protocol)
        loop.add_reader(self._fd, self._read_ready)
        try:
            protocol.connection_made(self)
        except BaseException:
            loop.remove_reader(self._fd)
            raise

    # -- receiving ----------------------------------------------------------------------------

    def _read_ready(self) -> None:
        """Reads as much as one iteration may read.

        A read that finds nothing costs as much as one that finds a datagram. So the number of reads
        grows as long as there is more. After a miss the next attempt comes after twice as many
        wake-ups.
        """
        self._reading = True
        self._sent_at = NEVER
        try:
            if self._reads == 1:
                if not self._read():
                    # Nothing was there: a send call may have consumed the error that woke us.
                    self._watch_again()
            else:
                self._read_many()
        finally:
            self._reading = False
            if self._at_end:
                self._end_iteration()
        self._wakeups -= 1
        if not self._wakeups:
            self._reads = min(2 * self._reads, MAX_READS)
            self._wakeups = self._patience

    def pause_reading(self) -> None:
        """Reads no more: what comes stays in the socket, for whoever else reads it."""
        self._leaves_input = True
        self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        self._leaves_input = False
        if not self._closing:
            self._loop.add_reader(self._fd, self._read_ready)

    def _end_iteration(self) -> None:
        at_end, self._at_end = self._at_end, {}
        for callback in at_end:
            try:
                callback()
            except Exception as error:
                self._report(error)

    def _read_many(self) -> None:
        received = 0
        for done in range(self._reads):
            count = self._read()
            received += count
            if not received:
                self._watch_again()
            if not count:
                self._reads = max(1, done)
                self._patience = min(2 * self._patience, MAX_PATIENCE)
                self._wakeups = self._patience + 1
                return
            if received >= MANY or self._closing or self._leaves_input:
                return
        self._patience = self._wakeups = 1

    def _read(self) -> int:
        """Makes one system call. Returns how many datagrams it received; 1 for an error."""
        try:
            batch, ancillary, _, addr = self._recvmsg(MAX_DATAGRAM, ANCILLARY_SPACE)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._tell(error)
            return 1
        if ancillary or self._takes_batches is None:
            return self._deliver(batch, ancillary, addr)
        try:
            self._takes_batches(batch, len(batch), addr, True)
        except Exception as error:
            self._report(error)
        return 1

    def _deliver(self, batch: bytes, ancillary: list[Ancillary], addr: Any) -> int:
        """Delivers the datagrams of one system call: one sender, and equal size except for the
        last. Returns how many there were.
        """
        size = len(batch)
        for level, kind, value in ancillary:
            if level == SOL_UDP and kind == UDP_GRO:
                size = int.from_bytes(value[:4], sys.byteorder) or size
            else:
                addr = with_source(addr, level, kind, value)
        try:
            if self._takes_batches is not None:
                self._takes_batches(batch, size, addr, True)
                return len(batch) // size if size else 1
        except Exception as error:
            self._report(error)
            return 1
        datagrams = split_batch(batch, size)
        for datagram in datagrams:
            try:
                self._protocol.datagram_received(datagram, addr)
            except Exception as error:
                # The error is reported as by a transport that calls back once for each datagram.
                self._report(error)
        return len(datagrams)

    # -- sending ------------------------------------------------------------------------------

    def sendto(self, data: Any, addr: Any = None, priority: Priority = Priority.data) -> None:
        """Sends one datagram at once. Network errors go to ``error_received``."""
        if type(data) is not bytes:
            data = bytes(data)
        if self._peer is None:
            if addr is None:
                raise ValueError(UNCONNECTED)
        elif addr is not None:
            addr = self._checked(addr)
        if self._closing:
            return
        self.send_batch(data, len(data), addr, priority)

    def send_many(
        self, datagrams: Sequence[bytes], addr: Any = None, priority: Priority = Priority.data
    ) -> None:
        """Sends datagrams to one address in as few system calls as possible."""
        addr = self._checked(addr)
        if self._closing or not datagrams:
            return
        self._queue.add(datagrams, addr, priority)
        if not self._blocked and not self._sending:
            self._send_queue()
        if self._blocked and priority is Priority.data:
            self._pause_if_full()

    def follows_closely(self, addr: Any = None) -> bool:
        """Whether the previous datagram went to ``addr`` too, so recently that the next one should
        wait for more, until ``at_end_of_iteration``.
        """
        is_same = addr is self._sent_to or self._peer is not None
        return is_same and monotonic() - self._sent_at <= QUIET

    def at_end_of_iteration(self, callback: Callable[[], None]) -> None:
        """Calls ``callback`` once, when this iteration of the loop has read everything, or at its
        end.
        """
        if not self._reading and not self._at_end:
            self._loop.call_soon(self._end_iteration)
        self._at_end[callback] = None

    def end_iteration_early(self) -> None:
        """Calls now what ``at_end_of_iteration`` was given."""
        self._end_iteration()

    def send_batch(
        self, batch: bytes, size: int, addr: Any = None, priority: Priority = Priority.data
    ) -> None:
        """Sends datagrams of ``size`` bytes, concatenated, to one address. The last may be shorter.

        It takes one system call, unless something is queued or batches are not supported.
        """
        if self._closing:
            return
        is_batch = size < len(batch)
        if not self._queue and not self._blocked and not (is_batch and size > self.segment_limit):
            try:
                if is_batch or type(addr) is PeerAddress:
                    self._send_segments(batch, size, addr)
                elif addr is None:
                    self._sock.send(batch)
                else:
                    self._sock.sendto(batch, addr)
                self._sent_at, self._sent_to = monotonic(), addr
                return
            except ConnectionRefusedError as error:
                # The error is about a datagram that was sent earlier.
                self._tell(error, addr)
            except Exception:  # noqa: S110 - what there is to it is seen below
                pass
        self.send_many(split_batch(batch, size), addr, priority)

    def _send_segments(self, batch: bytes, size: int, addr: Any) -> None:
        ancillary = [addr.source] if type(addr) is PeerAddress else []
        if size < len(batch):
            ancillary.append(segments_of(size))
        # None is the address of the peer that the socket is connected to.
        self._sock.sendmsg((batch,), ancillary, 0, addr)

    def _checked(self, addr: Any) -> Any:
        if self._peer is None:
            if addr is None:
                raise ValueError(UNCONNECTED)
            return addr
        if addr is not None and addr != self._peer:
            raise ValueError(f"the socket is connected to {self._peer!r} alone")
        return None

    def _pause_if_full(self) -> None:
        if not self._paused and self._queue.data_size > self._high:
            self._paused = True
            self._call(getattr(self._protocol, "pause_writing", None))

    def _send_queue(self) -> None:
        """Sends what is queued, until the socket has no more room."""
        queue = self._queue
        # The protocol may send when it is told of an error. That joins the queue.
        self._sending = True
        try:
            while queue:
                self._send_waiting(queue.first())
        except (BlockingIOError, InterruptedError):
            if not self._blocked:
                self._blocked = True
                self._loop.add_writer(self._fd, self._write_ready)
            return
        finally:
            self._sending = False
        self._sent_at = monotonic()

    def _write_ready(self) -> None:
        self._send_queue()
        if not self._queue:
            self._blocked = False
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._loop.call_soon(self._lose, None)
        if self._paused and self._queue.data_size <= self._low:
            self._paused = False
            self._call(getattr(self._protocol, "resume_writing", None))

    def _send_waiting(self, waiting: Waiting) -> None:
        """Sends batch by batch, for one turn of this entry. Raises BlockingIOError.

        Drops what cannot be sent for another reason, and tells the protocol.
        """
        datagrams, addr = waiting.datagrams, waiting.addr
        at = 0
        refused_at = -1
        # A batch failed: up to here each datagram is sent alone, which shows whether batches are
        # the cause.
        alone_until, batch_error = 0, None
        try:
            while at < min(len(datagrams), max(MAX_SEGMENTS, alone_until)):
                sizes = list(map(len, datagrams[at : at + MAX_SEGMENTS]))
                end = at + (1 if at < alone_until else batch_length(sizes, self.segment_limit))
                try:
                    batch = datagrams[at] if end - at == 1 else b"".join(datagrams[at:end])
                    self._send_segments(batch, len(datagrams[at]), addr)
                except (BlockingIOError, InterruptedError):
                    raise
                except Exception as error:
                    code = error.errno if isinstance(error, OSError) else None
                    if end - at > 1 and code in _NOT_SEGMENTED:
                        alone_until, batch_error = end, code
                        continue
                    self._tell(error, addr, len(datagrams[at]))
                    if code == errno.ECONNREFUSED and at != refused_at:
                        # The error is about a datagram that was sent earlier. These have not left
                        # yet.
                        refused_at = at
                        continue
                else:
                    if batch_error is not None:
                        self._limit_segments(batch_error, len(datagrams[at]))
                batch_error = None
                at = end
        finally:
            self._queue.done(waiting, at)

    def _limit_segments(self, code: int, size: int) -> None:
        """A datagram could be sent alone but not in a batch, because the device or the path
        supports none.

        From now on datagrams of that size, or all of them, are sent one by one. If single datagrams
        fail too, the cause is the address, and other addresses keep their batches.
        """
        self.segment_limit = 0 if code == errno.EIO else size - 1

    # -- the write buffer ---------------------------------------------------------------------

    def get_write_buffer_size(self) -> int:
        return self._queue.size

    @property
    def data_size(self) -> int:
        """How many bytes of queued data belong to established associations."""
        return self._queue.data_size

    @property
    def dropped(self) -> int:
        """How many datagrams were dropped because too much was queued."""
        return self._queue.dropped

    def limit_output(self, size: int, network_of: Callable[[Any], Hashable]) -> None:
        """Sets how many bytes may be queued besides data. ``pause_writing`` limits data.

        ``network_of`` returns the network of an address; a network shares one turn.
        """
        self._queue.limit(size, network_of)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """In bytes, as of asyncio's transports."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be at least low ({low}), and that at least 0")
        self._high, self._low = high, low

    # -- the protocol -------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol: Any = protocol
        self._takes_batches = getattr(protocol, "batch_received", None)
        self._takes_failures = getattr(protocol, "send_failed", None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def _tell(self, error: Exception, addr: Any = None, size: int | None = None) -> None:
        """Reports an error of sending ``size`` bytes to ``addr``; None is the peer of a connected
        socket.

        ``size`` is None if the error is about an earlier datagram.
        """
        self._watch_again()
        if self._takes_failures is None:
            self._call(self._protocol.error_received, error)
        else:
            self._call(self._takes_failures, error, addr, size)

    def _watch_again(self) -> None:
        """Unlike asyncio, uvloop stops watching a socket after an error."""
        if not self._closing and not self._leaves_input:
            self._loop.remove_reader(self._fd)
            self._loop.add_reader(self._fd, self._read_ready)

    def _call(self, method: Any, *arguments: Any) -> None:
        """Calls the protocol. Its exceptions end only that call."""
        if method is None:
            return
        try:
            method(*arguments)
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "the datagram protocol raised",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    # -- the end ------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Sends the queue for at most ``FLUSH_TIME``, then calls ``connection_lost(None)``."""
        if self._closing:
            return
        self._end_iteration()
        self._closing = True
        self._loop.remove_reader(self._fd)
        if self._queue and not self._blocked:
            self._send_queue()
        if self._queue:
            self._flush_timer = self._loop.call_later(FLUSH_TIME, self.abort)
        else:
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Closes at once and drops the queue."""
        self._queue.clear()
        if not self._closing:
            self._closing = True
            self._loop.remove_reader(self._fd)
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._fd)
        self._loop.call_soon(self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open"
        return f"<BatchingTransport fd={self._fd} {state}>"


def _peername(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None
