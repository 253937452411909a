"""What our own hellos say, and what is made of the fields that DTLS 1.3 has only kept."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import SessionReceived
from aiodtls.core.handshake.client import MAX_HELLO_VERIFY_REQUESTS
from aiodtls.core.registry import ContentType, ExtensionType
from aiodtls.core.sessions import MAX_LIFETIME
from aiodtls.core.wire.extensions import ReturnRoutability
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.messages import (
    ClientHello,
    HelloVerifyRequest,
    ServerHello,
    encode_body,
    parse_body,
)
from aiodtls.core.wire.messages13 import NewSessionTicket13
from aiodtls.core.wire.records import HEADER, split_datagram
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.malicious import (
    Deviation,
    altered_messages,
    plaintext,
    seal,
    with_fields,
    without_extension,
)
from tests.simulated.variants import configs


def sent_by(variant: str, **options):
    """The messages of a handshake, as they were sent."""
    found = []
    with altered_messages(lambda hs, message, index: found.append(message)):
        pair = Pair(*configs(variant), cookie=False, **options)
        assert pair.run() and pair.connected
    return found, pair


@pytest.mark.parametrize("variant", ["certificate13", "psk13", "retry13"])
def test_the_legacy_fields_of_dtls13(variant):
    """RFC 9147 section 5.3, RFC 8446 section 4.1.2."""
    messages, _ = sent_by(variant)
    hellos = [m for m in messages if isinstance(m, ClientHello)]
    assert len(hellos) == 1 + (variant == "retry13")
    for hello in hellos:
        assert (hello.client_version, hello.session_id, hello.cookie) == (0xFEFD, b"", b"")
        assert hello.compression_methods == b"\0"
    (reply,) = [m for m in messages if isinstance(m, ServerHello)]
    assert (reply.server_version, reply.session_id, reply.compression_method) == (0xFEFD, b"", 0)


@pytest.mark.parametrize("cookie", [False, True])
def test_a_server_of_dtls13_echoes_no_session_id(cookie):
    """RFC 9147 section 5: the field of its ServerHello is empty whatever the client's says."""
    replies = []

    def look(hs, message, index):
        if isinstance(message, ServerHello):
            replies.append(message)

    change = with_fields(session_id=b"x" * 32)
    with altered_messages(look):
        Deviation("certificate13", CLIENT, ClientHello, change, cookie=cookie).is_accepted()
    assert [reply.session_id for reply in replies] == [b""]


@pytest.mark.parametrize("version", [0x0303, 0x0000, 0xFEFF, 0xFFFF])
@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
def test_the_version_of_a_record_in_the_clear_is_ignored(variant, version):
    """RFC 9147 section 4, RFC 8446 section 5.1."""

    def changed(data: bytes) -> bytes:
        result, at = b"", 0
        while at < len(data):
            if data[at] & 0xE0 == 0x20 or data[at + 3 : at + 5] != b"\0\0":
                return result + data[at:]
            kind, _, number, length = HEADER.unpack_from(data, at)
            end = at + 13 + length
            result += HEADER.pack(kind, version, number, length) + data[at + 13 : end]
            at = end
        return result

    pair = Pair(*configs(variant), Link(filter=lambda who, n, data: [(0.0, changed(data))]))
    assert pair.run() and pair.connected
    assert len(pair.sent[CLIENT]) <= 4
    pair.exchange()


def test_a_client_takes_so_many_hello_verify_requests_and_no_more():
    """RFC 6347 section 4.2.1 lets a server change its secret; more often is no honest server."""
    client = DTLSConnection.client(configs("certificate")[0], SERVER, 0.0)
    for seq in range(MAX_HELLO_VERIFY_REQUESTS + 1):
        client.datagrams_to_send()
        assert not client.closed
        body = encode_body(HelloVerifyRequest(b"cookie %d" % seq))
        fragment = Fragment(HelloVerifyRequest.msg_type, len(body), seq, 0, body)
        client.receive_datagram(plaintext(22, fragment.encode(), seq), SERVER, 0.0)
    assert "HelloVerifyRequest again" in str(client.failure)


def test_a_client_of_dtls13_only_refuses_hello_verify_request():
    """RFC 9147 section 5.2: a server that sends one speaks DTLS 1.2 at most."""
    client = DTLSConnection.client(configs("certificate13")[0], SERVER, 0.0)
    client.datagrams_to_send()
    body = encode_body(HelloVerifyRequest(b"cookie"))
    fragment = Fragment(HelloVerifyRequest.msg_type, len(body), 0, 0, body)
    client.receive_datagram(plaintext(22, fragment.encode(), 0), SERVER, 0.0)
    assert client.closed and "DTLS 1.2 at most" in str(client.failure)


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_servers_first_record_has_the_hellos_number(variant):
    """RFC 6347 section 4.2.1: for want of anything that it could have counted itself."""
    pair = Pair(*configs(variant))
    assert pair.run(lambda: len(pair.sent[SERVER]) > 1)
    hello = split_datagram(pair.sent[CLIENT][-1])[0][0]
    while parse_fragments(hello[2])[0].message_seq == 0:
        assert pair.step()
        hello = split_datagram(pair.sent[CLIENT][-1])[0][0]
    reply = split_datagram(pair.sent[SERVER][1])[0][0]
    assert parse_fragments(reply[2])[0].msg_type == ServerHello.msg_type
    assert reply[1] == hello[1] > 0


def test_no_routability_check_without_connection_ids():
    """RFC 9853 section 3."""
    replies = []

    def look(hs, message, index):
        if isinstance(message, ServerHello):
            replies.append(message)

    for variant in ("cid", "cid13"):
        with altered_messages(look):
            change = without_extension(ExtensionType.connection_id)
            Deviation(variant, CLIENT, ClientHello, change).is_accepted()
    assert len(replies) == 2
    assert all(ReturnRoutability.type not in reply.extensions for reply in replies)


def received_ticket(lifetime: int) -> list:
    pair = Pair(*configs("certificate13"))
    assert pair.run() and pair.connected
    pair.idle()
    pair.events[CLIENT].clear()
    body = encode_body(NewSessionTicket13(lifetime, 0, b"\x09", b"ticket"))
    fragment = Fragment(4, len(body), pair.server._driver.next_seq, 0, body)
    record = seal(pair.server, ContentType.handshake, fragment.encode())
    pair.client.receive_datagram(record, SERVER, pair.now)
    pair.flush()
    assert not pair.client.closed
    return [e.session for e in pair.events[CLIENT] if isinstance(e, SessionReceived)]


def test_no_ticket_lives_longer_than_seven_days():
    """RFC 8446 section 4.6.1, whatever the server says."""
    assert [s.lifetime for s in received_ticket(MAX_LIFETIME + 1)] == [MAX_LIFETIME]
    assert [s.lifetime for s in received_ticket(0xFFFFFFFF)] == [MAX_LIFETIME]
    assert [s.lifetime for s in received_ticket(60)] == [60]
    assert received_ticket(0) == []


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
@pytest.mark.parametrize(
    ("field", "age"), [("authenticated_at", MAX_LIFETIME + 1), ("issued_at", MAX_LIFETIME + 1)]
)
def test_a_session_that_is_too_old_is_not_offered(variant, field, age):
    _, pair = sent_by(variant)
    pair.idle()
    session = pair.client.session
    assert session is not None
    for offered, kept in ((True, session), (False, older(session, field, age))):
        messages, later = sent_by(variant, session=kept)
        hello = parse_body(ClientHello, encode_body(messages[0]))
        ticket = hello.extensions.get(ExtensionType.session_ticket)
        named = ExtensionType.pre_shared_key in hello.extensions or bool(ticket and ticket.ticket)
        assert named is offered and later.client.resumed is offered


def older(session, field: str, age: int):
    return dataclasses.replace(session, **{field: getattr(session, field) - age})
