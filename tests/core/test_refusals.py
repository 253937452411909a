"""Refused handshakes: an alert of ours that is lost is heard, a stranger's is half believed."""

from __future__ import annotations

import dataclasses
import errno

import pytest

from aiodtls import Credentials, PeerAlert, Trust
from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import HandshakeRefused, HandshakeTimeout
from aiodtls.core.refusals import MAX_REFUSALS, MAX_REPEATS, Refusal, RefusalTable
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.core.wire.records import split_datagram
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.malicious import plaintext
from tests.simulated.variants import configs

OWN = Credentials.self_signed("device")
STRANGER = Trust.fingerprints(Credentials.self_signed("other").fingerprint())
ALERT = bytes((AlertLevel.fatal, AlertDescription.handshake_failure))
CLOSE_NOTIFY = bytes((AlertLevel.warning, AlertDescription.close_notify))


def refusing(side: str, version: str, **more) -> tuple[DTLSConfig, DTLSConfig]:
    """Configurations of which ``side`` refuses the other's certificate."""
    client, server = (
        dataclasses.replace(c, versions=[version], psk=None, **more) for c in configs("certificate")
    )
    if side == CLIENT:
        return dataclasses.replace(client, trust=STRANGER), server
    return (
        dataclasses.replace(client, credentials=OWN),
        dataclasses.replace(server, trust=STRANGER, client_auth="required"),
    )


class Refused:
    """A pair of which ``side`` refuses the other, and whose first ``lost`` alerts are lost."""

    def __init__(self, side: str, version: str, lost: int, *, cookie: bool = True, **link) -> None:
        self.side = side
        self.alerts: list[bytes] = []
        self.times: list[float] = []
        self.lost = lost
        self.pair = Pair(*refusing(side, version), cookie=cookie)
        self.servers: list[DTLSConnection] = []
        self.pair.link = Link(**link, filter=self._filter)
        assert self.pair.run(lambda: self.refuser is not None and self.refuser.closed)

    def _filter(self, sender: str, number: int, data: bytes):
        if sender != self.side or self.refuser is None or self.refuser.refusal is None:
            return None
        self.alerts.append(data)
        self.times.append(self.pair.now)
        return [] if len(self.alerts) <= self.lost else None

    def _server(self) -> DTLSConnection | None:
        if self.pair.has_server:
            self.servers.append(self.pair.server)
        return self.servers[-1] if self.servers else None

    @property
    def refuser(self) -> DTLSConnection | None:
        return self.pair.client if self.side == CLIENT else self._server()

    @property
    def refused(self) -> DTLSConnection | None:
        return self._server() if self.side == CLIENT else self.pair.client

    def is_told(self) -> bool:
        failure = self.refused.failure
        return isinstance(failure, PeerAlert) or isinstance(
            getattr(failure, "__cause__", None), PeerAlert
        )


@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("lost", [0, 1, 2, 3])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_refusal_is_heard_though_its_alert_is_lost(side, version, lost, cookie):
    case = Refused(side, version, lost, cookie=cookie)
    assert case.pair.run(case.is_told, limit=40), (case.alerts, case.refused.failure)
    assert len(case.alerts) > lost
    # Byte for byte: another record under the same keys would be another message.
    assert len(set(case.alerts)) == 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_an_alert_goes_out_four_times_in_all_and_never_in_quick_succession(side, version):
    case = Refused(side, version, lost=1000)
    case.pair.run(lambda: False, limit=300)
    assert len(case.alerts) == 1 + MAX_REPEATS
    gaps = [b - a for a, b in zip(case.times, case.times[1:], strict=False)]
    assert min(gaps) >= 0.25


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_refusal_is_heard_on_a_bad_network(side, version, seed):
    case = Refused(side, version, lost=1, loss=0.2, duplicate=0.2, reorder=0.2, seed=seed)
    assert case.pair.run(case.is_told, limit=64), case.refused.failure
    assert len(case.alerts) <= 1 + MAX_REPEATS


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_handshake_that_timed_out_tells_a_client_that_believes_itself_connected(version):
    """The close_notify of a server that has given up is kept as a refusal is."""
    client, server = configs("mutual" if version == "1.2" else "mutual13")
    server = dataclasses.replace(server, handshake_timeout=3.0)
    pair = Pair(client, server)
    servers: list[DTLSConnection] = []

    def deaf(sender, number, data):
        # Only hellos of the client's arrive for a while, and the first close_notify is lost.
        if pair.has_server and pair.server not in servers:
            servers.append(pair.server)
        return [] if servers and pair.elapsed < 6.0 else None

    pair.link.filter = deaf
    pair.run(lambda: bool(servers) and servers[-1].closed, limit=10)
    assert isinstance(servers[-1].failure, HandshakeTimeout)
    assert (servers[-1].refusal is not None) is (version == "1.3")


def test_a_refused_client_may_come_again_at_once():
    """A new proved cookie removes the alert of the attempt before."""
    case = Refused(SERVER, "1.3", lost=1000)
    pair = case.pair
    assert CLIENT in pair.listener._refusals
    pair.listener.config = refusing(CLIENT, "1.3")[1]
    pair.link.filter = None
    pair.client = DTLSConnection.client(
        refusing(SERVER, "1.3")[0], SERVER, pair.now, server_hostname="localhost"
    )
    pair.flush()
    assert pair.run() and pair.connected, pair.client.failure
    assert CLIENT not in pair.listener._refusals
    pair.exchange()


def test_a_repeated_hello_draws_the_alert_and_no_second_handshake():
    """The client has no suite in common, so its hello is refused once its cookie is proved."""
    client, server = configs("psk")
    client = dataclasses.replace(client, cipher_suites=["TLS_PSK_WITH_AES_128_CCM"])
    server = dataclasses.replace(server, cipher_suites=["TLS_PSK_WITH_AES_256_CCM"])
    pair = Pair(client, server)
    begun = []
    accept = pair.listener._accept
    pair.listener._accept = lambda *arguments: (begun.append(1), accept(*arguments))
    lost = []

    def lose(sender, number, data):
        if sender == SERVER and data[0] == ContentType.alert and not lost:
            lost.append(data)
            return []
        return None

    pair.link.filter = lose
    assert pair.run(lambda: pair.client.closed, limit=30)
    assert lost and len(begun) == 1
    assert isinstance(pair.client.failure, HandshakeRefused)
    assert pair.client.failure.description == "handshake_failure"


def test_a_refused_newcomer_is_told_beside_a_live_association():
    client, server = configs("mutual13")
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    pair.idle()
    live = pair.server
    alerts = []

    def lose(sender, number, data):
        if sender == SERVER and CLIENT in pair.listener._refusals:
            alerts.append(data)
            return [] if len(alerts) == 1 else None
        return None

    pair.link.filter = lose
    pair.client = DTLSConnection.client(
        dataclasses.replace(client, credentials=OWN), SERVER, pair.now, server_hostname="localhost"
    )
    pair.flush()
    assert pair.run(lambda: pair.client.closed, limit=20)
    assert not live.closed and len(set(alerts)) == 1


def record(content_type: int, number: int, body: bytes) -> tuple[int, int, bytes]:
    return content_type, number, body


def hello_record(random: bytes) -> tuple[int, int, bytes]:
    body = bytes((1, 0, 0, 60, 0, 1, 0, 0, 0, 0, 0, 60)) + b"\xfe\xfd" + random + bytes(26)
    return record(ContentType.handshake, 1, body)


@pytest.mark.parametrize(
    ("asking", "asks"),
    [
        (record(ContentType.handshake, 1, bytes((16,)) + bytes(40)), True),
        (record(ContentType.handshake, 1 << 48, bytes(40)), True),
        (record(ContentType.tls12_cid, 1 << 48, bytes(40)), True),
        (record(0x2E, 0, bytes(40)), True),
        (hello_record(b"r" * 32), True),
        (hello_record(b"s" * 32), False),
        (record(ContentType.handshake, 1, b""), True),
        (record(0x2F, 0, bytes(40)), False),
        (record(ContentType.application_data, 1 << 48, bytes(40)), False),
        (record(ContentType.alert, 1, bytes(2)), False),
        (record(ContentType.change_cipher_spec, 1, b"\1"), False),
        (record(ContentType.ack, 1, bytes(2)), False),
    ],
)
def test_records_of_the_refused_handshake_ask_for_the_alert_and_no_others(asking, asks):
    assert Refusal(b"alert", b"r" * 32, 0.25, 0.0).is_asked_for_by(asking) is asks


def test_without_a_known_hello_none_is_taken_for_a_repeat():
    assert not Refusal(b"alert", b"", 0.25, 0.0).is_asked_for_by(hello_record(b"r" * 32))


def test_the_table_drops_the_oldest():
    table = RefusalTable()
    for number in range(MAX_REFUSALS):
        table.keep(number, Refusal(b"alert", b"", 0.25, 0.0))
    table.keep(0, Refusal(b"newer", b"", 0.25, 0.0))
    table.keep("one more", Refusal(b"alert", b"", 0.25, 0.0))
    assert len(table) == MAX_REFUSALS
    assert 1 not in table and 0 in table and table.get(0).repeat(1.0) == b"newer"


# -- an alert of a stranger's --------------------------------------------------------------------


def with_alert(variant: str, side: str, at: float, body: bytes, **link) -> Pair:
    """A handshake into which an alert in the clear comes at that time."""
    pair = Pair(*configs(variant), Link(delay=0.1, **link))
    assert not pair.run(lambda: pair.elapsed >= at, limit=at)
    pair.now = pair.start + at
    target = pair.client if side == CLIENT else pair.server
    assert not target.handshake_complete
    target.receive_datagram(plaintext(ContentType.alert, body), "x", pair.now)
    pair.flush()
    return pair


@pytest.mark.parametrize("body", [ALERT, CLOSE_NOTIFY])
@pytest.mark.parametrize(
    ("side", "at"), [(CLIENT, 0.05), (CLIENT, 0.25), (CLIENT, 0.35), (SERVER, 0.35), (SERVER, 0.45)]
)
@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
def test_an_alert_in_the_clear_ends_no_handshake_that_is_answered(variant, side, at, body):
    pair = with_alert(variant, side, at, body)
    assert pair.run() and pair.connected, (pair.client.failure, pair.server.failure)
    assert pair.client.alert_hint is pair.server.alert_hint is None
    pair.exchange()
    pair.idle(10)
    assert pair.connected


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
def test_an_alert_in_the_clear_is_refuted_by_a_slow_peer(variant, seed):
    """Duplicates and reordering; what is late comes within the two waits."""
    pair = with_alert(variant, CLIENT, 0.05, ALERT, duplicate=0.3, reorder=0.5, seed=seed)
    assert pair.run() and pair.connected, (pair.client.failure, pair.server.failure)


def test_the_flight_goes_out_once_more_before_an_alert_is_believed():
    """The answer to the first flight was lost, and the first resend is not due yet."""
    lost = []

    def lose(sender, number, data):
        if sender == SERVER and pair.elapsed < 1.25:
            lost.append(data)
            return []
        return None

    pair = Pair(*configs("psk13"), Link(filter=lose))
    alert = plaintext(ContentType.alert, ALERT)
    pair.run(lambda: bool(lost))
    pair.now = pair.start + 0.3
    pair.client.receive_datagram(alert, SERVER, pair.now)
    assert pair.run() and pair.connected, pair.client.failure
    # The timer alone would have sent it again after 3 s.
    assert pair.elapsed < 2.0


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_an_alert_before_the_first_hello_says_nothing(variant):
    """A server that has sent nothing has asked for nothing that could be refused."""
    server = DTLSConnection.server(configs(variant)[1], CLIENT, 0.0)
    timeout = server.next_timeout()
    server.receive_datagram(plaintext(ContentType.alert, ALERT), CLIENT, 0.0)
    assert server.alert_hint is None and server.next_timeout() == timeout
    assert server.statistics.records_discarded == 1


@pytest.mark.parametrize("resends", [0, 1, 2, 4])
def test_how_long_silence_confirms_an_alert(resends):
    """The lesser of the timeout and twice the initial one, and the same again."""
    client = DTLSConnection.client(configs("psk")[0], SERVER, 0.0)
    client.datagrams_to_send()
    now = 0.0
    for _ in range(resends):
        now = client.next_timeout()
        client.handle_timeout(now)
        client.datagrams_to_send()
    now += 0.6
    client.receive_datagram(plaintext(ContentType.alert, ALERT), SERVER, now)
    came, resent = now, []
    while not client.closed:
        now = client.next_timeout()
        client.handle_timeout(now)
        resent += client.datagrams_to_send()
    patience = min(2.0**resends, 2.0)
    assert now == pytest.approx(came + 2 * patience)
    assert resent
    assert isinstance(client.failure, HandshakeRefused)


def test_an_alert_that_answers_a_resend_is_believed_sooner():
    client = DTLSConnection.client(configs("psk")[0], SERVER, 0.0)
    client.datagrams_to_send()
    client.handle_timeout(1.0)
    client.datagrams_to_send()
    client.receive_datagram(plaintext(ContentType.alert, ALERT), SERVER, 1.1)
    resent = 0
    while not client.closed:
        now = client.next_timeout()
        client.handle_timeout(now)
        resent += len(client.datagrams_to_send())
    # Both waits share the timeout of that resend.
    assert now == pytest.approx(3.0) and resent == 1


def test_a_second_alert_changes_nothing():
    client = DTLSConnection.client(configs("psk")[0], SERVER, 0.0)
    client.receive_datagram(plaintext(ContentType.alert, CLOSE_NOTIFY), SERVER, 0.0)
    client.receive_datagram(plaintext(ContentType.alert, ALERT, 1), SERVER, 0.5)
    while not client.closed:
        now = client.next_timeout()
        client.handle_timeout(now)
    assert now == pytest.approx(2.0) and client.failure.description == "close_notify"


def test_a_timeout_names_the_alert_that_came():
    config = dataclasses.replace(configs("psk")[0], handshake_timeout=1.5)
    client = DTLSConnection.client(config, SERVER, 0.0)
    client.receive_datagram(plaintext(ContentType.alert, ALERT), SERVER, 0.0)
    while not client.closed:
        client.handle_timeout(client.next_timeout())
    assert isinstance(client.failure, HandshakeRefused)


def test_a_port_that_closes_after_an_alert_leaves_the_alert_as_the_reason():
    """A program that refuses a handshake often ends at once, and its host tells of the port."""
    closed = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    client = DTLSConnection.client(configs("psk")[0], SERVER, 0.0)
    client.receive_datagram(plaintext(ContentType.alert, ALERT), SERVER, 0.1)
    client.transport_error(closed, 0.5)
    assert client.closed and isinstance(client.failure, HandshakeRefused)
    assert client.failure.description == "handshake_failure"
    assert client.failure.__cause__ is closed


def test_an_alert_says_nothing_while_we_owe_the_peer_an_answer():
    """A server that waits for a key sends nothing, and the client's silence is no refusal."""
    client, server = configs("psk")
    server = dataclasses.replace(server, psk=lambda identity, context: None)
    pair = Pair(client, server)
    assert pair.run(lambda: pair.has_server and pair.server._driver.is_asking)
    asking = pair.server
    asking.receive_datagram(plaintext(ContentType.alert, ALERT), CLIENT, pair.now)
    until = pair.now + 30
    while (due := asking.next_timeout()) is not None and due < until:
        asking.handle_timeout(due)
    assert not asking.closed and not asking.datagrams_to_send()


def test_fragments_of_old_messages_refute_no_alert():
    """Only what is awaited does; a repeat of what has come says nothing new."""
    pair = Pair(*configs("mutual"))
    assert pair.run(lambda: pair.client._driver.next_receive_seq == 1)
    repeat = pair.sent[SERVER][0]
    assert split_datagram(repeat)[0][0][0] == ContentType.handshake
    pair.client.receive_datagram(plaintext(ContentType.alert, ALERT), SERVER, pair.now)
    pair.client.receive_datagram(repeat, SERVER, pair.now)
    assert pair.client.alert_hint is not None


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_an_alert_that_was_refuted_ends_nothing_later(variant):
    """The server's request for a cookie comes, and then for a long while nothing."""

    def silent(sender, number, data):
        return [] if sender == SERVER and number and pair.elapsed < 8.0 else None

    pair = Pair(*configs(variant), Link(filter=silent))
    pair.client.receive_datagram(plaintext(ContentType.alert, ALERT), SERVER, pair.now)
    assert pair.run() and pair.connected, pair.client.failure
    assert pair.elapsed > 8.0
