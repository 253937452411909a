"""When what is resent, and under which keys: F23."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.events import FlightSent
from aiodtls.core.reliability.flight import SIZE_LADDER
from aiodtls.core.wire.records import FIXED_BITS, FIXED_MASK, split_datagram
from tests.faults.forging import connected
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs, pair_options

# RFC 6347 section 4.2.4.1, RFC 9147 section 5.8.2: doubled each time, up to the maximum.
SCHEDULE = [1, 2, 4, 8, 16, 32, 64, 64, 64, 64, 64, 64]


def without_end(variant: str, link: Link) -> Pair:
    """Both sides wait as long as their resends last."""
    changes = {"max_retransmits": 12, "max_burst": 1000}
    client, server = (dataclasses.replace(config, **changes) for config in configs(variant))
    client = dataclasses.replace(client, handshake_timeout=None)
    server = dataclasses.replace(server, handshake_timeout=10_000.0)
    return Pair(client, server, link, **pair_options(variant))


class BlackHole:
    """Lets through what goes before ``side``'s flight number ``first``, and notes the rest."""

    def __init__(self, side: str, first: int) -> None:
        self.side = side
        self.first = first
        self.times: list[float] = []
        self.last = b""
        self.pair: Pair | None = None

    def __call__(self, who: str, number: int, data: bytes):
        if who != self.side or number < self.first:
            return None if not self.times else []
        now = self.pair.now if self.pair is not None else 1000.0
        self.last = data
        if not self.times or self.times[-1] != now:
            self.times.append(now)
        return []


def epochs(data: bytes) -> list[int]:
    found = []
    for content_type, number, _ in split_datagram(data)[0]:
        is_unified = content_type & FIXED_MASK == FIXED_BITS
        found.append(content_type & 3 if is_unified else number >> 48)
    return found


# Whose flight, and how many datagrams that side has sent before it.
FLIGHTS = [
    ("psk", CLIENT, 0),
    ("psk", CLIENT, 1),
    ("psk", SERVER, 1),
    ("psk", CLIENT, 2),
    ("psk13", CLIENT, 0),
    ("psk13", CLIENT, 1),
    ("psk13", SERVER, 1),
    ("psk13", CLIENT, 2),
    ("certificate", SERVER, 1),
    ("certificate", CLIENT, 2),
    ("no_cookie", SERVER, 0),
    ("no_cookie13", SERVER, 0),
]


@pytest.mark.parametrize("variant, side, first", FLIGHTS)
def test_f23_the_exact_schedule_of_each_flight(variant, side, first):
    hole = BlackHole(side, first)
    pair = without_end(variant, Link(filter=hole))
    hole.pair = pair
    assert pair.run(lambda: bool(hole.times), limit=30)
    sender = pair.client if side == CLIENT else pair.server
    assert pair.run(lambda: sender.closed, limit=2000)
    gaps = [later - earlier for earlier, later in zip(hole.times, hole.times[1:], strict=False)]
    if len(gaps) > len(SCHEDULE):
        # Keys were there, so that the peer may think itself done: it is told of the end.
        assert gaps.pop() == 64 and epochs(hole.last)[-1] > 0
    assert gaps == pytest.approx(SCHEDULE)
    assert sender.failure is not None and sender.next_timeout() is None


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_f23_forged_datagrams_move_no_timer(variant):
    hole = BlackHole(CLIENT, 0)
    pair = without_end(variant, Link(filter=hole))
    hole.pair = pair
    while len(hole.times) < 5:
        for junk in (b"", b"\x16", bytes(40), b"\x16\xfe\xfd" + bytes(8) + b"\0\4junk"):
            pair.client.receive_datagram(junk, SERVER, pair.now)
        due = pair.client.next_timeout()
        pair.now += 0.01
        assert pair.client.next_timeout() == due
        pair.step()
    assert [at - pair.start for at in hole.times] == pytest.approx([0, 1, 3, 7, 15])


@pytest.mark.parametrize("variant", ["certificate", "mutual", "psk", "certificate13", "psk13"])
def test_f23_a_resend_keeps_its_epochs_and_keys_whatever_keys_came_since(variant):
    """The server has keys for data when it repeats its first flight, the client its own last."""
    options = pair_options(variant)
    for side, flight in ((CLIENT, 2), (SERVER, 0)):
        honest = Pair(*configs(variant), **options)
        assert honest.run() and honest.connected
        wanted = [epochs(data) for data in honest.sent[side]]
        flights = [event for event in honest.events[side] if isinstance(event, FlightSent)]
        size = len(flights[flight].datagram_sizes)
        # The listener's answer to the first hello is no flight.
        first = sum(len(event.datagram_sizes) for event in flights[:flight]) or 1

        def strike(who, number, data, side=side, first=first, size=size):
            return [] if who == side and first <= number < first + size else None

        pair = Pair(*configs(variant), Link(filter=strike), **options)
        assert pair.run(limit=60) and pair.connected
        again = [epochs(data) for data in pair.sent[side][first + size : first + 2 * size]]
        assert again == wanted[first : first + size]
        assert pair.client.counters.records_forged == pair.server.counters.records_forged == 0
        pair.exchange()


def test_f23_a_resent_key_update_goes_under_the_keys_before_it():
    pair = connected("psk13")
    before = len(pair.sent[CLIENT])
    pair.link.filter = lambda who, number, data: [] if who == CLIENT else None
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(4)
    resent = pair.sent[CLIENT][before:]
    assert len(resent) == 3 and {tuple(epochs(data)) for data in resent} == {(3,)}
    pair.link.filter = None
    assert pair.run(lambda: pair.client.negotiated.traffic.write_epoch == 4, limit=30)
    assert pair.server.counters.records_forged == 0
    pair.exchange()
    assert epochs(pair.sent[CLIENT][-1]) == [0]


def test_f23_resends_go_out_in_smaller_datagrams_and_never_below_the_least():
    hole = BlackHole(SERVER, 1)
    pair = without_end("certificate13", Link(filter=hole))
    hole.pair = pair
    assert pair.run(lambda: len(hole.times) > 7, limit=2000)
    flights = [e for e in pair.events[SERVER] if isinstance(e, FlightSent)]
    sizes = [max(event.datagram_sizes) for event in flights]
    assert sizes and min(sizes) <= SIZE_LADDER[-1] < sizes[0]
