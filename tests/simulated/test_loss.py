"""Seeded loss, reordering, duplication and corruption; the figures are those of the protocol."""

from __future__ import annotations

import dataclasses

import pytest

from tests.harness import Link, Pair
from tests.simulated.sweep import handshakes
from tests.simulated.variants import VARIANTS, configs, pair_options


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mtu", [1500, 576, 256])
def test_a_bad_network_is_survived(variant, mtu):
    # A long hello in nine datagrams has two seconds to arrive whole at a listener without state.
    loss = 0.05 if (variant, mtu) == ("pq_hello13", 256) else 0.15
    for seed in range(8):
        link = Link(loss=loss, duplicate=0.15, reorder=0.2, mtu=mtu, seed=seed)
        both = (dataclasses.replace(config, pmtu=mtu) for config in configs(variant))
        pair = Pair(*both, link, **pair_options(variant))
        assert pair.run(limit=130), "undecided"
        assert pair.connected, pair.client.failure


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mtu", [1280, 576, 256])
def test_a_path_narrower_than_pmtu_is_found_by_smaller_resends(variant, mtu):
    pair = Pair(*configs(variant), Link(mtu=mtu - 48), **pair_options(variant))
    before = pair.client.max_datagram_size
    assert pair.run(limit=130) and pair.connected
    assert pair.client.max_datagram_size == before


@pytest.mark.parametrize("variant", ["certificate13", "mutual13", "retry13", "pq_hello13"])
def test_acks_of_what_is_small_enough_do_not_put_off_smaller_datagrams(variant):
    """The end of the server's flight gets through, its beginning is too big, and each ACK of the
    end has that sent again as big as it was, and the timer that would cut it run anew."""
    pair = Pair(*configs(variant), Link(mtu=576 - 48), **pair_options(variant))
    assert pair.run(limit=35) and pair.connected


@pytest.mark.parametrize("variant", ["certificate", "psk"])
def test_corruption_decides_for_both(variant):
    for seed in range(40):
        link = Link(corrupt=0.3, seed=seed)
        client, server = configs(variant)
        # A spoilt ticket of DTLS 1.2, in the clear after the server is done, would go unnoticed.
        server = dataclasses.replace(server, session_tickets=0)
        pair = Pair(client, server, link, **pair_options(variant))
        assert pair.run(limit=200), "undecided"


def test_loss_of_a_tenth():
    # A model of the protocol gives 99.99 %.
    done = handshakes(loss=0.1, runs=300, limit=63)
    assert len(done) >= 299


def test_loss_of_a_third():
    # A model of the protocol gives 96.9 %; three standard deviations below it at 300 runs.
    done = handshakes(loss=0.3, runs=300, limit=63)
    assert len(done) >= 281


def test_loss_of_a_third_with_a_capped_interval():
    done = handshakes(loss=0.3, runs=300, limit=120, retransmit_max=2)
    assert len(done) == 300


@pytest.mark.parametrize("variant", ["psk13", "certificate13"])
def test_loss_in_dtls13(variant):
    done = handshakes(loss=0.1, runs=150, limit=63, variant=variant)
    assert len(done) >= 149
    done = handshakes(loss=0.3, runs=150, limit=120, retransmit_max=2, variant=variant)
    assert len(done) == 150


def test_acknowledgements_make_dtls13_faster_at_a_third_of_loss():
    """Both with a cookie, and three datagrams from each side until both are connected."""
    new, old = (
        handshakes(loss=0.3, runs=300, limit=120, variant=variant) for variant in ("psk13", "psk")
    )
    assert min(len(new), len(old)) >= 290
    assert sum(new) / len(new) < 0.9 * sum(old) / len(old)


def test_a_blackhole_of_five_seconds_out_of_seven():
    link = Link()
    pair = Pair(*configs("certificate"), link)
    link.filter = lambda who, number, data: [] if pair.elapsed % 7 < 5 else None
    assert pair.run(limit=200), "undecided"
