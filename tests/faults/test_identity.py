"""Ticket keys, and who the peer is: F10, F20."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls import PSK, ConfigError, Credentials, DTLSConfig, Session, TicketKeys, Trust, events
from aiodtls.core import sessions
from aiodtls.core.connection import DTLSConnection
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs

KEY = b"0123456789abcdef"
PERIOD = 24 * 3600
SECRET, OLDER = bytes(range(32)), bytes(range(1, 33))


@pytest.fixture
def clock(calendar):
    """The calendar of ticket keys that are given no other, to be set."""
    calendar[0] = 0.0
    return calendar


def session_at(now: float) -> Session:
    return Session(
        version="1.3", suite=0x1301, secret=b"s" * 32, issued_at=now, authenticated_at=now
    )


# -- F10: ticket keys ---------------------------------------------------------------------------


@pytest.mark.parametrize("now", [0.0, 1.0, 1_800_000_000.0])
def test_f10_no_ticket_opens_with_a_key_of_zeros(clock, now):
    """As one did at the start, before the first rotation had made a key."""
    clock[0] = now
    ticket = TicketKeys().seal(session_at(now), lambda length: bytes(length))
    nonce, sealed = ticket[4:16], ticket[16:]
    for length in (16, 24, 32):
        with pytest.raises(InvalidTag):
            AESGCM(bytes(length)).decrypt(nonce, sealed, ticket[:4])
        with pytest.raises(InvalidTag):
            AESGCM(bytes(length)).decrypt(nonce, sealed, None)
    for zeros in (bytes(32), bytes(64)):
        with pytest.raises(ConfigError):
            TicketKeys(zeros)
        with pytest.raises(ConfigError):
            TicketKeys(SECRET, zeros)


def test_f10_every_process_and_every_period_has_a_key_of_its_own(clock):
    one, other = TicketKeys(), TicketKeys()
    first = one.seal(session_at(0.0), lambda length: bytes(length))
    assert other.open(first) is None
    assert one.open(first) == session_at(0.0)
    clock[0] = PERIOD
    second = one.seal(session_at(0.0), lambda length: bytes(length))
    # The same nonce and the same session: what differs is the key.
    assert first[4:16] == second[4:16] and first[16:] != second[16:]
    assert one.open(first) == one.open(second) == session_at(0.0)
    # An index is no choice of the client's: it is part of what is sealed.
    assert one.open(second[:4] + first[4:]) is None


def test_f10_tickets_outlive_a_restart_and_the_rotation_of_the_secret(clock):
    before = TicketKeys(OLDER).seal(session_at(0.0), lambda length: bytes(length))
    clock[0] = 3 * PERIOD
    rotated = TicketKeys(SECRET, OLDER)
    assert rotated.open(before) == session_at(0.0)
    after = rotated.seal(session_at(clock[0]), lambda length: bytes(length))
    assert TicketKeys(OLDER).open(after) is None
    assert TicketKeys(SECRET).open(after) == session_at(clock[0])
    assert TicketKeys(SECRET).open(before) is None
    clock[0] = sessions.MAX_LIFETIME + 1
    assert rotated.open(before) is None


@pytest.mark.parametrize("variant", ["certificate", "psk", "certificate13", "psk13"])
def test_f10_a_restarted_server_meets_a_ticket_of_its_former_life_with_a_full_handshake(variant):
    client, server = configs(variant)
    first = Pair(client, dataclasses.replace(server, ticket_keys=TicketKeys()))
    assert first.run() and first.connected
    first.idle()
    again = Pair(
        client,
        dataclasses.replace(server, ticket_keys=TicketKeys()),
        session=first.client.session,
    )
    assert first.client.session is not None
    assert again.run() and again.connected
    assert not again.client.resumed and not again.server.resumed
    again.exchange()


# -- F20: a peer that nobody checked -------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_f20_a_client_without_a_name_or_another_check_refuses_to_start(version):
    authority = Credentials.self_signed("localhost")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    unchecked = [
        Trust.system(),
        [Trust.fingerprints(authority.fingerprint()), Trust.system()],
        lambda chain, context: True,
        None,
    ]
    for trust in unchecked:
        config = DTLSConfig(versions=[version], trust=trust)
        with pytest.raises(ConfigError, match="server_hostname"):
            DTLSConnection.client(config, SERVER, 0.0)
        DTLSConnection.client(config, SERVER, 0.0, server_hostname="localhost")
    # Each of these is a check of its own, or the plainly stated wish for none.
    for trust in (
        Trust.fingerprints(authority.fingerprint()),
        Trust.public_keys(key),
        Trust.deferred(),
        Trust.insecure(),
        Trust.from_function(lambda chain, context: True, check_name=False),
    ):
        DTLSConnection.client(DTLSConfig(versions=[version], trust=trust), SERVER, 0.0)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("raw", [False, True])
def test_f20_an_untrusted_key_ends_the_handshake(version, raw):
    """With certificates, and with raw public keys, where OpenSSL once went on unnoticed."""

    def credentials() -> Credentials:
        if raw:
            return Credentials.raw_public_key(ec.generate_private_key(ec.SECP256R1()))
        return Credentials.self_signed("localhost")

    def trust(held: Credentials) -> Trust:
        return Trust.public_keys(held.public_key) if raw else Trust.fingerprints(held.fingerprint())

    mine, yours, strangers = credentials(), credentials(), credentials()
    good = DTLSConfig(
        versions=[version], credentials=mine, trust=trust(yours), client_auth="required"
    )
    peer = dataclasses.replace(good, credentials=yours, trust=trust(mine))
    pair = Pair(good, peer)
    assert pair.run() and pair.connected
    for bad in (
        (dataclasses.replace(good, trust=trust(strangers)), peer),
        (good, dataclasses.replace(peer, trust=trust(strangers))),
        (dataclasses.replace(good, credentials=strangers), peer),
        (good, dataclasses.replace(peer, credentials=strangers)),
    ):
        pair = Pair(*bad)
        assert pair.run(limit=130) and not pair.connected
        assert pair.data == {CLIENT: [], SERVER: []}
        assert not any(isinstance(e, events.HandshakeCompleted) for e in pair.events[SERVER])


def psk_config(version: str, psk: object) -> DTLSConfig:
    suites = ["TLS_PSK_WITH_AES_128_GCM_SHA256"] if version == "1.2" else None
    return DTLSConfig(versions=[version], psk=psk, cipher_suites=suites, groups=["x25519"])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    "identity, other",
    [
        (b"admin\0x", b"admin"),
        (b"admin\0x", b"admin\0y"),
        (b"\0", b"\0\0"),
        (b"Admin", b"admin"),
        (b"admin ", b"admin"),
        (b"\xff\xfe", b"\xff"),
        ("ä".encode(), "a\u0308".encode()),
    ],
)
def test_f20_identities_are_bytes_compared_whole(version, identity, other):
    """One key for both, so that nothing but the identity tells them apart."""
    seen = []

    def find(side, question):
        seen.append(question.identity)
        return {other: KEY}.get(question.identity)

    assert psk_config(version, {identity: KEY, other: KEY}).psks.keys() == {identity, other}
    client = psk_config(version, PSK(identity, KEY))
    for server, answers in (
        (psk_config(version, {other: KEY}), None),
        (psk_config(version, lambda identity, context: None), find),
    ):
        pair = Pair(client, server, answers=answers)
        assert pair.run(limit=200) and not pair.connected
    assert set(seen) == {identity}
    pair = Pair(client, psk_config(version, {other: b"another key, 16+", identity: KEY}))
    assert pair.run() and pair.connected
    assert pair.server.psk_identity == pair.client.psk_identity == identity


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_f20_an_unknown_identity_looks_like_a_wrong_key(version):
    def seen_from_outside(server_psk: object, identity: bytes) -> tuple[object, ...]:
        pair = Pair(psk_config(version, PSK(identity, KEY)), psk_config(version, server_psk))
        assert pair.run(limit=200) and not pair.connected
        sizes = [[(data[0], len(data)) for data in pair.sent[side]] for side in (SERVER, CLIENT)]
        # The client's message names its own identity.
        message = str(pair.client.failure).replace(identity.decode(), "")
        return sizes, type(pair.client.failure), message, pair.elapsed

    wrong_key = seen_from_outside({b"device": b"another key, 16+"}, b"device")
    unknown = seen_from_outside({b"device": KEY}, b"devicf")
    assert wrong_key == unknown
