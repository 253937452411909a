"""Sessions: how long one lives, what a ticket is worth, and what the stores keep."""

from __future__ import annotations

import dataclasses
import stat

import pytest

from aiodtls import MemorySessionStore, Session, SessionCache, TicketKeys
from aiodtls.core.events import FlightSent, SessionRevoked
from aiodtls.core.sessions import MAX_LIFETIME
from aiodtls.core.wire.extensions import SessionTicket
from aiodtls.core.wire.extensions13 import PreSharedKey, PskKeyExchangeModes
from aiodtls.core.wire.messages import ClientHello, NewSessionTicket12
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.malicious import Deviation, with_extension, with_fields
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
        with pytest.raises(ValueError, match="not a session"):
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


# -- a cache in a file -------------------------------------------------------------------------


def filled(clock) -> SessionCache:
    cache = SessionCache()
    for key, version in (
        (("a.example", 4433), "1.2"),
        (("a.example", 4433), "1.3"),
        (("2001:db8::1", 65535), "1.3"),
        ((None, 0), "1.2"),
    ):
        cache.put(key, session(version=version, ticket=f"{key}{version}".encode()))
    return cache


def test_a_cache_comes_back_from_its_file_once(clock, tmp_path):
    path = tmp_path / "sessions"
    cache = filled(clock)
    cache.put(("over.example", 1), session(lifetime=1, issued_at=NOW - 10))
    cache.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = SessionCache.load(path)
    assert list(tmp_path.iterdir()) == []
    assert again.get(("over.example", 1)) is None
    for key in (("a.example", 4433), ("2001:db8::1", 65535), (None, 0)):
        for _ in range(3):
            assert again.get(key) == cache.get(key)
    with pytest.raises(FileNotFoundError):
        SessionCache.load(path)


def test_saving_replaces_a_file_that_others_can_read(clock, tmp_path):
    path = tmp_path / "sessions"
    path.write_text("old")
    path.chmod(0o644)
    filled(clock).save(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["sessions"]
    assert SessionCache.load(str(path), limit=1).get((None, 0)) is not None


@pytest.mark.parametrize(
    "key", ["a.example", ("a.example",), ("a", "4433"), ("a", 70_000), ("a", -1), 5]
)
def test_only_sessions_under_host_and_port_are_saved(clock, tmp_path, key):
    cache = SessionCache()
    cache.put(key, session())
    with pytest.raises(ValueError, match=r"under a key \(host, port\)"):
        cache.save(tmp_path / "sessions")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_holds_no_sessions_is_refused_and_left(clock, tmp_path):
    path = tmp_path / "sessions"
    filled(clock).save(path)
    good = path.read_bytes()
    for wrong in (b"", b"a private key", good[:-1], good + b"\1", good[:30] + b"\xff" + good[31:]):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"sessions that (were saved|are damaged)") as caught:
            SessionCache.load(path)
        assert path.read_bytes() == wrong and [p.name for p in tmp_path.iterdir()] == ["sessions"]
        assert "private key" not in str(caught.value)


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        SessionCache().save(tmp_path / "missing" / "sessions")


# -- a session that draws no answer ------------------------------------------------------------


def offering(variant: str, eaten) -> Pair:
    """A client with a session, on a path that loses what ``eaten`` says of its datagrams."""
    client, server = configs(variant)
    server = dataclasses.replace(server, ticket_keys=TicketKeys())
    first = Pair(client, server)
    assert first.run() and first.connected
    first.idle()
    found = first.client.session
    assert found is not None
    link = Link(filter=lambda who, n, data: [] if who == CLIENT and eaten(n, data, found) else None)
    return Pair(client, server, link, session=found)


def has_ticket(number: int, data: bytes, found: Session) -> bool:
    return found.ticket[:24] in data


@pytest.mark.parametrize("variant", ["certificate", "psk", "certificate13", "psk13", "cid13"])
def test_a_session_that_draws_no_answer_is_given_up(variant):
    """After two resends, and the handshake goes on without it."""
    pair = offering(variant, has_ticket)
    assert pair.run(limit=20) and pair.connected
    assert not pair.client.resumed and not pair.server.resumed
    pair.idle()
    pair.exchange()
    events = pair.events[CLIENT]
    at = next(n for n, event in enumerate(events) if isinstance(event, SessionRevoked))
    sent = [event for event in events[:at] if isinstance(event, FlightSent)]
    assert [flight.resend for flight in sent] == [0, 1, 2]
    assert pair.client.session is not None or variant == "psk"


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_session_whose_hello_is_lost_twice_is_resumed(variant):
    pair = offering(variant, lambda number, data, found: number < 2)
    assert pair.run(limit=20) and pair.connected and pair.client.resumed
    assert not any(isinstance(event, SessionRevoked) for event in pair.events[CLIENT])


def test_a_session_is_kept_while_an_answer_comes_in_parts():
    """The first datagram of the ServerHello has come, and the rest is late."""
    small = {"pmtu": 256, "groups": ["secp521r1"]}
    client, server = (dataclasses.replace(config, **small) for config in configs("certificate13"))
    server = dataclasses.replace(server, ticket_keys=TicketKeys())
    first = Pair(client, server)
    assert first.run() and first.connected
    first.idle()

    def late(who: str, number: int, data: bytes) -> list[tuple[float, bytes]] | None:
        return [(9.0, data)] if who != CLIENT and number else None

    pair = Pair(client, server, Link(filter=late), session=first.client.session, cookie=False)
    assert pair.run(limit=60) and pair.connected, pair.client.failure
    assert not any(isinstance(event, SessionRevoked) for event in pair.events[CLIENT])
    assert pair.client.resumed


def test_a_late_answer_to_the_hello_with_the_session_leads_to_a_handshake():
    """Its cookie fits no other hello, and the server asks for the next one (DTLS 1.2)."""
    pair = offering("certificate", lambda number, data, found: False)
    pair.link.filter = lambda who, number, data: [(4.5, data)] if number < 3 else None
    assert pair.run(limit=60) and pair.connected
    pair.exchange()


def late_answers(
    variant: str, seconds: float, *, cookie: bool, refused: bool, groups: list[str] | None = None
) -> Pair:
    """A client with a session, and a server whose answers come no earlier than that."""
    client, server = (dataclasses.replace(config, groups=groups) for config in configs(variant))
    server = dataclasses.replace(server, ticket_keys=TicketKeys())
    first = Pair(client, server)
    assert first.run() and first.connected
    first.idle()
    if refused:
        server = dataclasses.replace(server, ticket_keys=TicketKeys())
    pair = Pair(client, server, session=first.client.session, cookie=cookie)

    def late(who: str, number: int, data: bytes) -> list[tuple[float, bytes]] | None:
        return None if who == CLIENT else [(max(0.0, seconds - pair.elapsed), data)]

    pair.link.filter = late
    return pair


def was_given_up(pair: Pair) -> bool:
    return any(isinstance(event, SessionRevoked) for event in pair.events[CLIENT])


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("retries", [False, True])
@pytest.mark.parametrize("variant", ["certificate13", "mutual13", "cid13"])
@pytest.mark.parametrize("seconds", [7.02, 8.0, 15.0])
def test_a_late_answer_to_a_hello_with_a_session_is_understood(variant, seconds, retries, refused):
    """DTLS 1.3: two hellos are out, and the transcript is that of the one which was answered."""
    groups = {"cookie": retries, "groups": None if retries else ["x25519"]}
    pair = late_answers(variant, seconds, refused=refused, **groups)
    assert pair.run(limit=60) and pair.connected, pair.client.failure
    assert was_given_up(pair)
    # After a HelloRetryRequest the second hello offers it no more.
    wanted = not (refused or retries)
    assert [pair.client.resumed, pair.server.resumed] == [wanted, wanted]
    pair.idle()
    pair.exchange()


def test_a_retry_without_a_cookie_is_understood_too():
    """A server that keeps state and wants another group."""
    pair = late_answers("certificate13", 8.0, cookie=False, refused=False)
    assert pair.run(limit=60) and pair.connected, pair.client.failure
    assert was_given_up(pair)
    pair.exchange()


@pytest.mark.parametrize("refused", [False, True])
def test_a_late_answer_with_a_psk_is_understood(refused):
    """The first PSK is the session's in one hello, and the configured one in the other."""
    pair = late_answers("psk13", 8.0, cookie=False, refused=refused, groups=["x25519"])
    assert pair.run(limit=60) and pair.connected, pair.client.failure
    wanted = not refused
    assert was_given_up(pair)
    assert [pair.client.resumed, pair.server.resumed] == [wanted, wanted]
    assert pair.client.psk_identity == pair.server.psk_identity is not None
    pair.exchange()


def test_a_late_resumption_of_dtls12_is_understood():
    pair = late_answers("certificate", 8.0, cookie=False, refused=False)
    assert pair.run(limit=60) and pair.connected, pair.client.failure
    assert was_given_up(pair) and pair.client.resumed
    pair.exchange()


@pytest.mark.parametrize("retries", [False, True])
def test_forged_records_do_not_decide_which_hello_was_answered(retries):
    """The server's own records are late behind its ServerHello."""
    groups = {"cookie": retries, "groups": None if retries else ["x25519"]}
    pair = late_answers("certificate13", 8.0, refused=True, **groups)
    late = pair.link.filter

    def later(who: str, number: int, data: bytes) -> list[tuple[float, bytes]] | None:
        fate = late(who, number, data)
        if who == CLIENT or data[0] & 0xE0 != 0x20:
            return fate
        junk = bytes((0x2E, 0, number, 0, 40)) + bytes(40)
        return [(at, junk) for at, _ in fate] + [(at + 0.1, data) for at, data in fate]

    pair.link.filter = later
    assert pair.run(limit=60) and pair.connected, pair.client.failure
    pair.exchange()


def test_a_client_without_a_session_begins_once():
    client, server = configs("certificate")
    pair = Pair(client, server, Link(filter=lambda who, number, data: []))
    pair.idle(40)
    assert not any(isinstance(event, SessionRevoked) for event in pair.events[CLIENT])
    hellos = {data[25:] for data in pair.sent[CLIENT]}
    assert len(pair.sent[CLIENT]) > 4 and len(hellos) == 1


def test_the_age_of_a_ticket_is_in_milliseconds():
    """RFC 8446 section 4.2.11.1."""
    issued = session(issued_at=1000.0, age_add=7)
    assert issued.ticket_age_at(1000.0) == 7
    assert issued.ticket_age_at(1001.5) == 1507
    # The clock was set back.
    assert issued.ticket_age_at(900.0) == 7
    late = dataclasses.replace(issued, age_add=(1 << 32) - 1)
    assert late.ticket_age_at(1001.0) == 999


def test_a_store_and_a_cache_have_room_for_something():
    for wrong in ({"limit": 0}, {"max_bytes": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            MemorySessionStore(**wrong)
    for wrong in ({"limit": 0}, {"per_server": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            SessionCache(**wrong)


def test_one_session_of_a_server_can_be_discarded(clock):
    cache = SessionCache()
    sessions = [session(ticket=name) for name in (b"a", b"b", b"c")]
    for each in sessions:
        cache.put("server", each)
    cache.discard("server", sessions[2])
    assert cache.get("server") == sessions[1]
    cache.discard("server", sessions[1])
    assert cache.get("server") == sessions[0]
    cache.put("server", sessions[0])
    cache.discard("server")
    assert cache.get("server") is None


def test_a_cache_keeps_sessions_of_dtls13_beside_one_of_dtls12(clock):
    cache = SessionCache()
    for name in (b"a", b"b"):
        cache.put("server", session(ticket=name))
    of_12 = session(version="1.2", ticket=b"c")
    cache.put("server", of_12)
    cache.put("server", session(ticket=b"d"))
    assert [cache.get("server").ticket for _ in range(3)] == [b"d", b"c", b"c"]
    cache.discard("server", of_12)
    assert [cache.get("server").ticket for _ in range(2)] == [b"b", b"a"]


def test_an_empty_ticket_is_no_session():
    """RFC 5077 section 3.3: the server has changed its mind."""
    change = with_fields(ticket=b"")
    outcome = Deviation("certificate", SERVER, NewSessionTicket12, change).run()
    assert outcome.connected and outcome.honest.session is None
