"""Findings: what a scan has seen, beside RFC 9325 (all servers) and RFC 7925 (devices)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aiodtls.cli.scan.certificates import CertificateFacts
from aiodtls.cli.scan.survey import Survey, VersionFacts

# From worst to best.
GRADES = ("bad", "warning", "note", "good")
# RFC 9147 section 5.1: at most three times the bytes that came.
MOST_AMPLIFICATION = 3.0
SOON = datetime.timedelta(days=30)
LEAST_RSA_BITS = 2048
IOT_SUITES = ("TLS_PSK_WITH_AES_128_CCM_8", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8")


@dataclass(frozen=True)
class Finding:
    """``grade`` is one of GRADES; ``reference`` names the RFC and its section."""

    grade: str
    text: str
    reference: str


def findings_in(seen: Survey) -> list[Finding]:
    """All findings, the worst first."""
    found = [finding for rule in _RULES for finding in rule(seen)]
    return sorted(found, key=lambda finding: GRADES.index(finding.grade))


def _versions(seen: Survey) -> Iterator[Finding]:
    if "1.0" in seen.versions:
        yield Finding("bad", "takes DTLS 1.0", "RFC 9325 section 3.1.2")
    if seen.versions and "1.2" not in seen.versions:
        yield Finding("note", "does not take DTLS 1.2", "RFC 9325 section 3.1.2")
    if "1.3" in seen.versions:
        yield Finding("good", "takes DTLS 1.3", "RFC 9325 section 3.1.2")
    elif seen.versions:
        yield Finding("note", "does not take DTLS 1.3", "RFC 9325 section 3.1.2")


def _suites(seen: Survey) -> Iterator[Finding]:
    for version, facts in seen.versions.items():
        for suite in facts.cipher_suites:
            problem = _problem_of(suite)
            if problem is not None:
                grade, why = problem
                yield Finding(grade, f"DTLS {version} takes {suite}: {why}", "RFC 9325 section 4.1")
    modern = seen.versions.get("1.2")
    if (
        modern is not None
        and modern.cipher_suites
        and not any(map(_is_modern, modern.cipher_suites))
    ):
        yield Finding(
            "bad",
            "DTLS 1.2 takes no suite with (EC)DHE and an AEAD",
            "RFC 9325 section 4.2",
        )
    if modern is not None:
        for suite in IOT_SUITES:
            if suite in modern.cipher_suites:
                yield Finding("note", f"takes {suite}, as devices want", "RFC 7925 section 4")


def _problem_of(suite: str) -> tuple[str, str] | None:
    """How bad a suite is, and why; None where nothing is wrong with it."""
    if "_NULL_" in suite or suite in ("TLS_SHA256_SHA256", "TLS_SHA384_SHA384"):
        return "bad", "it encrypts nothing"
    if "_anon_" in suite:
        return "bad", "it authenticates nobody"
    if "_3DES_" in suite or "_RC4_" in suite:
        return "bad", "its cipher is broken or too weak"
    if suite.startswith(("TLS_RSA_WITH", "TLS_RSA_PSK")):
        return "warning", "RSA key transport has no forward secrecy"
    if "_CBC_" in suite:
        return "warning", "CBC with HMAC is open to timing attacks unless encrypt_then_mac is used"
    if suite.startswith("TLS_DHE"):
        return "warning", "finite-field DHE"
    return None


def _is_modern(suite: str) -> bool:
    return "DHE_" in suite and any(aead in suite for aead in ("GCM", "CCM", "POLY1305"))


def _features(seen: Survey) -> Iterator[Finding]:
    facts = seen.versions.get("1.2")
    if facts is None:
        return
    if facts.extended_master_secret is False:
        yield Finding("bad", "has no extended_master_secret", "RFC 7627 section 5.1")
    if facts.renegotiation_info is False:
        yield Finding("bad", "has no renegotiation_info", "RFC 9325 section 3.5")


def _strangers(seen: Survey) -> Iterator[Finding]:
    for version, facts in seen.versions.items():
        yield from _cost_of_a_hello(version, facts)
        if version != "1.0" and not facts.fragmented_hello:
            yield Finding(
                "warning",
                f"DTLS {version}: a ClientHello in fragments has no answer",
                "RFC 6347 section 4.2.3",
            )


def _cost_of_a_hello(version: str, facts: VersionFacts) -> Iterator[Finding]:
    reference = "RFC 9147 section 5.1" if version == "1.3" else "RFC 6347 section 4.2.1"
    if facts.cookie:
        yield Finding("good", f"DTLS {version}: asks for a cookie first", reference)
    elif facts.amplification > MOST_AMPLIFICATION:
        times = f"{facts.amplification:.1f}"
        text = f"DTLS {version}: asks for no cookie, and answers {times} times the bytes of a hello"
        yield Finding("bad", text, reference)
    else:
        yield Finding("warning", f"DTLS {version}: asks for no cookie", reference)


def _key_exchange(seen: Survey) -> Iterator[Finding]:
    if "1.3" in seen.versions:
        if seen.post_quantum:
            yield Finding("good", "takes a post-quantum hybrid group", "RFC 8446 section 4.2.7")
        else:
            yield Finding("note", "takes no post-quantum hybrid group", "RFC 8446 section 4.2.7")
    for version, facts in seen.versions.items():
        weak = [name for name in facts.signature_schemes if name.endswith("_sha1")]
        if weak:
            text = f"DTLS {version} signs with SHA-1: {', '.join(weak)}"
            yield Finding("bad", text, "RFC 9155 section 2")


def _certificates(seen: Survey) -> Iterator[Finding]:
    now = datetime.datetime.now(datetime.UTC)
    for number, certificate in enumerate(seen.certificates):
        name = "the certificate" if number == 0 else f"certificate {number} of the chain"
        yield from _dates(name, certificate, now)
        if certificate.key.startswith("RSA") and (certificate.key_bits or 0) < LEAST_RSA_BITS:
            text = f"{name} has a key of {certificate.key_bits} bits"
            yield Finding("bad", text, "RFC 9325 section 4.5")
        if certificate.signature_hash in ("md5", "sha1") and not certificate.is_self_signed:
            text = f"{name} is signed with {certificate.signature_hash}"
            yield Finding("bad", text, "RFC 9325 section 4.5")
    if seen.certificates:
        leaf = seen.certificates[0]
        if leaf.matches_name is False:
            text = f"the certificate is for {', '.join(leaf.names) or 'no name'}, not {seen.host}"
            yield Finding("warning", text, "RFC 9525 section 6")
        if leaf.is_self_signed:
            yield Finding("note", "the certificate is self-signed", "RFC 9525 section 6")


def _dates(name: str, certificate: CertificateFacts, now: datetime.datetime) -> Iterator[Finding]:
    ends = f"{certificate.not_after:%Y-%m-%d}"
    if certificate.not_after < now:
        yield Finding("bad", f"{name} expired on {ends}", "RFC 5280 section 4.1.2.5")
    elif certificate.not_before > now:
        begins = f"{certificate.not_before:%Y-%m-%d}"
        text = f"{name} is not valid before {begins}"
        yield Finding("bad", text, "RFC 5280 section 4.1.2.5")
    elif certificate.not_after - now < SOON:
        yield Finding("warning", f"{name} expires on {ends}", "RFC 5280 section 4.1.2.5")


_RULES: tuple[Callable[[Survey], Iterator[Finding]], ...] = (
    _versions,
    _suites,
    _features,
    _strangers,
    _key_exchange,
    _certificates,
)
