"""A long hello that seems lost makes room for a short one; a server may have had the long one."""

from __future__ import annotations

import pytest

from aiodtls import Credentials, DTLSConfig, Trust
from tests.harness import SERVER, Link, Pair

CREDENTIALS = Credentials.self_signed("localhost")
CLIENT_CONFIG = DTLSConfig(versions=["1.3"], trust=Trust.insecure(), connection_id=0)


def server_config(*groups: str) -> DTLSConfig:
    return DTLSConfig(
        versions=["1.3"], credentials=CREDENTIALS, groups=groups or None, connection_id=0
    )


@pytest.mark.parametrize("groups", [(), ("x25519",), ("secp256r1",)])
@pytest.mark.parametrize("seconds", [2.0, 4.0, 8.0, 20.0])
def test_a_server_that_took_the_long_hello_is_understood_late(groups, seconds):
    link = Link()
    pair = Pair(CLIENT_CONFIG, server_config(*groups), link, cookie=False)
    link.filter = lambda who, number, data: [] if who == SERVER and pair.elapsed < seconds else None
    assert pair.run(limit=130), "undecided"
    assert pair.connected, (pair.client.failure, pair.server.failure)
    pair.exchange()


@pytest.mark.parametrize("groups", [(), ("x25519",), ("secp256r1",)])
def test_a_server_that_saw_the_short_hello_alone(groups):
    link = Link(filter=lambda who, number, data: [] if who != SERVER and number < 3 else None)
    pair = Pair(CLIENT_CONFIG, server_config(*groups), link, cookie=False)
    assert pair.run(limit=130) and pair.connected, pair.client.failure
    pair.exchange()


@pytest.mark.parametrize("seconds", [2.0, 8.0, 20.0])
def test_shares_in_all_groups_without_a_long_one_make_no_other_hello(seconds):
    """Answers to it could not be told from answers to the first."""
    groups = ["x25519", "secp256r1"]
    client = DTLSConfig(
        versions=["1.3"], trust=Trust.insecure(), groups=groups, key_shares=groups, connection_id=0
    )
    link = Link()
    pair = Pair(client, server_config(*groups), link, cookie=False)
    link.filter = lambda who, number, data: [] if who == SERVER and pair.elapsed < seconds else None
    assert pair.run(limit=130) and pair.connected, (pair.client.failure, pair.server.failure)
    pair.exchange()
