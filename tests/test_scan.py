"""``aiodtls scan`` against our own server, and how it grades."""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
import time

import pytest

import aiodtls
from aiodtls import PSK, Credentials, DTLSConfig
from aiodtls.cli.scan.certificates import CertificateFacts
from aiodtls.cli.scan.exchange import Pace, Target, TooManySilences
from aiodtls.cli.scan.grading import findings_in
from aiodtls.cli.scan.progress import Progress
from aiodtls.cli.scan.report import lines_of
from aiodtls.cli.scan.survey import Survey, VersionFacts, survey
from tests.peers import run_to_end


async def scan(port: int, host: str = "127.0.0.1", name: str = "localhost") -> Survey:
    """A scan without pauses between its questions."""
    target = await Target.resolved(host, port, name)
    return await survey(target, Pace(interval=0), progress=Progress(shown=False))


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def scan_server(**fields: object) -> tuple[Survey, aiodtls.Statistics]:
    config = DTLSConfig(**fields)
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        seen = await scan(server.sockname[1])
        return seen, server.statistics


async def test_it_finds_what_a_server_is_configured_for(credentials):
    suites = ["TLS_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"]
    seen, _ = await scan_server(
        credentials=credentials,
        cipher_suites=suites,
        groups=["secp384r1", "secp256r1"],
        alpn_protocols=["coap"],
        signature_schemes=["ecdsa_secp256r1_sha256"],
    )
    assert list(seen.versions) == ["1.3", "1.2"]
    new, old = seen.versions["1.3"], seen.versions["1.2"]
    assert new.cipher_suites == (suites[0],) and old.cipher_suites == (suites[1],)
    assert new.groups == ("secp384r1", "secp256r1")
    assert set(old.groups) == {"secp384r1", "secp256r1"}
    for facts in (new, old):
        assert facts.signature_schemes == ("ecdsa_secp256r1_sha256",)
        assert facts.alpn_protocol == "coap"
        assert facts.cookie and facts.fragmented_hello
        assert facts.tickets and facts.connection_id and facts.return_routability_check
        assert 0 < facts.amplification <= 1
    assert old.extended_master_secret and old.renegotiation_info
    assert not seen.post_quantum
    [certificate] = seen.certificates
    assert "localhost" in certificate.names and certificate.matches_name
    assert {finding.grade for finding in findings_in(seen)} <= {"note", "good"}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_server_of_one_version(credentials, version):
    seen, _ = await scan_server(credentials=credentials, versions=[version])
    assert list(seen.versions) == [version]


async def test_a_server_with_psks_alone():
    """It takes the suites of DTLS 1.2; a hello of DTLS 1.3 without a PSK has no answer there."""
    seen, _ = await scan_server(psk=PSK("device", bytes(range(16))))
    assert "TLS_PSK_WITH_AES_128_GCM_SHA256" in seen.versions["1.2"].cipher_suites
    assert all("PSK" in suite for suite in seen.versions["1.2"].cipher_suites)


async def test_nothing_half_open_stays(credentials):
    config = DTLSConfig(credentials=credentials)
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        await scan(server.sockname[1])
        statistics = server.statistics
        begun = statistics.handshakes_completed + statistics.handshakes_failed
        assert statistics.handshakes_completed == 2 and begun > 10
        assert not server.endpoints


async def test_three_silences_end_it(free_udp_port, monkeypatch):
    """Nobody listens there, and it gives up after three questions."""
    monkeypatch.setattr("aiodtls.cli.scan.exchange.WAITS", (0.01,))
    seen = await scan(free_udp_port)
    assert not seen.versions and not seen.is_complete
    assert seen.questions == 3


async def test_the_pace():
    pace = Pace(interval=0.05, limit=4)
    begun = time.monotonic()
    for _ in range(3):
        await pace.wait()
        pace.note(answered=False)
    assert time.monotonic() - begun >= 0.1
    with pytest.raises(TooManySilences):
        await pace.wait()
    pace.note(answered=True)
    await pace.wait()
    assert pace.is_spent
    assert Pace()._interval == 0.5 and Pace()._limit == 200


def certificate(**changes: object) -> CertificateFacts:
    now = datetime.datetime.now(datetime.UTC)
    facts = CertificateFacts(
        subject="CN=a.example",
        issuer="CN=CA",
        names=("a.example",),
        key="ECDSA secp256r1",
        signature_hash="sha256",
        not_before=now - datetime.timedelta(days=1),
        not_after=now + datetime.timedelta(days=100),
        is_self_signed=False,
        key_bits=256,
        matches_name=True,
    )
    return dataclasses.replace(facts, **changes)


def modern(**changes: object) -> VersionFacts:
    facts = VersionFacts(
        cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",),
        groups=("x25519", "X25519MLKEM768"),
        signature_schemes=("ecdsa_secp256r1_sha256",),
        extended_master_secret=True,
        renegotiation_info=True,
        cookie=True,
        amplification=0.5,
        fragmented_hello=True,
    )
    return dataclasses.replace(facts, **changes)


def survey_of(
    versions: dict[str, VersionFacts], *certificates: CertificateFacts, host: str = "a.example"
) -> Survey:
    shown = {
        version: dataclasses.replace(facts, certificates=certificates)
        for version, facts in versions.items()
    }
    return Survey(host, 4433, shown)


DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)
ONE_BAD_THING = [
    ({"1.2": modern(extended_master_secret=False)}, (), "extended_master_secret"),
    ({"1.2": modern(renegotiation_info=False)}, (), "renegotiation_info"),
    ({"1.2": modern(cookie=False, amplification=4.0)}, (), "4.0 times"),
    ({"1.2": modern(cipher_suites=("TLS_RSA_WITH_NULL_SHA256",))}, (), "encrypts nothing"),
    ({"1.2": modern(cipher_suites=("TLS_ECDH_anon_WITH_AES_128_CBC_SHA",))}, (), "nobody"),
    ({"1.2": modern(cipher_suites=("TLS_RSA_WITH_3DES_EDE_CBC_SHA",))}, (), "broken"),
    ({"1.2": modern(cipher_suites=("TLS_RSA_WITH_AES_128_GCM_SHA256",))}, (), "no suite with"),
    ({"1.2": modern(signature_schemes=("rsa_pkcs1_sha1",))}, (), "SHA-1"),
    ({"1.2": modern(), "1.0": modern()}, (), "DTLS 1.0"),
    ({"1.2": modern()}, (certificate(not_after=NOW - DAY),), "expired"),
    ({"1.2": modern()}, (certificate(not_before=NOW + DAY),), "not valid before"),
    ({"1.2": modern()}, (certificate(key="RSA 1024", key_bits=1024),), "1024 bits"),
    ({"1.2": modern()}, (certificate(signature_hash="sha1"),), "signed with sha1"),
]


@pytest.mark.parametrize("versions, certificates, text", ONE_BAD_THING)
def test_bad_findings(versions, certificates, text):
    seen = survey_of(versions, *certificates)
    bad = [finding for finding in findings_in(seen) if finding.grade == "bad"]
    assert any(text in finding.text for finding in bad), bad
    assert all(finding.reference.startswith("RFC ") for finding in bad)
    assert any(text in line for line in lines_of(seen, bad))


def test_a_modern_server_has_no_bad_findings():
    versions = {"1.3": modern(), "1.2": modern()}
    seen = survey_of(versions, certificate())
    assert {finding.grade for finding in findings_in(seen)} == {"good"}


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"matches_name": False}, "is for a.example, not b.example"),
        ({"not_after": NOW + 3 * DAY}, "expires on"),
    ],
)
def test_warnings_of_certificates(changes, text):
    versions = {"1.2": modern()}
    seen = survey_of(versions, certificate(**changes), host="b.example")
    warnings = [finding.text for finding in findings_in(seen) if finding.grade == "warning"]
    assert any(text in warning for warning in warnings), warnings


@pytest.mark.by_hand("AIODTLS_ALL")
async def test_the_command(credentials: Credentials):
    """With its pauses it takes twenty seconds."""
    config = DTLSConfig(credentials=credentials, versions=["1.2"])
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        address = f"127.0.0.1:{server.sockname[1]}"
        output = await run_to_end([sys.executable, "-m", "aiodtls", "scan", address, "--json"])
    found = json.loads(output)
    assert found["event"] == "scan" and list(found["versions"]) == ["1.2"]
    assert found["findings"] and found["versions"]["1.2"]["certificates"][0]["names"]
