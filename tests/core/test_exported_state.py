"""The layout of exported states: small, versioned, exact; and the JSON of the release before."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from aiodtls.core import exported_state, sealed_state
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.sealed_state import association_of, unseal
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import VARIANTS, configs, pair_options

KEY = bytes(range(32))
VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "exported_states_json.json").read_text()
)
SAMPLES = VECTORS["states"]
# Which handshake a sample is of, where its name does not say so.
VARIANT_OF = {
    **dict.fromkeys(["unread", "lease13", "local", "key update waits", "new keys wait"], "psk13"),
    **dict.fromkeys(["spare ids", "ids wait"], "cid13"),
    "lease": "psk",
    "updated keys": "certificate13",
    "last flight": "certificate",
}
MOST_BYTES = 800


def connected(variant: str, **changes) -> Pair:
    client, server = (dataclasses.replace(config, **changes) for config in configs(variant))
    pair = Pair(client, server, **(pair_options(variant) | {"cookie": False}))
    assert pair.run() and pair.connected
    pair.idle(5)
    pair.exchange()
    return pair


def of_sample(name: str) -> Pair:
    """Both sides go on from the sample's states."""
    sample = SAMPLES[name]
    client, server = configs(VARIANT_OF.get(name, name))
    pair = Pair(client, server, cookie=False)
    pair.idle(0)
    pair._in_flight.clear()
    pair.now = sample["now"]
    sides = {
        side: DTLSConnection.adopt(
            client if side == CLIENT else server,
            bytes.fromhex(sample[side]["state"]),
            KEY,
            pair.now,
        )
        for side in (CLIENT, SERVER)
        if side in sample
    }
    pair.client = sides.get(CLIENT, pair.client)
    pair._server = sides[SERVER]
    pair.flush()
    return pair


@pytest.mark.parametrize("name", [name for name in SAMPLES if CLIENT in SAMPLES[name]])
def test_a_state_of_the_release_before_goes_on(name):
    pair = of_sample(name)
    for side, connection in ((CLIENT, pair.client), (SERVER, pair.server)):
        facts = dict(SAMPLES[name][side]["facts"])
        exporter = connection.export_keying_material("EXPERIMENTAL x", 20)
        assert exporter.hex() == facts.pop("exporter")
        assert len(connection.peer_certificate_chain) == facts.pop("peer_certificates")
        for fact, expected in facts.items():
            found = getattr(connection, fact)
            assert (found.hex() if isinstance(found, bytes) else found) == expected, fact
    if name == "unread":
        assert pair.data == {CLIENT: [b"first", b"second"], SERVER: [b"first", b"second"]}
    # An adopter of a lease drops data that the exporter may have taken, until the numbers are past.
    for number in range(70):
        for side in (CLIENT, SERVER):
            pair.send(side, b"%s %d" % (side.encode(), number))
    pair.idle(10)
    pair.exchange()
    assert not pair.client.closed and not pair.server.closed


def test_a_last_flight_of_the_release_before_is_sent_again():
    pair = of_sample("last flight")
    assert not pair.server.confirmed and pair.server._outgoing.flight
    state = unseal(bytes.fromhex(SAMPLES["last flight"]["server"]["state"]), KEY)
    again = unseal(pair.server.export_state(KEY, pair.now), KEY)
    assert again.last_flight == state.last_flight and state.last_flight.watched


def reduced(state: exported_state.ExportedState) -> exported_state.ExportedState:
    """Without the peer's chain, the session and unread data."""
    facts = dataclasses.replace(state.negotiated, peer_chain=(), session=None)
    return dataclasses.replace(state, negotiated=facts, unread=())


@pytest.mark.parametrize("lease", [None, 64])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_state_is_small_and_comes_back_as_it_was(variant, side, lease):
    pair = connected(variant)
    connection = pair.client if side == CLIENT else pair.server
    sealed = connection.export_state(
        KEY, pair.now, lease=lease, local=("::1", 4433, 0, 2), unread=[b"unread"]
    )
    state = unseal(sealed, KEY)
    assert exported_state.parse(exported_state.encode(state)) == state
    assert state.local == ("::1", 4433, 0, 2)
    small = sealed_state.seal(reduced(state), association_of(sealed), KEY, bytes)
    assert len(small) < MOST_BYTES


@pytest.mark.parametrize("name", SAMPLES)
def test_every_field_of_a_sample_survives_the_new_layout(name):
    for side in (CLIENT, SERVER):
        if side in SAMPLES[name]:
            state = unseal(bytes.fromhex(SAMPLES[name][side]["state"]), KEY)
            assert exported_state.parse(exported_state.encode(state)) == state
            if not state.post.waiting:
                assert len(exported_state.encode(reduced(state))) < MOST_BYTES - 60


def test_old_keys_and_waiting_messages_are_in_the_samples():
    """The samples cover what is seldom there."""
    states = [
        unseal(bytes.fromhex(sample[side]["state"]), KEY)
        for sample in SAMPLES.values()
        for side in (CLIENT, SERVER)
        if side in sample
    ]
    assert any(state.old_keys for state in states)
    assert any(state.post.waiting for state in states)
    assert any(state.post.ids.spares for state in states)
    assert any(state.last_flight for state in states)
    assert any(state.doubtful for state in states)


@pytest.mark.parametrize(
    "address",
    [None, "/run/socket", b"\0abstract", ("127.0.0.1", 4433), ("fe80::1", 1, 0, 3), ("é", -1), 7],
)
def test_addresses_of_every_family_come_back(address):
    pair = connected("psk13")
    state = unseal(pair.server.export_state(KEY, pair.now, local=address), KEY)
    assert state.local == address


def test_an_address_that_is_none_of_a_socket_is_refused_and_nothing_ends():
    pair = connected("psk13")
    with pytest.raises(ValueError, match="object"):
        pair.server.export_state(KEY, pair.now, local=object())
    pair.exchange()


def test_bytes_that_are_no_state_are_refused_whatever_they_are():
    pair = connected("certificate13")
    content = exported_state.encode(unseal(pair.server.export_state(KEY, pair.now), KEY))
    for end in range(len(content)):
        with pytest.raises(ValueError, match=r"state|layout"):
            exported_state.parse(content[:end])
    with pytest.raises(ValueError, match="state"):
        exported_state.parse(content + b"\0")
    with pytest.raises(ValueError, match="layout 9"):
        exported_state.parse(b"\x09" + content[1:])
