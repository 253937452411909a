"""DTLSConnection on the virtual clock: timers, the endgame, alerts, limits."""

from __future__ import annotations

import dataclasses
import errno

import pytest

import aiodtls
from aiodtls import CertificateError, Credentials, DTLSConfig, Trust, events
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import HEADER, encode_alert
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs


def connected(variant: str = "certificate", **options) -> Pair:
    pair = Pair(*configs(variant), **options)
    assert pair.run() and pair.connected
    return pair


def plaintext_alert(description: AlertDescription, number: int = 99) -> bytes:
    body = encode_alert(AlertLevel.fatal, description)
    return HEADER.pack(ContentType.alert, 0xFEFD, number, len(body)) + body


def resends(pair: Pair, side: str) -> list[events.FlightSent]:
    return [e for e in pair.events[side] if isinstance(e, events.FlightSent) and e.resend]


# -- timers -------------------------------------------------------------------------------


def test_the_resend_schedule_to_the_letter():
    limits = {"handshake_timeout": None, "max_retransmits": 12}
    config = dataclasses.replace(configs("psk")[0], **limits)
    connection = DTLSConnection.client(config, "peer", 0.0)
    times = []
    while not connection.closed:
        connection.datagrams_to_send()
        at = connection.next_timeout()
        times.append(at)
        connection.handle_timeout(at)
    gaps = [later - earlier for earlier, later in zip([0, *times], times, strict=False)]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 64, 64, 64, 64, 64, 64]
    assert isinstance(connection.failure, aiodtls.HandshakeTimeout)
    assert connection.next_timeout() is None


def test_the_handshake_timeout_ends_it():
    connection = DTLSConnection.client(configs("psk")[0], "peer", 0.0)
    while not connection.closed:
        at = connection.next_timeout()
        connection.handle_timeout(at)
    assert at == 64.0
    assert isinstance(connection.failure, TimeoutError)


@pytest.mark.parametrize(
    "limits, seconds", [({"max_retransmits": 3}, 15), ({"handshake_timeout": 20}, 20)]
)
def test_a_last_flight_that_is_never_acknowledged_ends_the_client(limits, seconds):
    """DTLS 1.3: the server, which is silent, cannot know that the handshake is complete."""
    client, server = configs("certificate13")
    pair = Pair(dataclasses.replace(client, **limits), server)

    def lost(who, number, data):
        return [] if pair.client.handshake_complete else None

    pair.link = Link(filter=lost)
    assert pair.run(lambda: pair.client.handshake_complete)
    complete = pair.elapsed
    assert pair.run(lambda: pair.client.closed, limit=100)
    assert pair.client.failure.reason == "unacknowledged"
    assert pair.elapsed - complete == pytest.approx(seconds)
    assert pair.client.next_timeout() is None


def test_an_acknowledged_last_flight_leaves_no_timer():
    pair = Pair(*configs("certificate13"))
    assert pair.run(lambda: pair.client.confirmed)
    pair.idle(3.0)
    assert pair.client.next_timeout() is None


def test_a_call_too_early_does_no_harm():
    connection = DTLSConnection.client(configs("psk")[0], "peer", 0.0)
    connection.datagrams_to_send()
    connection.handle_timeout(0.9)
    assert connection.datagrams_to_send() == []
    connection.handle_timeout(0.99)
    assert len(connection.datagrams_to_send()) == 1


def test_a_new_initial_timeout_rescales_the_running_one():
    connection = DTLSConnection.client(configs("psk")[0], "peer", 0.0)
    connection.retransmit_initial = 0.5
    assert connection.next_timeout() == 0.5


@pytest.mark.parametrize("plain", [False, True])
def test_a_flight_that_has_begun_to_arrive_holds_one_resend_back(plain):
    client, server = configs("small_mtu")
    client = dataclasses.replace(client, resend_after_partial_flight=plain)

    # The server's flight takes several datagrams; only the first of them arrives.
    def lose_the_rest(who, number, data):
        return [] if who == SERVER and number >= 2 else None

    pair = Pair(client, server, Link(filter=lose_the_rest))
    pair.run(lambda: pair.elapsed > 1.05, limit=1.15)
    assert bool(resends(pair, CLIENT)) is plain
    pair.link.filter = None
    assert pair.run() and pair.connected


def test_emsgsize_cuts_the_flight_smaller_at_once():
    connection = DTLSConnection.client(
        configs("certificate")[0], "peer", 0.0, server_hostname="a" * 60 + ".example"
    )
    connection.datagrams_to_send()
    for limit in (1232, 548, 208):
        connection.transport_error(OSError(errno.EMSGSIZE, "too big"), 0.0)
        assert max(len(data) for data, _ in connection.datagrams_to_send()) <= limit
    connection.transport_error(OSError(errno.EMSGSIZE, "too big"), 0.0)
    assert connection.datagrams_to_send() == []


def test_icmp_ends_an_unfinished_client_and_nothing_else():
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    connection = DTLSConnection.client(configs("psk")[0], "peer", 0.0)
    connection.transport_error(refused, 0.0)
    assert connection.failure is refused
    pair = connected()
    pair.client.transport_error(refused, pair.now)
    pair.server.transport_error(refused, pair.now)
    pair.exchange()


# -- the endgame ----------------------------------------------------------------------------


def test_the_lost_last_flight_is_repeated_when_the_client_asks():
    def lose_finished(who, number, data):
        return [] if who == SERVER and number == 2 else None

    pair = Pair(*configs("certificate"), Link(filter=lose_finished))
    assert pair.run() and pair.connected
    assert pair.server.confirmed is False
    assert len(resends(pair, SERVER)) == 1
    pair.exchange()
    assert pair.server.confirmed


def test_a_server_that_has_closed_still_answers_for_its_last_flight():
    pair = Pair(*configs("certificate"), Link())
    pair.link.filter = lambda who, number, data: [] if who == SERVER and number == 2 else None
    pair.run(lambda: pair.has_server and pair.server.handshake_complete)
    pair.server.close(pair.now)
    pair.link.filter = None
    assert pair.run(lambda: pair.client.handshake_complete, limit=10)
    pair.run(lambda: pair.client.closed, limit=5)
    assert pair.client.failure.reason == "close_notify"
    pair.now += 300
    pair.listener.handle_timeout(pair.now)
    assert pair.listener.connections == []


def test_data_that_overtakes_the_servers_finished_is_kept():
    late = {"once": True}

    def delay_finished(who, number, data):
        if who == SERVER and number == 2 and late.pop("once", False):
            return [(0.5, data)]
        return None

    pair = Pair(*configs("certificate"), Link(filter=delay_finished))
    pair.run(lambda: pair.has_server and pair.server.handshake_complete)
    for number in range(20):
        pair.server.send(b"%d" % number, pair.now)
    pair.flush()
    pair.idle(1.0)
    assert pair.client.handshake_complete
    assert 14 <= len(pair.data[CLIENT]) <= 16
    assert pair.client.counters.records_too_early > 0


# -- alerts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_close_notify_both_ways(side):
    pair = connected()
    ours = pair.client if side == CLIENT else pair.server
    theirs = pair.server if side == CLIENT else pair.client
    ours.close(pair.now)
    ours.close(pair.now)
    pair.flush()
    pair.idle()
    assert ours.failure.reason == "local"
    assert theirs.failure.reason == "close_notify"
    with pytest.raises(aiodtls.EndpointClosed):
        ours.send(b"x", pair.now)


@pytest.mark.parametrize("variant", ["psk", "psk13"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_close_notify_is_answered_once(side, variant):
    """RFC 5246 section 7.2.1: with a close_notify of one's own."""
    pair = connected(variant)
    pair.idle()
    ours, theirs = (pair.client, pair.server)[:: 1 if side == CLIENT else -1]
    ours.close(pair.now)
    [(closing, _)] = ours.datagrams_to_send()
    theirs.receive_datagram(closing, side, pair.now)
    [(answer, _)] = theirs.datagrams_to_send()
    [(content_type, _, payload)] = ours._layer.receive(answer)
    assert (content_type, payload) == (ContentType.alert, b"\x01\x00")
    theirs.receive_datagram(closing, side, pair.now)
    assert theirs.datagrams_to_send() == []


def test_a_plaintext_alert_and_silence_end_a_handshake_before_the_peer_is_proved():
    connection = DTLSConnection.client(configs("psk")[0], "peer", 0.0)
    alert = plaintext_alert(AlertDescription.handshake_failure)
    connection.receive_datagram(alert, "peer", 0.0)
    assert not connection.closed
    while not connection.closed:
        connection.handle_timeout(connection.next_timeout())
    assert isinstance(connection.failure, aiodtls.HandshakeRefused)
    assert connection.failure.description == "handshake_failure"


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_plaintext_alert_never_ends_an_association(side):
    pair = connected()
    target = pair.client if side == CLIENT else pair.server
    for number in range(1000):
        target.receive_datagram(
            plaintext_alert(AlertDescription.internal_error, number), "x", pair.now
        )
    assert not target.closed
    pair.exchange()


def test_an_authenticated_fatal_alert_ends_it():
    pair = connected()
    record = pair.client._layer.protect(
        1, ContentType.alert, encode_alert(AlertLevel.fatal, AlertDescription.internal_error)
    )
    pair.server.receive_datagram(record, CLIENT, pair.now)
    assert pair.server.failure.reason == "peer_alert"
    assert pair.server.failure.__cause__.description == "internal_error"
    assert pair.server.datagrams_to_send() == []


@pytest.mark.parametrize("content_type", [20, 22, 24, 31])
def test_an_authenticated_fault_draws_one_alert(content_type):
    pair = connected()
    body = b"\x02" if content_type == 20 else bytes(20)
    if content_type == 22:
        next_seq = pair.server._driver._reassembly.next_seq
        body = Fragment(5, 0, next_seq, 0, b"").encode()
    record = pair.client._layer.protect(1, content_type, body)
    pair.server.receive_datagram(record, CLIENT, pair.now)
    if content_type == 20:
        return
    assert pair.server.closed
    assert len(pair.server.datagrams_to_send()) == 1


# -- what is asked of the owner ------------------------------------------------------------------


def psk_pair(answer) -> Pair:
    client = configs("psk")[0]
    server = dataclasses.replace(client, psk=lambda identity, context: None)
    return Pair(client, server, answers=lambda side, question: answer(question))


def test_a_psk_function_is_asked_by_the_owner():
    asked = []

    def answer(question):
        asked.append((question.identity, question.context.version))
        return b"0123456789abcdef"

    pair = psk_pair(answer)
    assert pair.run() and pair.connected
    assert asked == [(b"device", "1.2")]


def test_an_unknown_identity_looks_like_a_wrong_key():
    def transcript(answer):
        pair = psk_pair(answer)
        pair.run(limit=200)
        assert isinstance(pair.client.failure, aiodtls.HandshakeTimeout)
        return [len(data) for data in pair.sent[SERVER]], pair.client.failure.args

    assert transcript(lambda question: None) == transcript(lambda question: b"another key, 16+")


def test_an_exception_as_the_answer_is_an_internal_error():
    pair = psk_pair(lambda question: ValueError("the database"))
    pair.run()
    assert pair.client.failure.description == "internal_error"
    [closed] = [e for e in pair.events[SERVER] if isinstance(e, events.Closed)]
    assert "database" not in str(closed.error)
    assert isinstance(closed.error.__cause__, ValueError)


def test_late_and_unknown_answers_are_ignored():
    pair = connected()
    question = events.Event()
    pair.client.answer(question, b"x", pair.now)
    pair.exchange()


def test_while_a_question_waits_nothing_is_resent():
    waiting = []

    client = configs("psk")[0]
    server = dataclasses.replace(client, psk=lambda identity, context: None)
    pair = Pair(client, server)
    pair.run(lambda: any(hasattr(e, "identity") for e in pair.events[SERVER]), limit=5)
    waiting += [e for e in pair.events[SERVER] if hasattr(e, "identity")]
    sent = len(pair.sent[SERVER])
    pair.idle(20)
    assert len(pair.sent[SERVER]) == sent
    pair.server.answer(waiting[0], b"0123456789abcdef", pair.now)
    pair.flush()
    assert pair.run() and pair.connected


# -- limits and options ----------------------------------------------------------------------------


def test_the_sealing_limit_is_told_at_half_and_in_full():
    pair = connected()
    writer = pair.client._layer.writer
    writer.next_number = writer.alarm - 1
    pair.send(CLIENT, b"x")
    assert events.KeyLimitReached("sent", False) in pair.events[CLIENT]
    writer.next_number = writer.limit - 1
    pair.send(CLIENT, b"x")
    assert events.KeyLimitReached("sent", True) in pair.events[CLIENT]
    assert not pair.client.closed
    writer.next_number = writer.alarm - 1
    pair.send(CLIENT, b"x")
    assert pair.client.failure.reason == "key_limit"


def test_key_limit_close_closes():
    client, server = configs("certificate")
    pair = Pair(dataclasses.replace(client, key_limit="close"), server)
    pair.run()
    writer = pair.client._layer.writer
    writer.alarm = writer.limit_alarm = writer.limit
    writer.next_number = writer.limit - 1
    pair.send(CLIENT, b"x")
    assert pair.client.failure.reason == "key_limit"


def test_forged_records_are_counted_reported_and_close_nothing():
    pair = connected("psk")
    reader = pair.server._layer.readers[1]
    reader.forgery_alarm, reader.forgery_limit = 5, 10
    for number in range(20):
        forged = HEADER.pack(23, 0xFEFD, 1 << 48 | 500 + number, 40) + bytes(40)
        pair.server.receive_datagram(forged, CLIENT, pair.now)
    pair.flush()
    told = [e for e in pair.events[SERVER] if isinstance(e, events.KeyLimitReached)]
    assert told == [] or told == [
        events.KeyLimitReached("forged", False),
        events.KeyLimitReached("forged", True),
    ]
    assert pair.server.statistics.records_forged == 20
    pair.exchange()


def test_too_large_a_message_is_the_callers_fault_and_changes_nothing():
    pair = connected()
    before = pair.client.statistics
    with pytest.raises(aiodtls.MessageTooLarge):
        pair.client.send(bytes(pair.client.max_payload + 1), pair.now)
    assert pair.client.statistics == before
    pair.client.send(bytes(pair.client.max_payload), pair.now)
    [(datagram, _)] = pair.client.datagrams_to_send()
    assert len(datagram) == pair.client.max_datagram_size


def test_without_extended_master_secret_there_is_no_exporter():
    client, server = configs("certificate")
    off = {"require_extended_master_secret": False}
    pair = Pair(dataclasses.replace(client, **off), dataclasses.replace(server, **off))
    pair.run()
    pair.client.negotiated.extended_master_secret = False
    with pytest.raises(aiodtls.DTLSError):
        pair.client.export_keying_material("EXPERIMENTAL", 20)


def test_the_key_log_has_one_line_a_handshake(tmp_path):
    client, server = configs("certificate")
    path = tmp_path / "keys.log"
    lines = []
    pair = Pair(
        dataclasses.replace(client, keylog=path), dataclasses.replace(server, keylog=lines.append)
    )
    pair.run()
    word, random, secret = path.read_text().split()
    assert (word, len(random), len(secret)) == ("CLIENT_RANDOM", 64, 96)
    assert lines == [f"{word} {random} {secret}"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_key_log_has_a_line_of_a_resumed_handshake_too():
    client, server = configs("certificate")
    first = Pair(client, server)
    first.run()
    lines = {"client": [], "server": []}
    pair = Pair(
        dataclasses.replace(client, keylog=lines["client"].append),
        dataclasses.replace(server, keylog=lines["server"].append).succeeding(server),
        session=first.client.session,
    )
    pair.run()
    assert pair.client.resumed and lines["client"] == lines["server"]
    (line,) = lines["client"]
    assert line.split()[:2] == ["CLIENT_RANDOM", pair.client.negotiated.client_random.hex()]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_may_choose_the_protocol_by_a_function(version):
    asked = []

    def meet(choose) -> Pair:
        client, server = configs("certificate" if version == "1.2" else "certificate13")
        pair = Pair(
            dataclasses.replace(client, alpn_protocols=["coap", "mqtt"]),
            dataclasses.replace(server, alpn_protocols=lambda names: asked.append(names) or choose),
            cookie=False,
        )
        assert pair.run()
        return pair

    assert meet("mqtt").client.alpn_protocol == "mqtt"
    assert set(asked) == {("coap", "mqtt")}
    assert meet(None).client.alpn_protocol is None
    assert meet("xmpp").client.failure.description == "internal_error"
    with pytest.raises(aiodtls.ConfigError, match="for servers"):
        DTLSConfig(alpn_protocols=len).check_client("localhost")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_function_may_take_none_of_the_protocols(version):
    def refuse(names):
        raise LookupError(names)

    client, server = configs("certificate" if version == "1.2" else "certificate13")
    pair = Pair(
        dataclasses.replace(client, alpn_protocols=["coap"]),
        dataclasses.replace(server, alpn_protocols=refuse),
        cookie=False,
    )
    assert pair.run()
    assert pair.client.failure.description == "no_application_protocol"


def test_alpn_without_a_common_name_is_refused():
    client, server = configs("certificate")
    pair = Pair(
        dataclasses.replace(client, alpn_protocols=["a"]),
        dataclasses.replace(server, alpn_protocols=["b"]),
    )
    pair.run()
    assert pair.client.failure.description == "no_application_protocol"


def test_credentials_are_chosen_by_the_name_asked_for():
    names = ("one.example", "two.example")
    both = [aiodtls.Credentials.self_signed(name) for name in names]
    server = DTLSConfig(credentials=both)
    for name, credentials in zip(names, both, strict=True):
        pair = Pair(DTLSConfig(trust=aiodtls.Trust.insecure()), server, server_hostname=name)
        pair.run()
        assert pair.client.peer_certificate_chain == credentials.chain


def test_secrets_are_in_no_repr():
    pair = connected()
    secret = pair.client.negotiated.master_secret
    shown = repr(pair.client.negotiated) + repr(pair.client.config) + repr(pair.events)
    assert secret.hex() not in shown and repr(secret)[2:20] not in shown
    assert "0123456789abcdef" not in repr(configs("psk")[0])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("refuses", [CLIENT, SERVER])
def test_a_certificate_longer_than_the_config_allows_ends_the_handshake(version, refuses):
    credentials = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(credentials.fingerprint())
    # The list's length, the entry's, and in DTLS 1.3 a context and extensions.
    length = len(credentials.chain[0]) + (6 if version == "1.2" else 9)
    both = {"versions": [version], "credentials": credentials, "trust": trust}
    for most in (length, length - 1):
        configs = {
            side: DTLSConfig(
                **both,
                client_auth="required" if side == SERVER else "none",
                max_certificate_length=most if side == refuses else 1 << 17,
            )
            for side in (CLIENT, SERVER)
        }
        pair = Pair(configs[CLIENT], configs[SERVER], cookie=False)
        assert pair.run()
        assert pair.connected is (most == length)
    failure = (pair.client if refuses == CLIENT else pair.server).failure
    assert isinstance(failure, CertificateError) and "max_certificate_length" in str(failure)
