"""aiodtls.testing: pairs of which one side or none is given."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from aiodtls import PSK, ConfigError, Credentials, DTLSConfig, HandshakeError, Trust
from aiodtls.testing import pair

KEY = b"0123456789abcdef"
OWN = Credentials.self_signed("device")
RAW = Credentials.raw_public_key(ec.generate_private_key(ec.SECP256R1()))
SUITE12 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
BOTH_VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


async def exchange(*configs, **options):
    async with pair(*configs, **options) as (client, server):
        await client.send(b"there")
        assert await server.recv() == b"there"
        await server.send(b"back")
        assert await client.recv() == b"back"
    return client, server


@BOTH_VERSIONS
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"trust": Trust.insecure()},
        {"trust": Trust.from_function(lambda *_: True)},
        {"psk": PSK("device", KEY)},
        {"psk": PSK("device", KEY), "trust": Trust.system()},
        {"psk": {"device": KEY}},
        {"credentials": OWN},
        {"credentials": RAW},
        {"groups": ["secp384r1", "secp256r1"], "alpn_protocols": ["coap"]},
        {"srtp_profiles": ["SRTP_AEAD_AES_128_GCM"]},
    ],
    ids=lambda fields: "-".join(fields) or "nothing",
)
async def test_a_client_alone_is_enough(version, fields):
    client, server = await exchange(DTLSConfig(versions=[version], **fields))
    assert client.version == server.version == version
    assert server.psk_identity == (b"device" if "psk" in fields else None)
    assert (server.peer_public_key is not None) == ("credentials" in fields)
    assert client.alpn_protocol == ("coap" if "alpn_protocols" in fields else None)
    assert client.srtp_profile == (fields.get("srtp_profiles") or [None])[0]
    if "groups" in fields:
        assert client.group == "secp384r1"


@BOTH_VERSIONS
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"credentials": OWN},
        {"credentials": [OWN, RAW]},
        {"psk": PSK("device", KEY)},
        {"psk": {"device": PSK("device", KEY), "another": bytes(16)}},
        {"credentials": OWN, "psk": lambda identity, context: None},
        {"credentials": OWN, "client_auth": "required", "trust": Trust.insecure()},
        {"alpn_protocols": ["coap"]},
        {"credentials": OWN, "alpn_protocols": lambda names: None},
    ],
    ids=lambda fields: "-".join(fields) or "nothing",
)
async def test_a_server_alone_is_enough(version, fields):
    client, server = await exchange(server_config=DTLSConfig(versions=[version], **fields))
    assert client.version == server.version == version
    assert client.psk_identity == (b"device" if "psk" in fields and len(fields) == 1 else None)
    assert bool(server.peer_certificates) == ("client_auth" in fields)


async def test_suites_are_those_of_the_side_that_is_given():
    for configs in ({"client_config": True}, {"server_config": True}):
        [side] = configs
        config = DTLSConfig(cipher_suites=[SUITE12])
        client, _ = await exchange(**{side: config})
        assert client.cipher_suite == SUITE12


@pytest.mark.parametrize(
    "given",
    [
        {"client_config": DTLSConfig(trust=Trust.fingerprints(OWN.fingerprint()))},
        {"client_config": DTLSConfig(trust=Trust.public_keys(RAW.public_key))},
        {"client_config": DTLSConfig(versions=["1.2"], groups=["x25519"])},
        {"client_config": DTLSConfig(signature_schemes=["ed25519"])},
        {"server_config": DTLSConfig(psk=lambda identity, context: KEY)},
        {
            "server_config": DTLSConfig(
                credentials=OWN, client_auth="required", trust=Trust.system()
            )
        },
    ],
    ids=["pinned", "raw key", "curve", "scheme", "function", "client's chain"],
)
def test_what_cannot_be_made_to_fit_is_told_at_once(given):
    with pytest.raises(ConfigError, match="give both configs"):
        pair(**given)


async def test_two_configs_are_taken_as_they_are():
    with pytest.raises(HandshakeError):
        await pair(DTLSConfig(trust=Trust.system()), DTLSConfig(credentials=OWN))
    with pytest.raises(ConfigError, match="server needs"):
        await pair(DTLSConfig(), DTLSConfig())


async def received(endpoint) -> list[bytes]:
    """What is queued, once nothing more arrives."""
    messages = []
    while True:
        try:
            async with asyncio.timeout(60):
                messages.append(await endpoint.recv())
        except TimeoutError:
            return messages


async def sent_over(**link) -> list[int]:
    """Which of 100 numbered messages arrived, in this order."""
    async with pair(virtual_time=True, seed=5, **link) as (client, server):
        for number in range(100):
            await client.send(b"%d" % number)
            await asyncio.sleep(0.01)
        return [int(message) for message in await received(server)]


async def test_a_link_drops_reorders_and_repeats_by_its_seed():
    numbers = list(range(100))
    assert await sent_over() == numbers
    lossy = await sent_over(loss=0.3)
    assert 50 < len(lossy) < 90 and lossy == sorted(lossy)
    assert await sent_over(loss=0.3) == lossy
    mixed = await sent_over(delay=0.1, reorder=0.3)
    assert sorted(mixed) == numbers != mixed
    # The replay window drops the copies.
    assert await sent_over(duplicate=0.5) == numbers


async def test_copies_arrive():
    async with pair(duplicate=0.5, seed=2) as (client, server):
        for _ in range(20):
            await client.send(b"message")
            await asyncio.sleep(0)
        await client.wait_confirmed()
        assert server.statistics.records_replayed > 3


async def test_a_delay_takes_time_of_the_loop():
    async with pair(delay=0.5, virtual_time=True) as (client, server):
        begun = asyncio.get_running_loop().time()
        await client.send(b"there")
        await server.recv()
        assert asyncio.get_running_loop().time() - begun == pytest.approx(0.5)


async def test_the_handshake_fits_a_small_mtu():
    server_config = DTLSConfig(credentials=OWN)
    async with pair(server_config=server_config, mtu=500, virtual_time=True) as (client, server):
        await client.send(b"x" * 100)
        assert await server.recv() == b"x" * 100
        before = server.statistics.datagrams_received
        await client.send(b"x" * 1000)
        await asyncio.sleep(1)
        assert server.statistics.datagrams_received == before


@BOTH_VERSIONS
async def test_an_association_follows_a_client_that_moves(version):
    link = pair(DTLSConfig(versions=[version]), delay=0.05, virtual_time=True)
    async with link as (client, server):
        before = server.peername
        link.move_client(("198.51.100.7", 4433))
        await client.send(b"from elsewhere")
        assert await server.recv() == b"from elsewhere"
        await asyncio.sleep(1)
        assert server.peername == ("198.51.100.7", 4433) != before
        await server.send(b"back")
        assert await client.recv() == b"back"


async def test_without_ids_a_client_that_moves_is_not_heard():
    link = pair(server_config=DTLSConfig(credentials=OWN, connection_id=0), virtual_time=True)
    async with link as (client, server):
        link.move_client(("198.51.100.7", 4433))
        await client.send(b"from elsewhere")
        await server.send(b"to the old address")
        assert await received(server) == await received(client) == []
    with pytest.raises(TypeError, match="addr"):
        link.move_client("198.51.100.7")


@pytest.mark.parametrize(
    ("option", "value"),
    [("loss", 1), ("reorder", -0.1), ("duplicate", 1.5), ("delay", -1), ("mtu", 100)],
)
def test_what_no_link_has_is_told(option, value):
    with pytest.raises(ValueError, match=option):
        pair(**{option: value})
