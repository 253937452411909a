"""Collects the fragments of ClientHellos from addresses that have not been validated.

All unvalidated peers share one pool, whose slots, bytes per slot and time are bounded. Without it a
listener that keeps no state could not read a hello of two datagrams, as browsers send it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from aiodtls.core.reliability.reassembly import HandshakeMessage, Reassembly
from aiodtls.core.wire.fragments import Fragment

POOL_SLOTS = 256
POOL_SLOT_BYTES = 4096
# Since the last fragment. It is longer than the time between a client's first and second resend.
POOL_SECONDS = 4.0


@dataclass(slots=True)
class Slot:
    """The fragments of one hello. ``record_number`` is the highest that carried one of them.

    ``last`` is the body of the previous complete hello. A fragment that agrees with it may be a
    late copy.
    """

    reassembly: Reassembly
    expires: float
    record_number: int = 0
    last: bytes | None = None

    def begin(self, message_seq: int, last: bytes | None = None) -> None:
        self.reassembly = Reassembly(message_seq, POOL_SLOT_BYTES)
        self.record_number = 0
        self.last = last

    def part_came(self, record_number: int, now: float) -> None:
        self.record_number = max(self.record_number, record_number)
        self.expires = now + POOL_SECONDS

    def is_contradicted(self, fragment: Fragment) -> bool:
        if self.last is None:
            return False
        end = fragment.offset + len(fragment.data)
        same = self.last[fragment.offset : end] == fragment.data
        return not same or fragment.length != len(self.last)


class HelloPool:
    """Slots by address and message_seq, the oldest first."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: OrderedDict[tuple[Hashable, int], Slot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def slots(self) -> Iterable[Slot]:
        return self._slots.values()

    def add(
        self, fragment: Fragment, record_number: int, address: Hashable, now: float
    ) -> tuple[HandshakeMessage, int] | bool:
        """The hello that this part made whole, and its highest record number.

        Else whether the part was of use.
        """
        key = (address, fragment.message_seq)
        slot = self._slots.get(key)
        if slot is None or slot.expires <= now:
            self._slots.pop(key, None)
            self._make_room(now)
            reassembly = Reassembly(fragment.message_seq, POOL_SLOT_BYTES)
            slot = self._slots[key] = Slot(reassembly, now + POOL_SECONDS)
        if slot.is_contradicted(fragment):
            # It is another hello. Late fragments of the previous one must not mix with it.
            slot.begin(fragment.message_seq)
        slot.part_came(record_number, now)
        if not slot.reassembly.add(fragment, 0):
            return False
        message = slot.reassembly.next_message(0)
        if message is None:
            return True
        found = message, slot.record_number
        slot.begin(fragment.message_seq, message.body)
        # Its hello is complete, so it is dropped first when there is no room.
        self._slots.move_to_end(key, last=False)
        return found

    def _make_room(self, now: float) -> None:
        """Drops slots from the front, where the expired and the least useful ones are."""
        while self._slots:
            oldest = next(iter(self._slots))
            if self._slots[oldest].expires > now and len(self._slots) < POOL_SLOTS:
                return
            del self._slots[oldest]
