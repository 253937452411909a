"""record_size_limit (RFC 8449) in both versions: what one side names, the other keeps to."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import ConfigError, MessageTooLarge
from aiodtls.core.events import Closed
from aiodtls.core.registry import ContentType
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.malicious import seal
from tests.simulated.variants import configs


def limited(variant, client=None, server=None):
    client_config, server_config = configs(variant)
    pair = Pair(
        dataclasses.replace(client_config, record_size_limit=client),
        dataclasses.replace(server_config, record_size_limit=server),
        Link(),
    )
    assert pair.run()
    assert pair.connected
    return pair


# DTLS 1.3 counts the content type, DTLS 1.2 does not.
@pytest.mark.parametrize(("variant", "payload"), [("mutual", 100), ("mutual13", 99)])
def test_each_side_sends_no_more_than_the_other_takes(variant, payload):
    pair = limited(variant, client=100)
    assert pair.server.max_payload == payload
    assert pair.client.max_payload > 1000
    with pytest.raises(MessageTooLarge):
        pair.server.send(bytes(payload + 1), pair.now)
    pair.send(SERVER, bytes(payload))
    pair.send(CLIENT, bytes(1000))
    pair.idle()
    assert pair.data[CLIENT] == [bytes(payload)]
    assert pair.data[SERVER] == [bytes(1000)]


@pytest.mark.parametrize("variant", ["mutual", "mutual13", "psk", "psk13"])
def test_a_handshake_goes_through_the_least_limit_either_way(variant):
    pair = limited(variant, client=64, server=64)
    pair.exchange()
    assert pair.client.max_payload == pair.server.max_payload <= 64


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_record_above_our_limit_ends_it_with_record_overflow(variant):
    pair = limited(variant, client=100)
    # A peer that forgets what it was told.
    pair.server.max_payload = 500
    pair.send(SERVER, bytes(101))
    pair.idle()
    assert pair.client.closed
    assert "record is too long" in str(pair.client.failure)
    closed = next(e for e in pair.events[SERVER] if isinstance(e, Closed))
    assert "record_overflow" in str(closed.error)


@pytest.mark.parametrize("limit", [63, 16386])
def test_limits_out_of_range_are_refused(limit):
    with pytest.raises(ConfigError, match="record_size_limit"):
        DTLSConfig(record_size_limit=limit)


@pytest.mark.parametrize(("padding", "fits"), [(1, True), (49, True), (50, False), (3000, False)])
@pytest.mark.parametrize("content", [b"x" * 50, b""])
def test_padding_counts(padding, fits, content):
    """RFC 8449 section 4: the limit is that of the whole inner plaintext of DTLS 1.3."""
    pair = limited("mutual13", client=100)
    # Content, content type, padding: 50 + 1 + 49 are 100.
    inner = content + bytes((ContentType.application_data,)) + bytes(padding + 50 - len(content))
    record = seal(pair.server, 0, inner[:-1])
    pair.client.receive_datagram(record, SERVER, pair.now)
    assert pair.client.closed is not fits
    if fits:
        assert pair.client.read() == (content or None)
    else:
        assert "record is too long" in str(pair.client.failure)


def test_padding_of_a_datagram_among_many():
    """The fast path for equal datagrams keeps to the limit too."""
    pair = limited("mutual13", client=100)
    pair.idle()
    pair.send(CLIENT, b"confirm")
    pair.idle()
    inner = b"x" * 90 + bytes((ContentType.application_data,)) + bytes(60)
    batch = [seal(pair.server, 0, inner) for _ in range(20)]
    messages: list[bytes] = []
    taken = pair.client.receive_batch(b"".join(batch), len(batch[0]), messages, pair.now)
    assert not taken and not messages
    pair.client.receive_datagram(batch[0], SERVER, pair.now)
    assert pair.client.closed and "record is too long" in str(pair.client.failure)


def test_a_record_of_padding_alone_is_checked_for_its_length():
    pair = limited("mutual13", client=100)
    pair.client.receive_datagram(seal(pair.server, 0, bytes(200)), SERVER, pair.now)
    assert pair.client.closed and "record is too long" in str(pair.client.failure)
