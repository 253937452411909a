"""Sessions: how long one lives, what a ticket is worth, and what the stores keep."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import MemorySessionStore, Session, SessionCache, TicketKeys
from aiodtls.core.sessions import MAX_LIFETIME
from aiodtls.core.wire.extensions import SessionTicket
from aiodtls.core.wire.extensions13 import PreSharedKey, PskKeyExchangeModes
from aiodtls.core.wire.messages import ClientHello
from tests.harness import CLIENT, Pair
from tests.malicious import Deviation, with_extension
from tests.simulated.variants import configs

DAY = 24 * 3600
NOW = 2_000_000_000.0
OLD = bytes(range(32))


@pytest.fixture
def clock(calendar):
    """A list whose one element is the time of day."""
    assert calendar == [NOW]
    return calendar


def session(**fields) -> Session:
    fresh = {"version": "1.3", "authenticated_at": NOW, "issued_at": NOW, "ticket": b"ticket"}
    return Session(suite=0x1301, secret=bytes(32), **(fresh | fields))


def test_nothing_lives_longer_than_seven_days():
    """RFC 8446 section 4.6.1."""
    assert MAX_LIFETIME == 604800 == session().lifetime


@pytest.mark.parametrize(
    ("fields", "lives_from", "lives_until"),
    [
        ({}, -60, MAX_LIFETIME),
        ({"lifetime": 100}, -60, 100),
        # A renewed session ends when that which it renews would have ended.
        ({"authenticated_at": NOW - 6 * DAY}, -60, DAY),
        ({"authenticated_at": NOW - 6 * DAY, "lifetime": 100}, -60, 100),
    ],
)
def test_how_long_a_session_lives(clock, fields, lives_from, lives_until):
    """Hosts that share tickets may have clocks that differ by a minute."""
    for moment, alive in (
        (lives_from - 1, False),
        (lives_from, True),
        (lives_until - 1, True),
        (lives_until, False),
    ):
        clock[0] = NOW + moment
        assert session(**fields).is_alive is alive


def test_a_session_is_what_its_bytes_say():
    full = session(
        server_hostname="host",
        alpn_protocol=b"h",
        psk_identity=b"id",
        psk_check=bytes(16),
        peer_chain=(b"leaf", b"issuer"),
        age_add=7,
        session_id=b"id",
    )
    data = full.to_bytes()
    assert Session.from_bytes(data) == full
    for wrong in (data + b"\0", data[:-1], b"\2" + data[1:], b"\3" + data[1:], b""):
        with pytest.raises(ValueError, match="no session of ours"):
            Session.from_bytes(wrong)


def test_a_store_keeps_the_newest_sessions():
    store = MemorySessionStore(limit=2)
    for number in b"abc":
        store.put(bytes((number,)), b"session")
    assert [store.get(key) for key in (b"a", b"b", b"c", b"d")] == [None, *2 * [b"session"], None]


def test_a_cache_gives_each_ticket_of_dtls13_away_once(clock):
    """RFC 8446 appendix C.4; a session of DTLS 1.2 stays."""
    cache = SessionCache(per_server=2)
    first, second, third = (session(ticket=bytes((number,))) for number in b"123")
    for item in (first, second, third):
        cache.put("server", item)
    assert [cache.get("server") for _ in range(3)] == [third, second, None]
    old = dataclasses.replace(first, version="1.2")
    cache.put("server", old)
    assert cache.get("server") == cache.get("server") == old
    assert cache.get("other") is None
    cache.discard("server")
    assert cache.get("server") is None


def test_a_cache_keeps_one_session_of_dtls12_and_so_many_servers(clock):
    cache = SessionCache(limit=2)
    old, new = (session(version="1.2", ticket=name) for name in (b"old", b"new"))
    cache.put("a", old)
    cache.put("a", new)
    assert cache.get("a") == new
    for server in "bc":
        cache.put(server, old)
    assert [cache.get(server) for server in "abc"] == [None, old, old]
    clock[0] = NOW + MAX_LIFETIME
    assert cache.get("c") is None


def session_of(variant: str, **server) -> Session:
    client, other = configs(variant)
    pair = Pair(client, dataclasses.replace(other, **server))
    assert pair.run() and pair.connected
    pair.idle()
    assert pair.client.session is not None
    return pair.client.session


@pytest.mark.parametrize("own", [True, False])
def test_a_ticket_of_dtls13_is_none_in_dtls12(own):
    """Such a hello leads to a full handshake; with a ticket of DTLS 1.2 it would not."""
    keys = TicketKeys(OLD)
    made = session_of("certificate" if own else "certificate13", ticket_keys=keys)

    def bring(hello):
        suites = (*hello.cipher_suites, made.suite)
        hello = with_extension(SessionTicket(made.ticket))(hello)
        return dataclasses.replace(hello, cipher_suites=suites, session_id=bytes(32))

    server = {"ticket_keys": keys, "versions": ["1.3", "1.2"]}
    outcome = Deviation("certificate", CLIENT, ClientHello, bring, server=server).run()
    assert outcome.honest.resumed is own
    assert outcome.connected is not own


def test_a_ticket_of_dtls12_is_none_in_dtls13():
    keys = TicketKeys(OLD)
    made = session_of("certificate", ticket_keys=keys)
    bring = with_extension(PreSharedKey(((made.ticket, 0),), (bytes(32),)))
    server = {"ticket_keys": keys, "versions": ["1.3", "1.2"]}
    deviation = Deviation("certificate13", CLIENT, ClientHello, bring, rebind=False, server=server)
    assert not deviation.is_accepted().honest.resumed
    # One of DTLS 1.3 is looked at, and its binder is wrong.
    made = session_of("certificate13", ticket_keys=keys)
    bring = with_extension(PreSharedKey(((made.ticket, 0),), (bytes(32),)))
    dataclasses.replace(deviation, change=bring).is_refused("decrypt_error", match="binder")


def test_a_session_is_not_resumed_without_a_key_exchange():
    """RFC 8446 section 4.2.9 allows it; a stolen ticket key would then open what is recorded."""
    keys = TicketKeys(OLD)
    made = session_of("certificate13", ticket_keys=keys)
    deviation = Deviation(
        "certificate13",
        CLIENT,
        ClientHello,
        with_extension(PskKeyExchangeModes(b"\0")),
        session=made,
        server={"ticket_keys": keys},
    )
    assert not deviation.is_accepted().honest.resumed
    as_it_is = dataclasses.replace(deviation, change=lambda hello: hello)
    assert as_it_is.is_accepted().honest.resumed
