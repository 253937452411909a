"""Resumption in both versions: by ticket and by session id, with cookie, loss and refusals."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from aiodtls import (
    PSK,
    ConfigError,
    Credentials,
    DTLSConfig,
    MemorySessionStore,
    Session,
    SessionCache,
    TicketKeys,
    Trust,
)
from aiodtls.core import sessions
from aiodtls.core.events import Confirmed, SessionReceived
from aiodtls.core.registry import CertificateType
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.ticket_rotation import World
from tests.simulated.variants import configs, pair_options

VARIANTS = ["certificate", "mutual", "psk", "ecdhe_psk", "certificate13", "mutual13", "psk13"]


class Again:
    """A client and a server that meet twice: ``first`` is whole, the others resume."""

    def __init__(self, variant: str, client: Any = None, server: Any = None) -> None:
        self.client, self.server = configs(variant)
        self.client = dataclasses.replace(self.client, **(client or {}))
        self.server = dataclasses.replace(
            self.server, **({"ticket_keys": TicketKeys()} | (server or {}))
        )
        self.options = pair_options(variant)
        self.first = self.meet(None)
        assert self.first.run() and self.first.connected
        self.first.idle()
        assert not self.first.client.resumed

    def meet(self, session: Session | None, link: Link | None = None, **changed: Any) -> Pair:
        options = {"client": self.client, "server": self.server} | changed
        return Pair(options["client"], options["server"], link, session=session, **self.options)

    def resume(self, link: Link | None = None, **changed: Any) -> Pair:
        session = self.first.client.session
        assert session is not None
        pair = self.meet(Session.from_bytes(session.to_bytes()), link, **changed)
        assert pair.run(limit=130), "undecided"
        return pair


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_sides_see_the_session_and_who_the_peer_is(variant):
    again = Again(variant)
    pair = again.resume()
    assert pair.connected and pair.client.resumed and pair.server.resumed
    pair.exchange()
    for side in ("client", "server"):
        before, now = getattr(again.first, side), getattr(pair, side)
        assert now.peer_certificate_chain == before.peer_certificate_chain
        assert now.psk_identity == before.psk_identity
        assert now.cipher_suite == before.cipher_suite
        assert now.server_hostname == before.server_hostname
        assert now.confirmed
    label = "EXPERIMENTAL label"
    exported = pair.client.export_keying_material(label, 32)
    assert exported == pair.server.export_keying_material(label, 32)
    assert exported != again.first.client.export_keying_material(label, 32)


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_chain_of_resumptions_goes_on(variant):
    again = Again(variant)
    session = again.first.client.session
    for _ in range(4):
        pair = again.meet(session)
        assert pair.run() and pair.connected
        pair.idle()
        assert pair.client.resumed and pair.server.resumed
        session = pair.client.session


def test_a_server_gives_as_many_tickets_as_it_is_told_to():
    for count in (0, 1, 5):
        again = Again("certificate13", server={"session_tickets": count})
        events = [e for e in again.first.events[CLIENT] if isinstance(e, SessionReceived)]
        assert len(events) == count
        assert len({event.session.secret for event in events}) == count
        # Acknowledged: nothing is left to resend.
        assert again.first.server.next_timeout() is None


@pytest.mark.parametrize("variant", ["mutual", "psk"])
def test_session_ids_serve_clients_without_tickets(variant):
    store = MemorySessionStore()
    again = Again(variant, client={"session_tickets": 0}, server={"session_store": store})
    session = again.first.client.session
    assert session is not None and not session.ticket and len(session.session_id) == 32
    pair = again.resume()
    assert pair.connected and pair.client.resumed and pair.server.resumed
    pair.exchange()
    # Another server does not know it: a full handshake in the same exchange.
    pair = again.resume(
        server=dataclasses.replace(again.server, session_store=MemorySessionStore())
    )
    assert pair.connected and not pair.client.resumed and not pair.server.resumed


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_raw_public_keys_are_resumed_as_such(version):
    key = ec.generate_private_key(ec.SECP256R1())
    both = DTLSConfig(
        versions=[version],
        credentials=Credentials.raw_public_key(key),
        trust=Trust.public_keys(key.public_key()),
        client_auth="required",
    )
    first = Pair(both, both)
    assert first.run() and first.connected
    first.idle()
    pair = Pair(both, both, session=first.client.session)
    assert pair.run() and pair.connected and pair.client.resumed and pair.server.resumed
    for side in ("client", "server"):
        shown = getattr(pair, side).negotiated
        assert shown.peer_chain == getattr(first, side).negotiated.peer_chain
        assert shown.peer_certificate_type == CertificateType.RawPublicKey


# -- refusals: a full handshake follows in the same exchange --------------------------------------


@pytest.mark.parametrize("variant", ["certificate", "mutual", "psk"])
def test_a_ticket_of_an_older_secret_is_renewed(variant):
    """RFC 5077 section 3.3. In DTLS 1.3 every handshake gives tickets anyway."""
    old, new = b"o" * 32, b"n" * 32
    again = Again(variant, server={"ticket_keys": TicketKeys(old)})
    first = again.first.client.session
    same = again.resume()
    assert same.client.resumed and same.client.session.ticket == first.ticket
    both = dataclasses.replace(again.server, ticket_keys=TicketKeys(new, old))
    pair = again.resume(server=both)
    assert pair.client.resumed and pair.server.resumed
    pair.exchange()
    renewed = pair.client.session
    assert renewed.ticket != first.ticket
    # It has no longer to live for that.
    assert renewed.authenticated_at == first.authenticated_at
    assert abs(renewed.issued_at + renewed.lifetime - first.issued_at - first.lifetime) <= 1
    alone = dataclasses.replace(again.server, ticket_keys=TicketKeys(new))
    last = again.meet(renewed, server=alone)
    assert last.run() and last.connected and last.client.resumed
    assert last.server.peer_certificate_chain == again.first.server.peer_certificate_chain


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_tickets_of_other_keys_lead_to_a_full_handshake(variant):
    again = Again(variant)
    other = dataclasses.replace(again.server, ticket_keys=TicketKeys())
    pair = again.resume(server=other)
    assert pair.connected and not pair.client.resumed and not pair.server.resumed
    pair.exchange()


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_tickets_without_resumption_lead_to_a_full_handshake(variant):
    again = Again(variant)
    pair = again.resume(server=dataclasses.replace(again.server, session_tickets=0))
    assert pair.connected and not pair.client.resumed
    pair.exchange()


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_session_is_bound_to_the_protocol_above_it(variant):
    again = Again(variant, client={"alpn_protocols": ["a"]}, server={"alpn_protocols": ["a", "b"]})
    assert again.resume().client.resumed
    pair = again.resume(client=dataclasses.replace(again.client, alpn_protocols=["b"]))
    assert pair.connected and not pair.client.resumed and pair.client.alpn_protocol == "b"


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_session_is_bound_to_the_servers_name(variant):
    again = Again(variant)
    again.options["server_hostname"] = "other.example"
    pair = again.resume()
    assert pair.connected and not pair.client.resumed


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
def test_a_client_that_is_no_longer_trusted_does_not_resume(variant):
    again = Again(variant)
    stranger = Trust.fingerprints(Credentials.self_signed("else").fingerprint())
    pair = again.resume(server=dataclasses.replace(again.server, trust=stranger))
    assert pair.client.closed and not pair.accepted


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_client_without_a_certificate_does_not_resume_where_one_is_required_now(variant):
    again = Again(variant)
    strict = dataclasses.replace(again.server, trust=Trust.insecure(), client_auth="required")
    assert not again.resume(server=strict).connected


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_client_that_no_longer_trusts_the_server_does_not_resume(variant):
    again = Again(variant)
    stranger = Trust.fingerprints(Credentials.self_signed("else").fingerprint())
    pair = again.resume(client=dataclasses.replace(again.client, trust=stranger))
    assert not pair.connected and pair.client.closed


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_a_changed_key_or_identity_ends_its_sessions(variant):
    again = Again(variant)
    changed = dataclasses.replace(again.server, psk=PSK("device", b"another key, 16+"))
    assert not again.resume(server=changed).connected
    removed = dataclasses.replace(again.server, psk={"nobody": b"another key, 16+"})
    assert not again.resume(server=removed).connected


def test_the_wish_to_ask_for_a_psk_again_is_met_asynchronously():
    client, _ = configs("psk13")
    server = dataclasses.replace(client, psk=lambda identity, context: None)
    asked = []

    def answer(side, question):
        asked.append(question.identity)
        return b"0123456789abcdef"

    first = Pair(client, server, answers=answer)
    assert first.run() and first.connected
    first.idle()
    pair = Pair(client, server, answers=answer, session=first.client.session)
    assert pair.run() and pair.connected and pair.server.resumed
    assert asked == [b"device", b"device"]


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_sessions_end_after_their_lifetime(variant):
    again = Again(variant)
    later = again.first.wall_clock() + sessions.MAX_LIFETIME + 1
    session = again.first.client.session
    assert session.is_alive_at(later - 30) and not session.is_alive_at(later)
    # A client whose clock stood still offers it all the same.
    aged = dataclasses.replace(session, issued_at=later, authenticated_at=later)
    again.options["wall_time"] = later
    pair = again.meet(aged)
    assert pair.run() and pair.connected and not pair.client.resumed


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_of_one_version_leaves_the_choice_of_the_other_open(version):
    credentials = Credentials.self_signed("localhost")
    server = DTLSConfig(credentials=credentials, ticket_keys=TicketKeys())
    client = DTLSConfig(trust=Trust.fingerprints(credentials.fingerprint()))
    first = Pair(client, dataclasses.replace(server, versions=[version]))
    assert first.run() and first.connected
    first.idle()
    session = first.client.session
    assert session.version == version
    for versions in (["1.2"], ["1.3"], ["1.2", "1.3"]):
        pair = Pair(client, dataclasses.replace(server, versions=versions), session=session)
        assert pair.run() and pair.connected
        assert pair.client.resumed == (version == pair.client.version)
        assert pair.client.version == max(versions)
        pair.exchange()


# -- the endgame of the abbreviated handshake of DTLS 1.2, where the client sends last -------------


def agree(pair: Pair) -> None:
    assert pair.run(limit=130), "undecided"
    assert pair.connected, (pair.client.failure, pair.server.failure)
    assert pair.client.resumed and pair.server.resumed
    if pair.client.version == "1.3":
        # Only an ACK confirms the client, and that may have been lost too.
        assert pair.run(lambda: pair.client.confirmed, limit=70)
    pair.link.filter = None
    pair.exchange()
    assert pair.client.confirmed and pair.server.confirmed


@pytest.mark.parametrize("variant", ["certificate", "mutual", "psk", "certificate13", "psk13"])
@pytest.mark.parametrize("times", [1, 3])
def test_each_datagram_of_a_resumed_handshake_lost(variant, times):
    again = Again(variant)
    for sender, number in itertools.product((CLIENT, SERVER), range(4)):
        lost = range(number, number + times)

        def strike(who, count, data, sender=sender, lost=lost):
            return [] if who == sender and count in lost else None

        pair = again.resume(Link(filter=strike))
        if times == 3 and number == 0:
            # The hello and two resends drew no answer: the session was given up.
            assert pair.connected and not pair.client.resumed
            pair.link.filter = None
            pair.exchange()
        else:
            agree(pair)


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_the_last_flight_and_the_first_data_lost_together(variant):
    again = Again(variant)
    pair = again.meet(again.first.client.session)
    assert pair.run(lambda: pair.client.handshake_complete)
    last = pair.link.counts[CLIENT]
    # The client's last flight is on its way: it is lost, and the data behind it too.
    pair._in_flight.clear()
    pair.send(CLIENT, b"lost too")
    pair._in_flight.clear()
    assert pair.link.counts[CLIENT] == last + 1
    agree(pair)
    assert b"lost too" not in pair.data[SERVER]


def test_data_that_overtakes_the_clients_last_flight_is_kept():
    again = Again("certificate")
    pair = again.meet(again.first.client.session)
    assert pair.run(lambda: pair.client.handshake_complete)
    pair._in_flight.clear()
    pair.send(CLIENT, b"early")
    pair.idle(0.5)
    assert not pair.data[SERVER] and not pair.server.handshake_complete
    agree(pair)
    assert pair.data[SERVER][0] == b"early"


def test_the_client_is_confirmed_by_the_servers_first_record():
    again = Again("certificate")
    pair = again.resume()
    assert pair.server.confirmed and not pair.client.confirmed
    pair.idle(100)
    assert not pair.client.confirmed
    pair.send(SERVER, b"x")
    pair.idle()
    assert pair.client.confirmed
    assert any(isinstance(event, Confirmed) for event in pair.events[CLIENT])


def test_a_server_may_confirm_at_once():
    again = Again("certificate", server={"confirm_resumption": True})
    pair = again.resume()
    pair.idle()
    assert pair.client.confirmed and not pair.data[CLIENT]


@pytest.mark.parametrize("variant", ["certificate", "psk13", "certificate13"])
def test_resumptions_at_a_third_of_loss(variant):
    # Twelve resends are a matter of seconds where the interval is capped.
    timers = {"retransmit_max": 2.0, "max_retransmits": 100, "handshake_timeout": 240.0}
    again = Again(variant, client=timers, server=timers)
    resumed = 0
    for seed in range(60):
        link = Link(loss=0.3, duplicate=0.1, reorder=0.1, seed=seed)
        pair = again.resume(link)
        assert pair.connected
        resumed += pair.client.resumed
    # A session that draws no answer is given up after two resends, and a full handshake follows.
    assert resumed >= 50


# -- keys, stores and caches -----------------------------------------------------------------------


def test_ten_thousand_tickets_across_rotation_and_restart(calendar):
    secret, older = bytes(range(32)), bytes(range(1, 33))
    [now] = calendar
    session = Session(version="1.3", suite=0x1301, secret=b"s" * 32, lifetime=6 * 24 * 3600)
    random = iter(range(1 << 20))
    keys, before = TicketKeys(secret, older), TicketKeys(older)
    tickets: list[bytes] = []
    for number in range(10_000):
        calendar[0] = now = now + 30
        made = dataclasses.replace(session, issued_at=now, authenticated_at=now)
        sealer = keys if number % 3 else before
        tickets.append(sealer.seal(made, lambda n: next(random).to_bytes(n, "big"), now))
        if number % 1000 == 0:
            # A restart, or another host.
            keys, before = TicketKeys(secret, older), TicketKeys(older)
        opened = keys.open(tickets[number * 7 // 10], now)
        assert opened is not None and opened.secret == session.secret
    assert len({ticket[:4] for ticket in tickets}) >= 3
    assert keys.open(tickets[-1], now + sessions.MAX_LIFETIME) is None


def test_nobody_is_refused_while_servers_restart_and_change_their_keys():
    world = World()
    world.run(600)
    assert world.resumed == 600 and not world.refused
    assert world.restarts > 10 and len(world.key_ids) > 5


def test_a_foreign_ticket_is_not_opened():
    with pytest.raises(ConfigError):
        TicketKeys(b"too short")
    keys = TicketKeys()
    ticket = keys.seal(Session(version="1.3", suite=0x1301, secret=b"s" * 32), lambda n: bytes(n))
    for spoilt in (b"", ticket[:15], ticket[:-1], bytes([ticket[0] ^ 1]) + ticket[1:]):
        assert keys.open(spoilt) is None


def test_secrets_are_in_no_repr():
    again = Again("certificate13")
    session = again.first.client.session
    for text in (repr(session), repr(again.server), repr(again.server.ticket_keys)):
        assert session.secret.hex() not in text and repr(session.secret)[2:-1] not in text
    assert "ticket" not in repr(session)


@pytest.mark.parametrize("data", [b"", b"\1", b"\2" + bytes(100), bytes(10_000)])
def test_what_is_no_session_is_refused(data):
    with pytest.raises(ValueError, match="not a session"):
        Session.from_bytes(data)


def test_a_cache_hands_out_tickets_of_dtls13_once():
    cache = SessionCache(limit=2)
    now = sessions.wall_clock()

    def session(version, secret):
        return Session(version=version, suite=1, secret=secret, issued_at=now, authenticated_at=now)

    for number in range(6):
        cache.put("a", session("1.3", b"%d" % number))
    taken = [cache.get("a") for _ in range(5)]
    assert [s.secret if s else None for s in taken] == [b"5", b"4", b"3", b"2", None]
    cache.put("a", session("1.2", b"x"))
    cache.put("a", session("1.2", b"y"))
    assert cache.get("a") == cache.get("a") == session("1.2", b"y")
    cache.put("b", session("1.2", b"z"))
    cache.put("c", session("1.2", b"z"))
    assert cache.get("a") is None
    cache.discard("b")
    assert cache.get("b") is None


def test_a_store_keeps_the_newest():
    store = MemorySessionStore(2)
    for number in range(4):
        store.put(bytes([number]), b"x")
    assert [store.get(bytes([number])) for number in range(4)] == [None, None, b"x", b"x"]
