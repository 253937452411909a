"""Data of an established association takes the fast path, with the same result as the slow path."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from aiodtls import PSK, DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import EndpointClosed
from aiodtls.core.registry import ContentType
from aiodtls.net.segments import batch_length
from tests.harness import CLIENT, SERVER, Pair

# Of the harness's clock, not long after the handshake.
NOW = 1010.0
STATE_KEY = bytes(range(32))
COUNTED = (
    *("datagrams_received", "records_received", "bytes_received"),
    *("records_replayed", "records_forged", "records_discarded"),
)
SUITES = [
    "TLS_PSK_WITH_AES_128_GCM_SHA256",
    "TLS_PSK_WITH_AES_128_CCM_8",
    "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
]


def connected(suite: str, *, connection_id: int | None = None) -> Pair:
    config = DTLSConfig(psk=PSK("a", bytes(16)), cipher_suites=[suite], connection_id=connection_id)
    pair = Pair(config, config)
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    pair.exchange()
    pair.idle(1)
    assert pair.client.confirmed and pair.server.confirmed
    return pair


def traffic(client: DTLSConnection, seed: int) -> list[bytes]:
    """What a bad network makes of 120 records: lost, reordered, doubled, forged, joined, cut.

    Of an odd ``seed`` they are of one size, so that there are long batches.
    """
    rng = random.Random(seed)
    sizes = [20] if seed % 2 else [0, 1, 20, 600]
    writer = client._layer.writer
    datagrams = []
    for number in range(120):
        data = number.to_bytes(2, "big") * rng.choice(sizes)
        content_type = ContentType.application_data
        if rng.random() < 0.05:
            # A warning that means nothing.
            content_type, data = ContentType.alert, bytes((1, 90))
        datagrams.append(writer.protect(content_type, data))
    for number, datagram in enumerate(datagrams):
        fate = rng.random()
        if fate < 0.05:
            at = rng.randrange(len(datagram))
            forged = bytes((datagram[at] ^ 1 << rng.randrange(8),))
            datagrams[number] = datagram[:at] + forged + datagram[at + 1 :]
        elif fate < 0.08:
            datagrams[number] = datagram[: rng.randrange(len(datagram))]
        elif fate < 0.12 and number:
            datagrams[number] = datagrams[number - 1] + datagram
    for at in rng.sample(range(len(datagrams)), k=4):
        datagrams[at] = b""
    datagrams = list(filter(None, datagrams))
    late = [datagrams.pop(rng.randrange(len(datagrams))) for _ in range(10)]
    for datagram in (*late, *rng.choices(datagrams, k=15)):
        datagrams.insert(rng.randrange(len(datagrams)), datagram)
    return datagrams


def take(connection: DTLSConnection, datagrams: list[bytes], now: float) -> list[bytes]:
    """As an owner with batches does it."""
    taken: list[bytes] = []
    while datagrams:
        messages: list[bytes] = []
        count = batch_length([len(datagram) for datagram in datagrams])
        batch = b"".join(datagrams[:count])
        done = connection.receive_batch(batch, len(datagrams[0]), messages, now)
        taken += messages
        if done < count:
            connection.receive_datagram(datagrams[done], CLIENT, now)
            while (data := connection.read()) is not None:
                taken.append(data)
            done += 1
        datagrams = datagrams[done:]
    return taken


def twins(connection: DTLSConnection, now: float) -> tuple[DTLSConnection, DTLSConnection]:
    """Two that go on with its keys: what spoilt records look like is up to the keys."""
    state = connection.export_state(STATE_KEY)
    first, second = (
        DTLSConnection.adopt(connection.config, state, STATE_KEY, now) for _ in range(2)
    )
    return first, second


@pytest.mark.parametrize("connection_id", [None, 4])
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("seed", range(6))
def test_fast_and_slow_path_have_the_same_result(suite, seed, connection_id):
    pair = connected(suite, connection_id=connection_id)
    short, long = twins(pair.server, pair.now)
    long._layer.data_reader = None
    datagrams = traffic(pair.client, seed)
    outcomes = []
    for server in (short, long):
        before = server.statistics
        taken = take(server, list(datagrams), pair.now)
        after = server.statistics
        changes = {name: getattr(after, name) - getattr(before, name) for name in COUNTED}
        outcomes.append((taken, changes))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][0]) > 30
    assert short._layer.data_reader is not None


@pytest.mark.parametrize("suite", SUITES)
def test_a_batch_in_order_is_taken_whole(suite):
    pair = connected(suite)
    sent = [bytes((number,)) * 100 for number in range(150)]
    batch = pair.client.protect_batch(sent)
    size = pair.client.record_size(100)
    messages: list[bytes] = []
    assert pair.server.receive_batch(batch, size, messages, NOW) == 150
    assert messages == sent
    again: list[bytes] = []
    assert pair.server.receive_batch(batch, size, again, NOW) == 0
    assert again == []


@pytest.mark.parametrize("count", [2, 20, 150])
@pytest.mark.parametrize("suite", SUITES)
def test_a_batch_equals_its_records_protected_one_by_one(suite, count):
    pair = connected(suite)
    writer = pair.client._layer.writer
    messages = [bytes((number,)) * size for number, size in enumerate([*[40] * count, 7])]
    first = writer.next_number
    batch = writer.protect_batch(messages)
    assert writer.next_number == first + len(messages)
    writer.next_number = first
    single = [writer.protect(ContentType.application_data, message) for message in messages]
    assert batch == b"".join(single)
    assert [len(record) for record in single] == [writer.record_size(len(m)) for m in messages]


def test_what_protect_gives_is_counted_and_refused_as_by_send():
    pair = connected(SUITES[0])
    client = pair.client
    before = client.statistics
    assert client.protect(b"hello") is not None
    after = client.statistics
    assert after.records_sent == before.records_sent + 1
    assert after.datagrams_sent == before.datagrams_sent + 1
    assert after.bytes_sent == before.bytes_sent + 5
    assert client.protect(bytes(client.max_payload + 1)) is None
    client._layer.writer.alarm = client._layer.writer.next_number + 1
    assert client.protect(b"near the limit") is None
    client.close(pair.now)
    assert client.protect(b"closed") is None
    with pytest.raises(EndpointClosed):
        client.send(b"closed", pair.now)
    assert client.statistics.records_sent == after.records_sent


def test_nothing_is_taken_before_the_handshake_or_after_the_end():
    config = DTLSConfig(psk=PSK("a", bytes(16)), cipher_suites=SUITES[:1])
    fresh = DTLSConnection.client(config, SERVER, 0.0)
    assert fresh.receive_batch(b"\x17" + bytes(60), 61, [], NOW) == 0
    assert fresh.protect(b"x") is None
    pair = connected(SUITES[0])
    datagram = pair.client.protect(b"late")
    pair.server.close(pair.now)
    assert pair.server.receive_batch(datagram, len(datagram), [], NOW) == 0
    assert pair.client.receive_batch(b"", 0, [], NOW) == 0


def test_keys_before_an_update_are_forgotten_by_data_alone():
    pair = connected("TLS_AES_128_GCM_SHA256")
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(1)
    layer = pair.server._layer
    assert {reader.epoch for reader in layer._readers13.values()} >= {3, 4}
    for now in (pair.now, pair.now + 1, pair.now + 300):
        messages: list[bytes] = []
        datagram = pair.client.protect(b"x")
        assert pair.server.receive_batch(datagram, len(datagram), messages, now) == 1
    assert {reader.epoch for reader in layer._readers13.values()} == {4}


def forgeries(good: bytes, rng: random.Random) -> Iterator[tuple[bytes, int]]:
    """Batches that nobody with the keys has made, and the size of their datagrams."""
    for first in range(256):
        if first != good[0]:
            yield bytes((first,)) + good[1:], len(good)
    for length in (*range(80), *range(80, 2000, 61)):
        noise = rng.randbytes(length)
        for batch in (noise, (good[:21] + noise)[:length]):
            for size in {1, max(1, length // 2), max(1, length), length + 5}:
                yield batch, size
    # The last of all numbers, so that the next is none.
    yield (good[:3] + b"\xff" * 8 + good[11:]) * 2, len(good)
    for at in range(len(good)):
        spoilt = good[:at] + bytes((good[at] ^ 1 << rng.randrange(8),)) + good[at + 1 :]
        yield good[:at], max(1, at)
        yield spoilt, len(good)
        yield spoilt + good, len(good)
        yield spoilt + good[:at], len(good)


@pytest.mark.parametrize("connection_id", [None, 4])
@pytest.mark.parametrize("suite", SUITES)
def test_forgeries_raise_nothing_move_nothing_and_cost_one_decryption(suite, connection_id):
    pair = connected(suite, connection_id=connection_id)
    server, client = pair.server, pair.client
    reader = server._layer.data_reader
    assert server.receive_batch(*whole(client.protect_batch([bytes(40)])), [], NOW) == 1
    good = client.protect_batch([bytes(50)])
    cipher, state, before = reader._cipher, reader.window.snapshot(), server.statistics
    cost = 0

    class Counting:
        def decrypt(self, *arguments: bytes) -> bytes:
            nonlocal cost
            cost += 1
            return cipher.decrypt(*arguments)

        def decrypt_into(self, *arguments: memoryview) -> int:
            nonlocal cost
            cost += 1
            return cipher.decrypt_into(*arguments)

    reader._cipher = Counting()
    for batch, size in forgeries(good, random.Random(1)):
        messages: list[bytes] = []
        cost = 0
        assert server.receive_batch(batch, size, messages, NOW) == 0
        assert messages == []
        assert cost <= 1
    assert (reader.window.snapshot(), server.statistics) == (state, before)
    messages = []
    assert server.receive_batch(*whole(good), messages, NOW) == 1
    assert messages == [bytes(50)]


def whole(batch: bytes) -> tuple[bytes, int]:
    return batch, len(batch)
