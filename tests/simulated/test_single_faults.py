"""Each datagram of each handshake dropped, doubled, delayed, truncated or spoilt, one at a time."""

from __future__ import annotations

import pytest

from tests.harness import CLIENT, SERVER, Fate, Link, Pair
from tests.simulated.variants import VARIANTS, configs, pair_options

FAULTS = {
    "dropped": lambda data: [],
    "doubled": lambda data: [(0.0, data), (0.0, data)],
    "tenfold": lambda data: [(0.01 * n, data) for n in range(10)],
    "late": lambda data: [(0.12, data)],
    "very late": lambda data: [(3.0, data)],
    "truncated": lambda data: [(0.0, data[: len(data) // 2])],
    "spoilt": lambda data: [(0.0, data[:-1] + bytes((data[-1] ^ 1,)))],
}


def faulty(variant: str, sender: str, numbers: set[int], fault: str) -> Pair:
    def strike(who: str, number: int, data: bytes) -> Fate | None:
        if who == sender and number in numbers:
            return FAULTS[fault](data)
        return None

    return Pair(*configs(variant), Link(filter=strike), **pair_options(variant))


def datagrams_sent(variant: str) -> dict[str, int]:
    pair = Pair(*configs(variant), **pair_options(variant))
    assert pair.run() and pair.connected
    return dict(pair.link.counts)


def check_agreement(pair: Pair) -> None:
    """Decided within time; connected, data flows and both are confirmed."""
    assert pair.run(limit=130), "undecided"
    assert pair.connected, (pair.client.failure, pair.has_server and pair.server.failure)
    if pair.client.version == "1.3":
        # Only an ACK confirms the client, and that too may have been lost.
        assert pair.run(lambda: pair.client.confirmed, limit=70)
        assert pair.run(lambda: pair.client.session is not None, limit=70), "no ticket came"
    # What is lost from here on is data, which nobody sends again.
    pair.link.filter = None
    pair.exchange()
    assert pair.client.confirmed and pair.server.confirmed


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "spoilt"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_datagram_once(variant, fault):
    for sender, count in datagrams_sent(variant).items():
        for number in range(count):
            check_agreement(faulty(variant, sender, {number}, fault))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_datagram_dropped_three_times(variant):
    for sender, count in datagrams_sent(variant).items():
        for number in range(count):
            check_agreement(faulty(variant, sender, {number, number + 1, number + 2}, "dropped"))


@pytest.mark.parametrize("variant", ["certificate", "mutual", "psk"])
def test_each_pair_of_datagrams_dropped(variant):
    counts = datagrams_sent(variant)
    for first in range(counts[CLIENT]):
        for second in range(counts[SERVER]):

            def strike(who, number, data, lost={CLIENT: first, SERVER: second}):  # noqa: B006
                return [] if number == lost[who] else None

            options = pair_options(variant)
            check_agreement(Pair(*configs(variant), Link(filter=strike), **options))


@pytest.mark.parametrize("variant", ["certificate", "psk"])
def test_a_spoilt_datagram_never_leaves_the_two_undecided(variant):
    for sender, count in datagrams_sent(variant).items():
        for number in range(count):
            pair = faulty(variant, sender, {number}, "spoilt")
            assert pair.run(limit=130)
            assert pair.connected or pair.failed


def test_no_timer_runs_when_all_is_acknowledged():
    pair = Pair(*configs("certificate"))
    pair.run()
    pair.exchange()
    assert pair.client.next_timeout() is None
    assert pair.server.next_timeout() is None


def test_fewest_datagrams_without_faults():
    pair = Pair(*configs("certificate"))
    pair.run()
    assert pair.link.counts == {CLIENT: 3, SERVER: 3}
    assert pair.elapsed == pytest.approx(0.3)
