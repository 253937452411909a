"""A client that lost its state dials again from the same port: it gets in, whatever was under way.

Until its new handshake has proved who it is, the old association lives on (RFC 6347 section
4.2.8, RFC 9147 section 5.11).
"""

from __future__ import annotations

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import Closed
from aiodtls.core.listener import PeerConnected
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs

# Both versions, PSK and certificates, hellos of several datagrams, with ids and without.
REBOOTED = ["certificate", "psk", "ecdhe_psk", "small_mtu", "mutual", "cid"]
REBOOTED += ["certificate13", "psk13", "pq_hello13", "small_mtu13", "mutual13", "cid13"]
SHORT_HELLOS = [name for name in REBOOTED if name not in ("pq_hello13", "small_mtu13")]


def reboot(pair: Pair, seconds: float = 0.5) -> None:
    """So long there is no client, longer than datagrams travel, and then it is another."""
    config = pair.client.config
    pair.client.abort()
    pair.idle(seconds)
    pair.client = DTLSConnection.client(config, SERVER, pair.now, server_hostname="localhost")
    pair.flush()


def assert_the_new_one_is_in(pair: Pair) -> None:
    assert pair.run(lambda: pair.client.closed or pair.client.handshake_complete, limit=300)
    assert pair.client.handshake_complete, pair.client.failure
    assert pair.run(lambda: any(c.client_random == pair.client.client_random for c in live(pair)))
    pair.idle(10)
    [server] = live(pair)
    assert server.client_random == pair.client.client_random
    pair.accepted.append(server)
    pair.link.loss = pair.link.reorder = pair.link.duplicate = 0.0
    pair.exchange()


def live(pair: Pair) -> list[DTLSConnection]:
    return [c for c in pair.listener.connections if c.handshake_complete and not c.closed]


@pytest.mark.parametrize("variant", REBOOTED)
def test_at_every_moment_of_the_first_handshake(variant):
    moments = 0
    while True:
        pair = Pair(*configs(variant))
        for _ in range(moments):
            pair.step()
        done = pair.connected
        reboot(pair)
        assert_the_new_one_is_in(pair)
        if done:
            return
        moments += 1


@pytest.mark.parametrize("variant", REBOOTED)
@pytest.mark.parametrize("seed", range(8))
def test_on_a_bad_path(variant, seed):
    link = Link(loss=0.1, reorder=0.3, duplicate=0.1, seed=seed)
    pair = Pair(*configs(variant), link)
    assert pair.run() and pair.connected
    [old] = live(pair)
    pair.idle(link.rng.random())
    reboot(pair)
    assert_the_new_one_is_in(pair)
    assert old.failure.reason == "replaced"


@pytest.mark.parametrize("variant", SHORT_HELLOS)
@pytest.mark.parametrize("seed", range(8))
def test_on_a_bad_path_with_a_handshake_half_done(variant, seed):
    link = Link(loss=0.1, reorder=0.3, duplicate=0.1, seed=seed)
    pair = Pair(*configs(variant), link)
    for _ in range(link.rng.randrange(20)):
        pair.step()
    # What a server resends of an unfinished handshake, at 15 and 31 s here, looks in the clear like
    # the answer to a hello that is just on its way.
    reboot(pair, 16)
    assert_the_new_one_is_in(pair)


@pytest.mark.parametrize("variant", REBOOTED)
def test_several_times_in_a_row(variant):
    pair = Pair(*configs(variant), Link(reorder=0.3, seed=3))
    for steps in (3, 5, 4, 7, 6):
        for _ in range(steps):
            pair.step()
        reboot(pair, 16)
    assert_the_new_one_is_in(pair)
    assert len(pair.listener.connections) == 1


@pytest.mark.parametrize("updates", range(5))
def test_after_any_number_of_key_updates(updates):
    """The two bits of an epoch in a record are then those of an earlier one."""
    pair = Pair(*configs("certificate13"))
    pair.run()
    for _ in range(updates):
        pair.idle(1)
        pair.client.update_keys(pair.now)
        pair.flush()
    pair.idle(1)
    [old] = live(pair)
    reboot(pair)
    assert_the_new_one_is_in(pair)
    assert old.failure.reason == "replaced"


@pytest.mark.parametrize("variant", REBOOTED)
def test_the_old_one_lives_until_the_new_one_is_verified(variant):
    pair = Pair(*configs(variant))
    assert pair.run() and pair.connected
    pair.idle(3)
    [old] = live(pair)
    old_client = pair.client
    pair.client = DTLSConnection.client(
        old_client.config, SERVER, pair.now, server_hostname="localhost"
    )
    pair.flush()
    while not old.closed:
        # What the old client sent before its end still counts, and nothing of its own is lost.
        old_client.send(b"late", pair.now)
        [(data, _)] = old_client.datagrams_to_send()
        pair.listener.receive_datagram(data, CLIENT, pair.now)
        assert old.read() == b"late"
        assert pair.step()
    assert old.failure.reason == "replaced"
    assert pair.client.handshake_complete or pair.run(lambda: pair.client.handshake_complete)
    [connected] = [e for e in pair.events[SERVER] if isinstance(e, PeerConnected)][1:]
    assert connected.replaced is old and connected.connection is pair.server
    assert Closed(old.failure) in pair.events[SERVER]
