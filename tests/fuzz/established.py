"""On a living association no stranger changes anything: no answer, no timer, no window, no byte."""

from __future__ import annotations

from aiodtls.core.record.epochs import MIN_BATCH
from aiodtls.core.wire.records import FIXED_BITS, FIXED_MASK
from tests.fuzz.courses import Talk, course, drain
from tests.fuzz.grammar import View, datagram
from tests.fuzz.long_lived import Key, Subject, Target
from tests.fuzz.plan import Plan
from tests.fuzz.snapshot import Snapshot
from tests.harness import CLIENT, SERVER

# Few, for what the inputs before have left is still there.
MAX_DATAGRAMS = 4
# After so many inputs all of its state is compared, and data flows; and it is made anew.
COMPARE_EVERY = 16
DATA_EVERY = 64
LIFE = 20_000
LEASE = 8192
# Seconds that may pass between two datagrams.
A_WHILE = 50.0
# Where a record of DTLS 1.2 has its number.
NUMBER_AT, NUMBER_END = 3, 11
# How many of the real datagrams a stranger remembers: the handshake's, and the newest of data.
REMEMBERED = 24


class Living(Subject):
    """A complete association, and one side of it that strangers write to."""

    __slots__ = ("inputs", "is_leased", "side", "snapshot", "talk", "target", "variant", "view")

    def __init__(self, variant: str, side: str, *, is_leased: bool) -> None:
        super().__init__()
        self.variant, self.side, self.is_leased = variant, side, is_leased
        self._begin()

    def _begin(self) -> None:
        self.inputs = 0
        self.talk = talk = Talk(self.variant)
        talk.run()
        talk.check()
        self.target = talk.side(self.side)
        for connection, _ in talk.sides():
            assert connection.handshake_complete and not connection.closed
            drain(connection)
        if self.is_leased:
            state = self.target.export_state(bytes(32), talk.now, lease=LEASE)
            self.target.export_stored(state, talk.now)
        self.view = View(
            messages=course(self.variant, self.side).messages,
            cid=next(iter(self.target.own_ids), b""),
            message_seq=self.target._driver.next_receive_seq,
        )
        self.let_data_flow()

    def renew(self) -> None:
        super().renew()
        self._begin()

    def let_data_flow(self) -> None:
        """Both ways, and nothing else than that; what strangers have seen goes on."""
        talk, target = self.talk, self.target
        peer = talk.peer_of(target)
        peer.send(b"still here", talk.now)
        target.send(b"here too", talk.now)
        talk.run()
        assert target.read() == b"still here" and target.read() is None
        assert peer.read() == b"here too" and peer.read() is None
        for received in talk.received.values():
            del received[REMEMBERED // 2 : -REMEMBERED // 2]
        self.view.datagrams = [*talk.received[self.side], *talk.received[_other(self.side)]]
        for connection in (target, peer):
            drain(connection)
        self.snapshot = Snapshot(target)


def _other(side: str) -> str:
    return SERVER if side == CLIENT else CLIENT


def as_batch(data: bytes, count: int) -> bytes:
    """So many like it, whose numbers count up where they stand in the clear."""
    head, number, rest = data[:NUMBER_AT], data[NUMBER_AT:NUMBER_END], data[NUMBER_END:]
    if data[0] & FIXED_MASK == FIXED_BITS or len(data) < NUMBER_END:
        return data * count
    first = int.from_bytes(number, "big")
    numbers = [(first + at) % (1 << 64) for at in range(count)]
    return b"".join([head + number.to_bytes(8, "big") + rest for number in numbers])


class Established(Target[Living]):
    """A stranger's datagrams, from the peer's address and from elsewhere, with a lease too."""

    def choose(self, plan: Plan) -> Key:
        variant = plan.variant()
        side = (CLIENT, SERVER)[plan.byte() & 1]
        self._elsewhere = bool(plan.byte() & 1)
        return variant, side, bool(plan.byte() & 1)

    def make(self, key: Key) -> Living:
        variant, side, is_leased = key
        return Living(variant, side, is_leased=is_leased)

    def meet(self, subject: Living, plan: Plan) -> None:
        target, talk = subject.target, subject.talk
        due = target.next_timeout()
        own = target.peer
        elsewhere = self._elsewhere
        for _ in range(MAX_DATAGRAMS):
            if plan.is_over:
                break
            address = "elsewhere" if elsewhere else own
            data = datagram(plan, subject.view)
            target.receive_datagram(data, address, talk.now)
            then = plan.byte()
            if then & 8 and data:
                messages: list[bytes] = []
                taken = target.receive_batch(
                    as_batch(data, MIN_BATCH + (then >> 4)), len(data), messages, talk.now
                )
                assert not taken and not messages, "a stranger's batch was taken"
            elsewhere ^= bool(then & 2)
            if then & 4:
                talk.now += A_WHILE
                target.handle_timeout(talk.now)
        assert not target._outbox._waiting, "a stranger was answered"
        assert not target.closed and not target._events and not target._inbox.unread
        assert target.next_timeout() == due and target.peer == own
        subject.inputs += 1
        if not subject.inputs % COMPARE_EVERY:
            changed = subject.snapshot.differences()
            assert not changed, f"strangers have changed {changed}"
        if not subject.inputs % DATA_EVERY:
            subject.let_data_flow()
        subject.is_spent = subject.inputs >= LIFE
