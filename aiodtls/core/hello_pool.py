"""Collects the fragments of ClientHellos from addresses that have not been validated.

All unvalidated peers share one pool. An address has one hello in it; the pool is bounded in bytes,
and networks share it. Without it a listener that keeps no state could not read a hello of two
datagrams, as browsers send it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from aiodtls.core.limits import Limits
from aiodtls.core.reliability.reassembly import HandshakeMessage, Reassembly
from aiodtls.core.shares import Shares
from aiodtls.core.wire.fragments import Fragment

# The longest hello that is put together, and the memory that its pieces may take beside it.
MAX_HELLO_LENGTH = 1 << 16
PIECES_BYTES = 1 << 14
# The memory of a slot besides what the reassembly counts: the objects, the address, its places in
# the tables.
SLOT_OVERHEAD = 1200
# Since the last fragment. It is longer than the time between a client's first and second resend.
POOL_SECONDS = 4.0
# A ClientHello is message 0, or message 1 after a request for a cookie.
LAST_MESSAGE_SEQ = 1


class Slot:
    """The fragments of one hello. ``record_number`` is the highest that carried one of them.

    ``last`` is the body of the previous complete hello. A fragment that agrees with it may be a
    late copy.
    """

    __slots__ = ("expires", "last", "network", "reassembly", "record_number")

    reassembly: Reassembly
    record_number: int
    last: bytes | None

    def __init__(self, network: Hashable, limit: int, message_seq: int) -> None:
        self.network: Hashable = network
        self.expires: float = 0.0
        self.begin(limit, message_seq)

    def begin(self, limit: int, message_seq: int, last: bytes | None = None) -> None:
        self.reassembly = Reassembly(message_seq, limit)
        self.record_number = 0
        self.last = last

    def keep_until(self, expires: float) -> None:
        self.expires = expires

    def came_in(self, record_number: int) -> None:
        self.record_number = max(self.record_number, record_number)

    @property
    def cost(self) -> int:
        return SLOT_OVERHEAD + self.reassembly.buffered + len(self.last or b"")

    def is_contradicted(self, fragment: Fragment) -> bool:
        if self.last is None:
            return False
        end = fragment.offset + len(fragment.data)
        same = self.last[fragment.offset : end] == fragment.data
        return not same or fragment.length != len(self.last)


class HelloPool:
    """A slot for each address, the one without a fragment for longest first."""

    __slots__ = ("_bytes", "_networks", "_shares", "_slots")

    def __init__(self) -> None:
        self._slots: OrderedDict[Hashable, Slot] = OrderedDict()
        # The addresses of each network, those that give way first in front.
        self._networks: dict[Hashable, OrderedDict[Hashable, None]] = {}
        self._shares: Shares[Hashable] = Shares()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, address: Hashable) -> bool:
        return address in self._slots

    @property
    def held_bytes(self) -> int:
        """The memory of all slots, overhead included."""
        return self._bytes

    def add(
        self, fragment: Fragment, record_number: int, address: Hashable, now: float, limits: Limits
    ) -> tuple[HandshakeMessage, int] | bool:
        """The hello that this part made whole, and its highest record number.

        Else whether the part was of use.
        """
        seq, size = fragment.message_seq, len(fragment.data)
        if not size or seq > LAST_MESSAGE_SEQ or fragment.length > MAX_HELLO_LENGTH:
            return False
        self._drop_expired(now)
        limit = min(MAX_HELLO_LENGTH + PIECES_BYTES, limits.hello_pool_bytes - SLOT_OVERHEAD)
        slot = self._slots.get(address)
        if slot is None:
            slot = self._open(address, Slot(limits.network_of(address), limit, seq))
        before = slot.cost
        found = self._add(slot, fragment, record_number, limit)
        if found:
            slot.keep_until(now + POOL_SECONDS)
            self._slots.move_to_end(address)
            # A complete hello gives way first.
            self._networks[slot.network].move_to_end(address, last=found is True)
        self._count(slot.network, slot.cost - before)
        while self._bytes > limits.hello_pool_bytes:
            self._close(next(iter(self._networks[self._shares.largest()])))
        return found

    @staticmethod
    def _add(
        slot: Slot, fragment: Fragment, record_number: int, limit: int
    ) -> tuple[HandshakeMessage, int] | bool:
        seq = fragment.message_seq
        newest = slot.reassembly.next_seq
        if seq < newest and record_number < slot.record_number:
            # A late copy: the client has gone on to its second hello.
            return False
        if seq != newest or slot.is_contradicted(fragment):
            # It is another hello. Late fragments of the previous one must not mix with it.
            slot.begin(limit, seq)
        slot.came_in(record_number)
        if not slot.reassembly.add(fragment, 0):
            return False
        message = slot.reassembly.next_message(0)
        if message is None:
            return True
        found = message, slot.record_number
        slot.begin(limit, seq, message.body)
        return found

    def _open(self, address: Hashable, slot: Slot) -> Slot:
        self._slots[address] = slot
        self._networks.setdefault(slot.network, OrderedDict())[address] = None
        self._count(slot.network, slot.cost)
        return slot

    def _close(self, address: Hashable) -> None:
        slot = self._slots.pop(address)
        addresses = self._networks[slot.network]
        del addresses[address]
        if not addresses:
            del self._networks[slot.network]
        self._count(slot.network, -slot.cost)

    def _count(self, network: Hashable, by: int) -> None:
        if by:
            self._bytes += by
            self._shares.change(network, by)

    def _drop_expired(self, now: float) -> None:
        while self._slots:
            oldest = next(iter(self._slots))
            if self._slots[oldest].expires > now:
                return
            self._close(oldest)
