"""The short way of application data, once an association is established: HOT PATH.

It takes what is plainly data and stands in nobody's way; everything else goes the long way, through
``receive_datagram`` and ``send``, and comes to the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag

from aiodtls.core.association import APPLICATION_DATA, Association


class ShortWay(Association):
    """What owners that move many messages call, and need not drain anything for."""

    __slots__ = ()

    def receive_run(self, run: bytes, size: int, messages: list[bytes], now: float) -> int:
        """How many of the first datagrams were data of the association and nothing else.

        HOT PATH. ``run`` is datagrams of ``size`` bytes one behind another, of which the last may
        be shorter. Their data is put into ``messages``, an empty list, and is nowhere else;
        nothing is to be drained for them. The others are for ``receive_datagram``, which does
        the same for one.
        """
        layer = self._layer
        reader = layer.data_reader
        if (
            reader is None
            or not self.confirmed
            or self.closed
            or self._held
            or self._leases
            or not run
        ):
            return 0
        post = self._post
        if post.watches_records and post.records_come(now):
            return 0
        counters = self.counters
        if size == len(run):
            try:
                message = reader.open_one(run, layer.max_plaintext)
            except InvalidTag:
                return 0
            if message:
                messages.append(message)
                counters.datagrams_received += 1
                counters.records_received += 1
                counters.bytes_received += len(message)
                return 1
            if message is None:
                return 0
            counters.datagrams_received += 1
            return 1
        taken = reader.open_run(run, size, layer.max_plaintext, messages)
        if taken:
            # None is padded, so they are as their datagrams: of one size, but for the last.
            counters.bytes_received += (taken - 1) * len(messages[0]) + len(messages[-1])
            if not messages[0] or not messages[-1]:
                messages[:] = filter(None, messages)
            counters.datagrams_received += taken
            counters.records_received += len(messages)
        return taken

    def protect(self, data: bytes) -> bytes | None:
        """The datagram of one record of application data, to be sent to ``peer`` at once.

        HOT PATH, for owners that send without draining. None where there is more to it: then
        nothing is done, and ``send`` does or tells what.
        """
        writer = self._layer.writer
        size = len(data)
        if (
            size > self.max_payload
            or writer.next_number + 1 >= writer.alarm
            or self.closed
            or not self.handshake_complete
        ):
            return None
        counters = self.counters
        counters.datagrams_sent += 1
        counters.records_sent += 1
        counters.bytes_sent += size
        return writer.protect(APPLICATION_DATA, data)

    def admits(self, size: int, waiting: int) -> bool:
        """Whether ``protect_run`` would take so many bytes behind ``waiting`` other messages.

        HOT PATH. Where it would not, ``send`` does or tells what there is to be done.
        """
        return (
            size <= self.max_payload
            and self._layer.writer.next_number + waiting + 1 < self._layer.writer.alarm
            and self.handshake_complete
            and not self.closed
        )

    def protect_run(self, messages: Sequence[bytes]) -> bytes:
        """The records of messages that it ``admits``, one behind another, to be sent at once.

        HOT PATH. The messages are of one size, but for the last, which may be shorter. Each record
        is to be a datagram, of ``record_size`` bytes.
        """
        counters, count = self.counters, len(messages)
        counters.datagrams_sent += count
        counters.records_sent += count
        counters.bytes_sent += (count - 1) * len(messages[0]) + len(messages[-1])
        return self._layer.writer.protect_run(messages)

    def record_size(self, length: int) -> int:
        """Bytes of a record with so many bytes of application data."""
        return self._layer.writer.record_size(length)
