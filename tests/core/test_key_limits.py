"""What forged records lead to at the integrity limit of an AEAD."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.events import KeyLimitReached
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs

LIMIT = 10


def forged_at(pair: Pair, epoch: int) -> list[KeyLimitReached]:
    """Forges records for the server, up to the limit, and returns what it is told."""
    reader = pair.server._layer.readers[epoch]
    reader.set_forgery_alarm(LIMIT // 2)
    reader.forgery_limit = LIMIT
    for number in range(LIMIT):
        honest = pair.client._layer.writer.protect(23, b"honest")
        forged = honest[:-1] + bytes((honest[-1] ^ (number + 1),))
        pair.server.receive_datagram(forged, CLIENT, pair.now)
    pair.flush()
    return [event for event in pair.events[SERVER] if isinstance(event, KeyLimitReached)]


@pytest.mark.parametrize(
    ("suite", "key_limit", "ends"),
    [
        ("TLS_PSK_WITH_AES_128_GCM_SHA256", "close", True),
        ("TLS_PSK_WITH_AES_128_GCM_SHA256", "event", False),
        # Anybody could forge so few records.
        ("TLS_PSK_WITH_AES_128_CCM_8", "close", False),
    ],
)
def test_dtls_12_ends_if_the_configuration_says_so_and_the_tag_is_long(suite, key_limit, ends):
    pair = Pair(
        *(
            dataclasses.replace(config, cipher_suites=[suite], key_limit=key_limit)
            for config in configs("psk")
        )
    )
    assert pair.run() and pair.connected and pair.server.cipher_suite == suite
    assert forged_at(pair, 1) == [KeyLimitReached("forged", False), KeyLimitReached("forged", True)]
    assert pair.server.closed is ends
    if ends:
        assert pair.server.failure.reason == "key_limit"


@pytest.mark.parametrize(
    ("suite", "ends"), [("TLS_AES_128_GCM_SHA256", True), ("TLS_AES_128_CCM_8_SHA256", False)]
)
def test_dtls_13_ends_unless_the_tag_is_short(suite, ends):
    pair = Pair(
        *(dataclasses.replace(config, cipher_suites=[suite]) for config in configs("psk13"))
    )
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    assert pair.server.cipher_suite == suite
    pair.link.filter = lambda who, number, data: []
    told = forged_at(pair, 3)
    assert told == [KeyLimitReached("forged", False), KeyLimitReached("forged", True)]
    assert pair.server.closed is ends
