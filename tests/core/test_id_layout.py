"""The layout of connection ids that tell the process and the host."""

from __future__ import annotations

import dataclasses
import random

import pytest

from aiodtls import PSK, ConfigError, DTLSConfig, DTLSError
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.id_layout import MAX_NODE_LENGTH, IdLayout, IdOwner
from aiodtls.core.listener import Listener

SECRET, OTHER = b"a secret for all ids, of 32 bytes", b"another secret, which is as good."
BASE = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), groups=["x25519"])


def steady(seed: int = 1):
    return random.Random(seed).randbytes


def layout(node: bytes = b"a7", slot: int = 2, slots: int = 5, *secrets: bytes) -> IdLayout:
    return IdLayout(node, slot, slots, *(secrets or (SECRET,)))


def completed(listener: Listener, config: DTLSConfig, addr: str = "client") -> DTLSConnection:
    """The client of a completed handshake."""
    client = DTLSConnection.client(config, "server", 0.0, server_hostname="localhost")
    for step in range(20):
        for data, _ in client.datagrams_to_send():
            listener.receive_datagram(data, addr, step / 10)
        outputs = [c.datagrams_to_send() for c in listener.ready()]
        for data, _ in [*listener.datagrams_to_send(), *(d for out in outputs for d in out)]:
            client.receive_datagram(data, "server", step / 10)
    assert client.handshake_complete and client.confirmed
    return client


@pytest.mark.parametrize("node", [b"", b"a", bytes(2), bytes(range(MAX_NODE_LENGTH))])
@pytest.mark.parametrize(("slot", "slots"), [(0, 1), (0, 2), (4, 5), (127, 128)])
def test_an_id_tells_its_node_and_slot(node, slot, slots):
    draw = steady()
    made = layout(node, slot, slots)
    reader = layout(node, 0, slots)
    for length in (made.length, made.length - 4, made.length + 30):
        cid = made.new(length, draw)
        assert len(cid) == length
        assert reader.owner_of(cid) == IdOwner(node, slot)
        assert cid[IdLayout.steering_offset] % slots == slot


def test_every_byte_of_an_id_varies():
    draw = steady()
    made = [layout().new(12, draw) for _ in range(2000)]
    assert len(set(made)) == 2000
    for position in range(12):
        values = {cid[position] for cid in made}
        # A steering byte has one value in five; all others may be anything.
        assert len(values) == 51 if position == 0 else len(values) > 240


def test_ids_of_one_node_have_nothing_in_common_with_those_of_another():
    ours = {layout(b"a7").new(14, steady(seed))[1:3] for seed in range(300)}
    theirs = {layout(b"b8").new(14, steady(seed))[1:3] for seed in range(300)}
    assert len(ours) > 290 and len(theirs) > 290


def test_the_mac_covers_every_bit():
    cid = layout().new(14, steady())
    for bit in range(14 * 8):
        changed = (int.from_bytes(cid) ^ 1 << bit).to_bytes(14)
        assert layout().owner_of(changed) is None


def test_junk_belongs_to_nobody():
    draw = steady()
    found = [layout().owner_of(draw(length)) for length in range(256)]
    assert found == [None] * 256
    # An id of a layout with a shorter node has no room for one of ours.
    assert layout(bytes(8)).owner_of(layout(b"").new(8, draw)) is None


def test_an_old_secret_is_known_and_no_longer_used():
    draw = steady()
    old, new = layout(b"x", 0, 1, OTHER), layout(b"x", 0, 1, SECRET, OTHER)
    assert new.owner_of(old.new(12, draw)) == IdOwner(b"x", 0)
    assert old.owner_of(new.new(12, draw)) is None
    assert layout(b"x", 0, 1, SECRET).owner_of(new.new(12, draw)) == IdOwner(b"x", 0)


def test_without_a_secret_each_layout_has_its_own():
    cid = IdLayout().new(12, steady())
    assert IdLayout().owner_of(cid) is None


def test_a_layout_shows_no_secret():
    assert "secret" not in repr(layout()).replace("<1 secrets>", "")
    assert repr(SECRET)[2:-1] not in repr(layout())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((b"", 0, 0), "slots must be from 1 to 128, not 0"),
        ((b"", 0, 129), "slots must be from 1 to 128, not 129"),
        ((b"", 4, 4), "slot must be from 0 to 3 with slots=4, not 4"),
        ((b"", -1, 4), "slot must be from 0 to 3"),
        ((bytes(17), 0, 1), "node has 17 bytes, and may have 16"),
        ((b"", 0, 1, b"short"), "a connection id secret is 32 random bytes or more"),
        ((b"", 0, 1, SECRET, bytes(32)), "a connection id secret is 32 random bytes or more"),
        (("node",), "node must be bytes, not str"),
        ((b"", "0"), "slot must be int, not str"),
    ],
)
def test_what_cannot_be_a_layout_is_a_config_error(arguments, says):
    with pytest.raises(ConfigError, match=says):
        IdLayout(*arguments)


# -- in a listener ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("length", [None, 20])
def test_the_ids_of_a_listener_have_its_layout(version, length):
    config = dataclasses.replace(BASE, versions=[version], connection_id=length)
    listener = Listener(config, id_layout=layout())
    client = completed(listener, dataclasses.replace(config, connection_id=None))
    assert len(client.peer_cid) == (length or layout().length)
    assert layout().owner_of(client.peer_cid) == IdOwner(b"a7", 2)
    client.send(b"from elsewhere", 9.0)
    [server] = listener.connections
    for data, _ in client.datagrams_to_send():
        listener.receive_datagram(data, "elsewhere", 9.0)
    assert server.read() == b"from elsewhere"


def test_spare_ids_have_the_layout_too():
    config = dataclasses.replace(BASE, versions=["1.3"], spare_connection_ids=3)
    listener = Listener(config, id_layout=layout())
    completed(listener, config)
    [server] = listener.connections
    ids = list(server.own_ids)
    assert len(ids) == 4
    assert {layout().owner_of(cid) for cid in ids} == {IdOwner(b"a7", 2)}


@pytest.mark.parametrize("length", [1, 8, 9])
def test_ids_too_short_for_the_layout_are_a_config_error(length):
    config = dataclasses.replace(BASE, connection_id=length)
    with pytest.raises(ConfigError, match="an id of this layout has at least 10 bytes, and 14"):
        Listener(config, id_layout=layout())
    without = Listener(None, id_layout=layout())
    with pytest.raises(ConfigError, match="at least 10 bytes"):
        without.dial("server", 0.0, config=config, server_hostname="localhost")


def test_another_length_needs_another_socket():
    listener = Listener(BASE, id_layout=layout())
    listener.update_config(dataclasses.replace(BASE, connection_id=14), 0.0)
    for length, says in ((15, "here 14 bytes"), (8, "at least 10 bytes")):
        with pytest.raises(ConfigError, match=says):
            listener.update_config(dataclasses.replace(BASE, connection_id=length), 0.0)


def test_an_association_goes_on_where_ids_have_the_same_layout():
    key = bytes(range(32))
    first = Listener(BASE, id_layout=layout(slot=2))
    client = completed(first, BASE)
    state = first.connections[0].export_state(key, 5.0)
    with pytest.raises(DTLSError, match="connection ids have 14 bytes, and this socket's 8"):
        Listener(BASE).adopt(state, key, 5.0)
    second = Listener(BASE, id_layout=layout(slot=1))
    adopted = second.adopt(state, key, 5.0)
    client.send(b"to whoever is there", 6.0)
    for data, _ in client.datagrams_to_send():
        second.receive_datagram(data, "elsewhere", 6.0)
    assert adopted.read() == b"to whoever is there"


# -- datagrams that belong to nobody here ---------------------------------------------------------


def cid_record(cid: bytes) -> bytes:
    return bytes.fromhex("19fefd 0001 000000000005") + cid + (24).to_bytes(2) + bytes(24)


def test_what_may_belong_to_an_association_elsewhere_is_a_stray():
    strays: list[tuple[bytes, object, bytes]] = []

    def take(data: bytes, addr: object, cid: bytes) -> bool:
        strays.append((data, addr, cid))
        return True

    listener = Listener(BASE, id_layout=layout(), on_stray=take)
    unknown = layout(slot=1).new(14, steady())
    listener.receive_datagram(cid_record(unknown), "mover", 0.0)
    plain = bytes.fromhex("17fefd 0001 000000000005 0018") + bytes(24)
    listener.receive_datagram(plain, "elsewhere", 0.0)
    assert strays == [(cid_record(unknown), "mover", unknown), (plain, "elsewhere", b"")]
    assert listener.statistics.datagrams_received == 0


def test_junk_ids_and_known_peers_are_no_strays():
    strays = []
    config = dataclasses.replace(BASE, versions=["1.2"])
    listener = Listener(config, id_layout=layout(), on_stray=lambda *each: strays.append(each))
    client = completed(listener, config)
    # Its two hellos came from an address that nobody had, and what followed did not.
    assert [cid for _, _, cid in strays] == [b"", b""]
    strays.clear()
    junk = cid_record(steady(9)(14))
    for addr in ("client", "stranger"):
        listener.receive_datagram(junk, addr, 3.0)
    client.send(b"known", 3.0)
    for data, _ in client.datagrams_to_send():
        listener.receive_datagram(data, "elsewhere", 3.0)
    assert not strays
