"""Every alert code, level, version and phase, to either side.

What ends an association is written down by hand: RFC 5246 section 7.2 for DTLS 1.2, RFC 8446
section 6 for DTLS 1.3, and for alerts in the clear, which anybody can send, the design's rule that
they are hints before a record of the peer has been opened, and nothing after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import EndpointClosed, HandshakeRefused, PeerAlert
from aiodtls.core.registry import AlertDescription, ContentType
from aiodtls.core.wire.records import FIXED_BITS, FIXED_MASK
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.malicious import plaintext, seal
from tests.simulated.variants import configs

CLOSE_NOTIFY, USER_CANCELED = AlertDescription.close_notify, AlertDescription.user_canceled
WARNING, FATAL = 1, 2
# Not in the registry, not any more, and the largest.
UNKNOWN_CODES = (1, 21, 60, 99, 255)
CODES = (*AlertDescription, *UNKNOWN_CODES)
VERSIONS = {"1.2": "mutual", "1.3": "mutual13"}
# Before the version is known, in a handshake in the clear, in one where protected records of the
# peer have been opened, and after it.
PHASES = ("hello", "clear", "protected", "connected")


def started(version: str) -> Pair:
    client, server = (
        dataclasses.replace(c, records_individually=True, session_tickets=0)
        for c in configs(VERSIONS[version])
    )
    # One record after the other, so that a flight can be stopped within.
    one_by_one = Link(filter=lambda who, number, data: [(number / 1000, data)])
    return Pair(client, server, one_by_one, cookie=False)


def reached(version: str, side: str, phase: str) -> tuple[DTLSConnection, DTLSConnection, Pair]:
    """The connection of ``side`` in a phase, its peer, and their pair."""
    pair = started(version)
    victim, peer = (pair.client, pair.server) if side == CLIENT else (pair.server, pair.client)
    if phase == "hello":
        return victim, peer, pair
    if phase == "connected":
        assert pair.run() and pair.connected
        pair.idle()
        return victim, peer, pair

    def arrived() -> bool:
        if phase == "protected":
            return victim._peer_proved
        return victim._driver.next_receive_seq > 0

    assert pair.run(arrived)
    assert not victim.handshake_complete and not victim.closed
    return victim, peer, pair


def sealed(peer: DTLSConnection, level: int, code: int, phase: str) -> bytes:
    epoch = 2 if phase == "protected" else None
    return seal(peer, ContentType.alert, bytes((level, code)), epoch)


def is_protected(record: bytes) -> bool:
    return record[0] & FIXED_MASK == FIXED_BITS or record[3:5] != b"\0\0"


def ending(victim: DTLSConnection) -> str | None:
    """What the end says: the alert that came, an alert of ours, or None where there is none."""
    if not victim.closed:
        return None
    failure = victim.failure
    if isinstance(failure, HandshakeRefused):
        return failure.description
    if isinstance(failure, EndpointClosed) and failure.reason == "close_notify":
        return "close_notify"
    if isinstance(failure.__cause__, PeerAlert):
        return failure.__cause__.description
    return "ours"


def hear_nothing(victim: DTLSConnection, until: float) -> None:
    """Its timers go off, and nothing comes."""
    while (due := victim.next_timeout()) is not None and due <= until and not victim.closed:
        victim.handle_timeout(due)


def name_of(code: int) -> str:
    return code.name if isinstance(code, AlertDescription) else f"alert {code}"


def in_the_clear(side: str, level: int, code: int, phase: str) -> str | None:
    """A hint of whose nobody knows: silence behind it ends a handshake with an unproved peer."""
    if phase in ("protected", "connected") or (side, phase) == (SERVER, "hello"):
        # A server that waits for a ClientHello has said nothing that could be refused.
        return None
    return name_of(code) if level == FATAL or code == CLOSE_NOTIFY else None


def protected(version: str, level: int, code: int) -> str | None:
    if code == CLOSE_NOTIFY or level == FATAL:
        return name_of(code)
    if level != WARNING:
        return "ours"
    if version == "1.2":
        return None
    # "Regardless of the AlertLevel", and unknown ones are errors too; user_canceled is none.
    return None if code == USER_CANCELED else name_of(code)


def phases_of(version: str) -> Iterator[str]:
    # In DTLS 1.2 nothing protected comes before the Finished.
    yield from (phase for phase in PHASES if version == "1.3" or phase != "protected")


CASES = [(v, side, phase) for v in VERSIONS for side in (CLIENT, SERVER) for phase in phases_of(v)]


@pytest.mark.parametrize("level", [0, WARNING, FATAL, 3, 255])
@pytest.mark.parametrize(("version", "side", "phase"), CASES)
def test_an_alert_in_the_clear(version, side, phase, level):
    for code in CODES:
        victim, _, pair = kept(version, side, phase)
        victim.receive_datagram(plaintext(ContentType.alert, bytes((level, code))), "x", pair.now)
        wanted = in_the_clear(side, level, code, phase)
        assert not victim.closed
        assert (victim.alert_hint is None) == (wanted is None)
        if wanted is not None:
            _kept.clear()
            hear_nothing(victim, pair.now + 4.1)
            assert isinstance(victim.failure, HandshakeRefused)
            assert ending(victim) == wanted, (level, code)
            assert not any(data[0] == ContentType.alert for data, _ in victim.datagrams_to_send())


@pytest.mark.parametrize("level", [0, WARNING, FATAL, 3, 255])
@pytest.mark.parametrize(
    ("version", "side", "phase"), [c for c in CASES if c[2] in ("protected", "connected")]
)
def test_a_protected_alert(version, side, phase, level):
    for code in CODES:
        victim, peer, pair = kept(version, side, phase)
        record = sealed(peer, level, code, phase)
        assert is_protected(record)
        victim.receive_datagram(record, "x", pair.now)
        found, wanted = ending(victim), protected(version, level, code)
        if phase == "protected" and code == CLOSE_NOTIFY:
            # It has overtaken the peer's Finished: nothing has ended before that.
            wanted = None
        assert found == wanted, (level, code)
        if found is None and code != CLOSE_NOTIFY:
            continue
        _kept.clear()
        if found == "ours":
            assert f"an alert of level {level}" in str(victim.failure)
        elif phase == "connected":
            assert isinstance(victim.failure, EndpointClosed)


_kept: dict[tuple[str, str, str], tuple[DTLSConnection, DTLSConnection, Pair]] = {}


def kept(version: str, side: str, phase: str):
    """As ``reached``; the same one again while it goes on."""
    key = version, side, phase
    if key not in _kept:
        _kept.clear()
        _kept[key] = reached(*key)
    return _kept[key]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("body", "description"),
    [(b"", "unexpected_message"), (b"\2", "decode_error"), (b"\2\0\2", "decode_error")],
)
def test_a_protected_alert_of_another_length(version, body, description):
    """RFC 8446 section 5.4: an empty one is an unexpected_message."""
    victim, peer, pair = reached(version, CLIENT, "connected")
    victim.receive_datagram(seal(peer, ContentType.alert, body), SERVER, pair.now)
    assert victim.closed
    for data, _ in victim.datagrams_to_send():
        peer.receive_datagram(data, CLIENT, pair.now)
    assert ending(peer) == description


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("body", [b"", b"\2", b"\2\0\2", bytes(40)])
def test_a_plaintext_alert_of_another_length_is_ignored(version, side, body):
    for phase in phases_of(version):
        victim, _, pair = reached(version, side, phase)
        victim.receive_datagram(plaintext(ContentType.alert, body), "x", pair.now)
        assert not victim.closed


def test_a_close_notify_before_finished_is_not_lost():
    """It ends the association behind it."""
    victim, peer, pair = reached("1.3", CLIENT, "protected")
    victim.receive_datagram(sealed(peer, WARNING, CLOSE_NOTIFY, "protected"), SERVER, pair.now)
    assert pair.run(lambda: victim.closed)
    assert ending(victim) == "close_notify"


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_protected_change_cipher_spec_is_unexpected(variant, side):
    """RFC 8446 section 5; in the clear it is ignored."""
    pair = Pair(*configs(variant))
    assert pair.run() and pair.connected
    pair.idle()
    victim, peer = (pair.client, pair.server)[:: 1 if side == CLIENT else -1]
    victim.receive_datagram(plaintext(ContentType.change_cipher_spec, b"\x01"), "x", pair.now)
    assert not victim.closed
    victim.receive_datagram(seal(peer, ContentType.change_cipher_spec, b"\x01"), "x", pair.now)
    assert victim.closed and "unknown type 20" in str(victim.failure)
