"""Sends application data of an association under asyncio: splits, queues and coalesces it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiodtls.carrier import Carrier
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import BufferFull, HandshakeError, LeaseExhausted, MessageTooLarge
from aiodtls.net.eager_future import reject
from aiodtls.net.segments import MAX_BATCH, MAX_SEGMENTS, batch_length
from aiodtls.net.send_queue import Priority

NO_SIZE = -1


class Sending:
    """The sending half of a channel. ``carrier`` sends its datagrams."""

    __slots__ = (
        "_bursts",
        "_full",
        "_pending",
        "_senders",
        "_size",
        "carrier",
        "connection",
        "loop",
    )

    def __init__(self, carrier: Carrier, connection: DTLSConnection) -> None:
        self.carrier: Carrier = carrier
        self.connection: DTLSConnection = connection
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        # Those that wait for room. Lists here and in the channel: an empty deque has 760 bytes.
        self._senders: list[asyncio.Future[None]] = []
        # Messages that are coalesced until the end of the loop's iteration. They become one batch,
        # so they have equal size, and so many fill it. Without messages there is no size.
        self._pending: list[bytes] = []
        self._size, self._full = NO_SIZE, 0
        # Whether the last batch had several messages: the next message may begin another burst.
        self._bursts = False

    def check_open(self) -> None:
        """Raises what ended the association, or HandshakeError before the handshake."""
        connection = self.connection
        if connection.closed:
            assert connection.failure is not None
            raise connection.failure.with_traceback(None)
        if not connection.handshake_complete:
            raise HandshakeError("the handshake is not complete")

    def pieces(self, data: bytes, *, split: bool) -> Sequence[bytes]:
        """Splits ``data`` into one piece for each record. Without ``split`` raises
        :class:`MessageTooLarge`.
        """
        limit = self.connection.max_payload
        if len(data) <= limit:
            return (data,)
        if not split or not limit:
            raise MessageTooLarge(len(data), limit)
        return [data[at : at + limit] for at in range(0, len(data), limit)]

    async def wait_for_room(self, records: int = 1) -> bool:
        """Returns when it is this sender's turn, in order of arrival. Returns whether it had to
        wait.

        Raises :class:`LeaseExhausted` for more records than any lease has.
        """
        if self.has_room(records) and not self._senders:
            return False
        await self._wait_for_turn(behind=True)
        while not self.has_room(records):
            await self._wait_for_turn(behind=False)
        return True

    def has_room(self, records: int) -> bool:
        """Whether so many records may be sent now. Raises :class:`LeaseExhausted` for too many."""
        # Coalesced messages go first, and use record numbers too.
        self.flush()
        if not self.connection.closed and records > self.connection.max_batch:
            raise LeaseExhausted(f"{records} records are more than a lease has")
        return not self.carrier.is_paused and self.connection.room >= records

    async def _wait_for_turn(self, *, behind: bool) -> None:
        sender: asyncio.Future[None] = self.loop.create_future()
        self._senders.insert(len(self._senders) if behind else 0, sender)
        try:
            await sender
        except asyncio.CancelledError:
            if sender.done() and not sender.cancelled() and sender.exception() is None:
                self.room_again()
            raise
        finally:
            if sender in self._senders:
                self._senders.remove(sender)

    def room_again(self) -> None:
        """Wakes the sender that has waited longest."""
        while self._senders and not self.carrier.is_paused:
            sender = self._senders.pop(0)
            if not sender.done():
                sender.set_result(None)
                return

    def try_send(self, data: bytes) -> bool:
        """Sends ``data`` if it is one record and takes the fast path. HOT PATH.

        This is the only place that coalesces. A message that is sent alone leaves at once. A
        message that closely follows another, and the first after a burst, waits for the end of the
        loop's iteration, or until a system call is full. It is protected then.
        """
        size = len(data)
        if size == self._size:
            # The first message of a batch was admitted together with as many others as may join it.
            pending = self._pending
            pending.append(data)
            if len(pending) >= self._full:
                self.flush()
            return True
        if not size:
            # A mistake of the caller. ``checks.message`` raises the error.
            return False
        if self._pending:
            if size < self._size:
                # The last message of a batch may be shorter.
                self._pending.append(data)
                self.flush()
                return True
            self.flush()
        carrier, connection = self.carrier, self.connection
        if carrier.is_paused or self._senders:
            return False
        batching = carrier.batching
        if batching is None or not (self._bursts or batching.follows_closely(connection.peer)):
            datagram = connection.protect(data)
            if datagram is None:
                return False
            carrier.send_batch(datagram, len(datagram), connection.peer)
            return True
        if not connection.admits(size, MAX_SEGMENTS):
            return False
        batching.at_end_of_iteration(self.flush)
        self._size, self._full = size, min(MAX_SEGMENTS, MAX_BATCH // connection.record_size(size))
        self._pending.append(data)
        return True

    def flush(self) -> None:
        """Sends the coalesced messages."""
        if self._pending:
            pending = self._pending
            self.forget_pending()
            self._bursts = len(pending) > 1
            if not self.connection.closed:
                self._send_batch(pending)

    def _send_admitted(self, messages: Sequence[bytes]) -> None:
        """Sends messages of any sizes that the connection admits, in as few batches as possible."""
        overhead = self.connection.record_size(0)
        while len(messages) > 1:
            sizes = list(map(len, messages[:MAX_SEGMENTS]))
            length = batch_length(sizes, overhead=overhead)
            self._send_batch(messages[:length])
            messages = messages[length:]
        if messages:
            self._send_batch(messages)

    def _send_batch(self, messages: Sequence[bytes]) -> None:
        connection = self.connection
        size = connection.record_size(len(messages[0]))
        self.carrier.send_batch(connection.protect_batch(messages), size, connection.peer)

    def send_now(self, pieces: Sequence[bytes]) -> int:
        """Sends all pieces together. Raises what ended the association."""
        self.flush()
        self.check_open()
        connection = self.connection
        if connection.admits(max(map(len, pieces), default=0), len(pieces)):
            self._send_admitted(pieces)
        else:
            now = self.loop.time()
            for piece in pieces:
                connection.send(piece, now)
            self.carrier.send_datagrams(connection.datagrams_to_send(), Priority.data)
            self.carrier.drain()
        if self._senders:
            self.room_again()
        return len(pieces)

    def check_room(self, records: int) -> None:
        """Raises :class:`BufferFull` if ``send`` would wait."""
        self.flush()
        if self.carrier.is_paused or self._senders:
            raise BufferFull("the write buffer is full")
        if self.connection.room < records:
            raise LeaseExhausted("the lease is used up: export again")

    def forget_pending(self) -> None:
        """Drops the coalesced messages."""
        self._pending, self._size = [], NO_SIZE

    def send_no_more(self, error: Exception) -> None:
        """The association has ended: wakes the senders that wait, with the error."""
        senders, self._senders = self._senders, []
        for sender in senders:
            reject(sender, error)
