"""Which sessions a client offers and a server takes up: all that they stand for must still hold."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from aiodtls import PSK, DTLSConfig, Session, TicketKeys, Trust
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.handshake import client as client_script
from aiodtls.core.handshake import resume12
from aiodtls.core.handshake.resumption import make_session, may_offer
from aiodtls.core.sessions import MAX_LIFETIME
from aiodtls.core.wire.messages import ClientHello, Finished, NewSessionTicket12
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import Deviation, altered_messages, with_fields, without_extension
from tests.simulated.variants import configs

KEYS = TicketKeys(bytes(range(32)))
VARIANTS = ["certificate", "certificate13", "mutual", "mutual13", "ecdhe_psk", "psk13"]


def both(variant: str, **server: Any) -> tuple[DTLSConfig, DTLSConfig]:
    client, other = configs(variant)
    return client, dataclasses.replace(other, **({"ticket_keys": KEYS} | server))


def session_of(variant: str, **server: Any) -> Session:
    pair = Pair(*both(variant, **server))
    assert pair.run() and pair.connected
    pair.idle()
    assert pair.client.session is not None
    return pair.client.session


# -- what a client offers ------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_session_is_offered_for_the_same_name_suite_and_key(variant):
    session, (config, _) = session_of(variant), both(variant)
    assert may_offer(config, session, "localhost", time.time())
    for name in ("other", None):
        assert not may_offer(config, session, name, time.time())
    others = [suite.name for suite in SUITES.values() if suite in config.suites]
    others.remove(SUITES[session.suite].name)
    if others:
        fewer = dataclasses.replace(config, cipher_suites=others)
        assert not may_offer(fewer, session, "localhost", time.time())
    renamed = dataclasses.replace(session, version="1.2" if session.version == "1.3" else "1.3")
    assert not may_offer(config, renamed, "localhost", time.time())


@pytest.mark.parametrize("variant", ["ecdhe_psk", "psk13"])
def test_a_session_of_a_psk_is_offered_while_the_psk_is_the_same(variant):
    session, (config, _) = session_of(variant), both(variant)
    for psk in (PSK("device", b"another key, 16b"), PSK("other", b"0123456789abcdef")):
        assert not may_offer(
            dataclasses.replace(config, psk=psk), session, "localhost", time.time()
        )
    without = DTLSConfig(versions=config.versions, trust=Trust.insecure())
    assert not may_offer(without, session, "localhost", time.time())


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_session_of_a_certificate_is_offered_where_certificates_are(variant):
    session, (config, _) = session_of(variant), both(variant)
    assert may_offer(config, session, "localhost", time.time())
    assert not may_offer(both(f"psk{variant[11:]}")[0], session, "localhost", time.time())


# -- what a server takes up, whatever the client offers -------------------------------------------


def resumes(
    variant: str,
    monkeypatch: pytest.MonkeyPatch,
    session: Session,
    name: str = "localhost",
    **server: Any,
) -> bool:
    """Whether a server resumes, of a client that offers any session."""
    monkeypatch.setattr(client_script, "may_offer", lambda *arguments: True)
    pair = Pair(*both(variant, **server), session=session, server_hostname=name)
    assert pair.run() and pair.connected
    assert pair.client.resumed == pair.server.resumed
    return pair.server.resumed


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_server_resumes_for_the_same_name_alone(variant, monkeypatch):
    """RFC 6066 section 3, RFC 8446 section 4.2.11."""
    session = session_of(variant)
    assert resumes(variant, monkeypatch, session)
    assert not resumes(variant, monkeypatch, session, name="other")


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
def test_a_client_that_is_asked_for_nothing_any_more_is_not_believed_by_a_session(
    variant, monkeypatch
):
    session = session_of(variant)
    assert resumes(variant, monkeypatch, session)
    assert not resumes(variant, monkeypatch, session, client_auth="none")


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_client_that_resumes_is_judged_again(variant, trusted):
    session = session_of(variant)
    asking = Trust.from_function(lambda chain, context: trusted)
    client, server = both(variant, trust=asking)
    pair = Pair(client, server, session=session, answers=lambda side, question: trusted)
    pair.run()
    assert pair.client.resumed is pair.connected is trusted


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
def test_a_client_that_proved_nothing_is_not_one_that_must(variant, monkeypatch):
    session = session_of(variant, client_auth="none")
    assert resumes(variant, monkeypatch, session, client_auth="optional")
    assert not resumes(variant, monkeypatch, session)


@pytest.mark.parametrize(("variant", "other"), [("certificate", 0xC02C), ("certificate13", 0x1302)])
def test_a_suite_that_the_server_has_no_more_is_not_resumed(variant, other, monkeypatch):
    session = session_of(variant)
    assert session.suite != other
    assert resumes(variant, monkeypatch, session, cipher_suites=[SUITES[session.suite].name])
    assert not resumes(variant, monkeypatch, session, cipher_suites=[SUITES[other].name])


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_server_without_a_certificate_resumes_no_session_of_one(variant, monkeypatch):
    session, psk = session_of(variant), PSK("device", b"0123456789abcdef")
    client, server = both(variant, credentials=None, psk=psk)
    monkeypatch.setattr(client_script, "may_offer", lambda *arguments: True)
    pair = Pair(dataclasses.replace(client, psk=psk), server, session=session)
    assert pair.run() and pair.connected
    assert pair.server.psk_identity == b"device" and not pair.server.resumed


@pytest.mark.parametrize("variant", ["ecdhe_psk", "psk13"])
def test_a_session_of_a_psk_that_is_gone_is_not_resumed(variant, monkeypatch):
    session = session_of(variant)
    asked = []

    def answer(side, question):
        asked.append(question.identity)

    monkeypatch.setattr(client_script, "may_offer", lambda *arguments: True)
    client, server = both(variant, psk=lambda identity: None)
    pair = Pair(client, server, session=session, answers=answer)
    pair.run(limit=300)
    assert set(asked) == {b"device"}
    assert not pair.client.handshake_complete and "internal" not in str(pair.client.failure)


def test_a_renewed_session_ends_when_what_it_renews_would_have_ended():
    """RFC 8446 section 4.6.1: seven days after the certificate was proved."""
    pair = Pair(*both("certificate13"))
    assert pair.run() and pair.connected
    negotiated = pair.client.negotiated
    now, day = 2_000_000_000.0, 24 * 3600
    for ago, lifetime, rest in ((0, MAX_LIFETIME, MAX_LIFETIME), (6 * day, MAX_LIFETIME, day)):
        negotiated.authenticated_at = now - ago
        made = make_session(negotiated, bytes(32), now, lifetime=lifetime)
        assert (made.lifetime, made.authenticated_at) == (rest, now - ago)
        assert make_session(negotiated, bytes(32), now, lifetime=60).lifetime == 60


# -- DTLS 1.2 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_finished_is_checked_in_a_resumption(side):
    """RFC 5246 section 7.4.9: it alone proves that the peer has the session's secret."""
    change = with_fields(verify_data=bytes(12))
    deviation = Deviation(
        both("certificate"), side, Finished, change, session=session_of("certificate")
    )
    deviation.is_refused("decrypt_error", match="Finished")


def test_a_session_of_a_suite_that_is_not_offered_is_not_taken_up():
    session = session_of("certificate")

    def others(hello):
        suites = tuple(code for code in hello.cipher_suites if code != session.suite)
        return dataclasses.replace(hello, cipher_suites=suites)

    deviation = Deviation(both("certificate"), CLIENT, ClientHello, others, session=session)
    assert not deviation.is_accepted().honest.resumed


def without_extended_master_secret() -> tuple[Pair, list[NewSessionTicket12]]:
    """A full handshake in which neither side asks for it."""
    lenient = {"require_extended_master_secret": False}
    tickets = []

    def look(hs, message, index):
        if isinstance(message, NewSessionTicket12):
            tickets.append(message)

    with altered_messages(look):
        outcome = Deviation(
            both("certificate"),
            CLIENT,
            ClientHello,
            without_extension(23),
            client=lenient,
            server=lenient,
        ).is_accepted()
    return outcome.pair, tickets


def test_a_session_without_extended_master_secret_is_not_kept(monkeypatch):
    """RFC 7627 section 5.3: a server gives no ticket for it, and a client keeps none."""
    pair, tickets = without_extended_master_secret()
    assert tickets == [] and pair.client.session is None
    monkeypatch.setattr(resume12, "_may_be_kept", lambda hs, hello: True)
    pair, tickets = without_extended_master_secret()
    assert len(tickets) == 1 and pair.client.session is None
