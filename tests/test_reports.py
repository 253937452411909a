"""A device that is refused: its operator finds the reason in the log, by an event, and counted."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import aiodtls
import aiodtls.testing
from aiodtls import PSK, Credentials, DTLSConfig, Trust, log, reports
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import END_REASONS, FAILURE_REASONS, HandshakeError, HandshakeTimeout
from aiodtls.core.events import HandshakeFailed
from aiodtls.core.listener import Listener
from aiodtls.core.registry import AlertDescription
from aiodtls.reports import MOST_PROVED, MOST_UNPROVED, FailureReports
from tests.pki import PKI
from tests.test_log import Lines, lines  # noqa: F401

KEY, OTHER_KEY = b"0123456789abcdef", b"fedcba9876543210"
# Months after the certificates of the tests were made.
LATER = 100 * 86400.0


@dataclass
class Case:
    """A way to be refused. ``stage`` and ``words`` are what the server must tell."""

    reason: str
    stage: str
    words: str
    client: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    is_expired: bool = False


def certified(reason: str, stage: str, words: str, client: Any, server: Any, **more: Any) -> Case:
    return Case(reason, stage, words, client, {"credentials": "own", **server}, **more)


def asked(client: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return client, {"client_auth": "required", "trust": "ca"}


EC12 = "TLS_ECDHE_ECDSA_WITH_AES_"
CASES = {
    "version": certified(
        "protocol_version",
        "negotiation",
        "the client offers DTLS 1.2; we have DTLS 1.3",
        {"versions": ["1.2"]},
        {"versions": ["1.3"]},
    ),
    "suite 1.3": certified(
        "no_common_cipher_suite",
        "negotiation",
        "the client offers TLS_AES_256_GCM_SHA384; we have TLS_AES_128_GCM_SHA256",
        {"cipher_suites": ["TLS_AES_256_GCM_SHA384"]},
        {"cipher_suites": ["TLS_AES_128_GCM_SHA256"]},
    ),
    "suite 1.2": certified(
        "no_common_cipher_suite",
        "negotiation",
        f"the client offers {EC12}256_GCM_SHA384; we have {EC12}128_GCM_SHA256",
        {"cipher_suites": [EC12 + "256_GCM_SHA384"]},
        {"cipher_suites": [EC12 + "128_GCM_SHA256"]},
    ),
    **{
        f"group {version}": certified(
            "no_common_group",
            "negotiation",
            "the client offers x25519; we have secp384r1",
            {"groups": ["x25519"], "versions": [version]},
            {"groups": ["secp384r1"]},
        )
        for version in ("1.2", "1.3")
    },
    **{
        f"scheme {version}": certified(
            "no_common_signature_scheme",
            "negotiation",
            "the client offers rsa_pss_rsae_sha256; our keys have ecdsa_secp256r1_sha256",
            {
                "signature_schemes": ["rsa_pss_rsae_sha256"],
                "versions": [version],
                # Else in DTLS 1.2 the suites already have nothing in common.
                "groups": ["secp256r1", "x25519"],
            },
            {},
        )
        for version in ("1.2", "1.3")
    },
    "unknown PSK 1.3": Case(
        "unknown_psk",
        "authentication",
        "the identity stranger",
        {"psk": PSK("stranger", KEY), "versions": ["1.3"]},
        {"psk": {"device": KEY}},
    ),
    "unknown PSK 1.2": Case(
        "unknown_psk",
        "timeout",
        "we know no PSK with the identity stranger",
        {"psk": PSK("stranger", KEY), "versions": ["1.2"]},
        {"psk": {"device": KEY}, "handshake_timeout": 0.4},
    ),
    "wrong PSK 1.3": Case(
        "wrong_psk",
        "authentication",
        "another key for the identity device",
        {"psk": PSK("device", OTHER_KEY), "versions": ["1.3"]},
        {"psk": {"device": KEY}},
    ),
    "wrong PSK 1.2": Case(
        "wrong_psk",
        "timeout",
        "did not open: is the key the same? The client named the identity device",
        {"psk": PSK("device", OTHER_KEY), "versions": ["1.2"]},
        {"psk": {"device": KEY}, "handshake_timeout": 0.4},
    ),
    **{
        f"no certificate {version}": certified(
            "no_certificate",
            "authentication",
            "the client has no certificate",
            *asked({"versions": [version]}),
        )
        for version in ("1.2", "1.3")
    },
    **{
        f"expired {version}": certified(
            "certificate_expired",
            "authentication",
            "expired",
            *asked({"versions": [version], "credentials": "own"}),
            is_expired=True,
        )
        for version in ("1.2", "1.3")
    },
    **{
        f"wrong issuer {version}": certified(
            "unknown_ca",
            "authentication",
            "the peer's certificate",
            *asked({"versions": [version], "credentials": "stranger's"}),
        )
        for version in ("1.2", "1.3")
    },
    "ALPN": certified(
        "no_application_protocol",
        "negotiation",
        "the client offers mqtt; we have coap",
        {"alpn_protocols": ["mqtt"]},
        {"alpn_protocols": ["coap"]},
    ),
}


def config_of(options: dict[str, Any], pki: PKI) -> DTLSConfig:
    options = dict(options)
    if "credentials" in options:
        own = options["credentials"] == "own"
        options["credentials"] = (
            pki.leaf().credentials if own else Credentials.self_signed("stranger")
        )
    if options.get("trust") == "ca":
        options["trust"] = pki.trust
    return DTLSConfig(**options)


class Told:
    """What ``on_event`` of a server was told about failed handshakes."""

    def __init__(self) -> None:
        self.failed: list[HandshakeFailed] = []
        self.endpoints: list[Any] = []
        self.has_failed = asyncio.Event()

    def __call__(self, endpoint: Any, event: Any) -> None:
        if isinstance(event, HandshakeFailed):
            self.failed.append(event)
            self.endpoints.append(endpoint)
            self.has_failed.set()


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def refused(client: DTLSConfig, server: DTLSConfig) -> tuple[Told, aiodtls.Statistics]:
    told = Told()
    async with aiodtls.serve(echo, "127.0.0.1", config=server, on_event=told) as serving:
        with pytest.raises(aiodtls.DTLSError):
            async with aiodtls.connect(*serving.sockname, config=client) as endpoint:
                await endpoint.recv()
        await asyncio.wait_for(told.has_failed.wait(), 30)
        return told, serving.statistics


@pytest.mark.parametrize("name", CASES)
async def test_the_reason_is_in_the_log_and_in_an_event_and_counted(
    name,
    pki,
    calendar,
    lines,  # noqa: F811
):
    case = CASES[name]
    options = {"handshake_timeout": 2, "retransmit_initial": 0.2, **case.client}
    if "psk" not in options:
        options["trust"] = Trust.insecure()
    client, server = config_of(options, pki), config_of(case.server, pki)
    if case.is_expired:
        calendar[0] += LATER
    told, statistics = await refused(client, server)

    [event] = told.failed
    assert (event.reason, event.stage) == (case.reason, case.stage)
    assert case.words in str(event.error)
    assert dict(statistics.failures) == {case.reason: 1}
    assert event.peername[0] == "127.0.0.1"
    about = [record for record in lines.records if record.name == "aiodtls.server"]
    [record] = [record for record in about if case.words in record.getMessage()]
    assert record.levelno == logging.INFO
    assert f"127.0.0.1:{event.peername[1]}" in record.getMessage()
    assert (record.dtls_reason, record.dtls_stage) == (case.reason, case.stage)
    assert record.dtls_peername == event.peername


async def test_a_device_that_falls_silent_is_told_of(server_config, client_config, lines):  # noqa: F811
    told = Told()
    server = replace(server_config, handshake_timeout=0.3)
    async with aiodtls.serve(echo, "127.0.0.1", config=server, on_event=told) as serving:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.setblocking(False)
            device.connect(serving.sockname)
            loop = asyncio.get_running_loop()
            connection = DTLSConnection.client(
                client_config, serving.sockname, loop.time(), server_hostname="localhost"
            )
            # A hello, the cookie, a hello with it, and nothing more.
            for _ in range(2):
                for data, _ in connection.datagrams_to_send():
                    await loop.sock_sendall(device, data)
                reply = await asyncio.wait_for(loop.sock_recv(device, 2048), 5)
                connection.receive_datagram(reply, serving.sockname, loop.time())
            await asyncio.wait_for(told.has_failed.wait(), 30)
        assert serving.statistics.failures == {"timeout": 1}
    [event] = told.failed
    assert (event.stage, event.reason) == ("timeout", "timeout")
    assert isinstance(event.error, HandshakeTimeout)
    assert any("timed out" in text for text in lines.texts())


async def test_a_hello_that_is_refused_without_state_has_no_endpoint(pki, lines):  # noqa: F811
    case = CASES["suite 1.3"]
    client = config_of(case.client | {"trust": Trust.insecure(), "handshake_timeout": 2}, pki)
    told, statistics = await refused(client, config_of(case.server, pki))
    assert told.endpoints == [None] and told.failed[0].address_proved is False
    # The client has resent its hello before it believed the alert.
    assert statistics.handshakes_failed == 0
    assert [r.msg for r in lines.records if r.name == "aiodtls.server"] == [log.HELLO_REFUSED.text]


async def test_connected_and_closed_say_who_and_what(lines, server_config, client_config):  # noqa: F811
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=server_config) as server,
        aiodtls.connect(*server.sockname, config=client_config) as endpoint,
    ):
        await endpoint.send(b"secret words")
        await endpoint.recv()
        port = endpoint.sockname[1]
        endpoint.close()
        [peer] = server.endpoints
        await peer.wait_closed()
    at_server = [r for r in lines.records if r.name == "aiodtls.server" and r.levelno > 10]
    connected, closed = at_server
    assert connected.getMessage().startswith(f"127.0.0.1:{port} connected: DTLS 1.3, TLS_")
    assert connected.dtls_cipher_suite and connected.dtls_event == "connected"
    assert "sent 12 bytes in 1 records, received 12 in 1" in closed.getMessage()
    assert closed.dtls_reason == "close_notify" and closed.dtls_duration >= 0
    assert not any("secret words" in text for text in lines.texts())


class Loop:
    """What a limit needs of a loop."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Any) -> None:
        self.calls.append((self.now + seconds, call))


def failure(*, proved: bool) -> HandshakeFailed:
    error = HandshakeError("refused")
    return HandshakeFailed(("192.0.2.1", 1), error, "hello", "table_full", proved)


@pytest.mark.parametrize(("proved", "most"), [(True, MOST_PROVED), (False, MOST_UNPROVED)])
def test_so_many_failures_a_second_are_reported_and_a_line_counts_the_rest(proved, most, lines):  # noqa: F811
    reports, loop, admitted = FailureReports(), Loop(), []
    for milliseconds in range(3000):
        loop.now = milliseconds / 1000
        if reports.admits(failure(proved=proved), loop):
            admitted.append(loop.now)
        while loop.calls and loop.calls[0][0] <= loop.now:
            loop.calls.pop(0)[1]()
    for start in admitted:
        assert sum(start <= at < start + 1 for at in admitted) <= most
    assert len(admitted) == 3 * most
    assert len(loop.calls) == 1
    loop.calls.pop()[1]()
    told = [int(text.split()[0]) for text in lines.texts() if "not reported" in text]
    assert sum(told) == 3000 - len(admitted)


def test_a_flood_of_refused_hellos_takes_little_memory():
    config = DTLSConfig(psk={"device": KEY}, cipher_suites=["TLS_AES_128_GCM_SHA256"])
    listener = Listener(config)
    other = DTLSConfig(trust=Trust.insecure(), cipher_suites=["TLS_AES_256_GCM_SHA384"])
    for number in range(1500):
        client = DTLSConnection.client(other, "server", 0.0, server_hostname="localhost")
        [(hello, _)] = client.datagrams_to_send()
        listener.receive_datagram(hello, ("192.0.2.1", number), 0.0)
        listener.datagrams_to_send()
    waiting = 0
    while listener.next_event() is not None:
        waiting += 1
    assert waiting == 1024
    assert listener.statistics.failures == {"no_common_cipher_suite": 1500}


def test_reasons_are_names_that_mean_one_thing():
    assert len(set(FAILURE_REASONS)) == len(FAILURE_REASONS)
    assert not set(FAILURE_REASONS) & set(AlertDescription.__members__)
    assert not set(FAILURE_REASONS) & set(END_REASONS)


async def test_at_debug_each_flight_is_a_line_and_resends_say_so(lines, credentials):  # noqa: F811
    config = DTLSConfig(credentials=credentials, retransmit_initial=0.05)
    async with aiodtls.testing.pair(server_config=config, loss=0.3, seed=5) as (client, _):
        await client.wait_confirmed()
    texts = [r.getMessage() for r in lines.records if r.name == "aiodtls.handshake"]
    for peer in ("192.0.2.2:2", "192.0.2.1:1"):
        assert any(text.startswith(f"to {peer}: ") for text in texts)
        assert any(text.startswith(f"from {peer}: ") for text in texts)
    assert any(" again, resend 1: client_hello (" in text for text in texts)
    [hello, *_] = [r for r in lines.records if r.msg == log.FLIGHT_SENT.text]
    assert hello.dtls_messages == ("client_hello",) and hello.dtls_event == "FlightSent"
    assert len(hello.dtls_datagram_sizes) == 1


async def test_lines_that_nobody_reads_are_not_made(monkeypatch):
    def made(*_: object) -> None:
        raise AssertionError("a line was made")

    monkeypatch.setattr(reports, "detail", made)
    monkeypatch.setattr(reports, "_negotiated", made)
    monkeypatch.setattr(log, "address", made)
    assert not logging.getLogger("aiodtls").isEnabledFor(logging.INFO)
    async with aiodtls.testing.pair() as (client, server):
        await client.send(b"data")
        await server.recv()
