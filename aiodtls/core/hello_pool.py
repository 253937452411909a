"""The parts of fragmented ClientHellos, from addresses that have proved nothing.

One bounded pool for all strangers: slots, bytes in each, and a moment to live. Without it a hello
of two datagrams, as browsers send it, could never be met by a listener that keeps no state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from aiodtls.core.reliability.reassembly import HandshakeMessage, Reassembly
from aiodtls.core.wire.fragments import Fragment

POOL_SLOTS = 256
POOL_SLOT_BYTES = 4096
# Since the last part: more than passes between a client's first resend and its second.
POOL_SECONDS = 4.0


@dataclass(slots=True)
class Slot:
    """``record_number`` is the highest that carried a part of the hello.

    ``last`` is the body of the one that was whole just now: what agrees with it may be a late copy.
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
    """Slots by address and message_seq, in the order of age."""

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
            # Another hello: late copies of parts of the last one would make a mixture of both.
            slot.begin(fragment.message_seq)
        slot.part_came(record_number, now)
        if not slot.reassembly.add(fragment, 0):
            return False
        message = slot.reassembly.next_message(0)
        if message is None:
            return True
        found = message, slot.record_number
        slot.begin(fragment.message_seq, message.body)
        # It has done its service, and goes first where there is no room.
        self._slots.move_to_end(key, last=False)
        return found

    def _make_room(self, now: float) -> None:
        """What expired, or must go, is at the front."""
        while self._slots:
            oldest = next(iter(self._slots))
            if self._slots[oldest].expires > now and len(self._slots) < POOL_SLOTS:
                return
            del self._slots[oldest]
