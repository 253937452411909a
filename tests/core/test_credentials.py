"""Credentials and trust: which chains are accepted, and what is said about those that are not."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import hypothesis
import hypothesis.strategies as st
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aiodtls.core.crypto import signatures
from aiodtls.core.crypto import trust as module
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.suites import KeyExchange
from aiodtls.core.crypto.trust import Trust, TrustContext, why_refused
from aiodtls.core.errors import AlertError, CertificateError, ConfigError
from aiodtls.core.registry import AlertDescription, ProtocolVersion

V12 = ProtocolVersion.DTLSv1_2
HOST = "sensor.example"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
MAKERS = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "weak": lambda: rsa.generate_private_key(65537, 1024),
}


@functools.cache
def key(kind: str, number: int = 0):
    return MAKERS[kind]()


def san(*names: str) -> x509.SubjectAlternativeName:
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(general)


def ca_flag(ca: bool, path_length: int | None = None) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca, path_length)


def usage(**bits: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names.split()})


class Issued:
    """A certificate with its key, made for one test."""

    def __init__(
        self,
        subject: str,
        *extensions: x509.ExtensionType,
        by: Issued | None = None,
        kind: str = "p256",
        number: int = 0,
        start: datetime = NOW - DAY,
        end: datetime = NOW + 30 * DAY,
    ) -> None:
        self.key = key(kind, number)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        issuer = by or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical)
        edwards = isinstance(issuer.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
        self.certificate = builder.sign(issuer.key, None if edwards else hashes.SHA256())
        self.der = self.certificate.public_bytes(Encoding.DER)
        self.pem = self.certificate.public_bytes(Encoding.PEM)


CA = Issued("Test CA", ca_flag(True), number=1)
LEAF = Issued(HOST, san(HOST), by=CA)
SELF = Issued(HOST, san(HOST))


def check(
    trust: Trust | Sequence[Trust],
    *chain: Issued,
    role: str = "server",
    host: str | None = HOST,
) -> None:
    trusts = (trust,) if isinstance(trust, Trust) else trust
    error = why_refused(trusts, [c.der for c in chain], peer_role=role, server_hostname=host)
    if error is not None:
        raise error


def trusting(*issued: Issued) -> Trust:
    return Trust.from_certificates(*(c.certificate for c in issued))


def refused(alert: str, words: str, trust: Trust | Sequence[Trust], *chain: Issued, **how) -> None:
    """The check refuses with this alert, and says these words to the user."""
    with pytest.raises(AlertError) as caught:
        check(trust, *chain, **how)
    assert isinstance(caught.value.error, CertificateError)
    assert words in str(caught.value.error)
    assert caught.value.description.name == alert


# Chains


def test_a_leaf_of_a_trusted_ca_is_accepted_in_both_roles() -> None:
    check(trusting(CA), LEAF)
    check(trusting(CA), LEAF, CA)
    check(trusting(CA), LEAF, role="client", host=None)


def test_a_client_needs_no_name_at_all() -> None:
    check(trusting(CA), Issued("device 7", by=CA), role="client", host=None)
    refused("bad_certificate", "no subjectAltName", trusting(CA), Issued(HOST, by=CA))


def test_intermediates_come_from_the_peer() -> None:
    middle = Issued("Middle CA", ca_flag(True), by=CA, number=2)
    leaf = Issued(HOST, san(HOST), by=middle)
    check(trusting(CA), leaf, middle)
    check(trusting(middle), leaf)
    refused("unknown_ca", "CN=Middle CA", trusting(CA), leaf)


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa", "ed25519", "ed448"])
def test_key_types_of_leaves(kind: str) -> None:
    check(trusting(CA), Issued(HOST, san(HOST), by=CA, kind=kind))
    alone = Issued(HOST, san(HOST), kind=kind)
    check(trusting(alone), alone)


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa"])
def test_key_types_of_authorities(kind: str) -> None:
    ca = Issued("CA", ca_flag(True), kind=kind, number=3)
    check(trusting(ca), Issued(HOST, san(HOST), by=ca))


@pytest.mark.parametrize("kind", ["ed25519", "ed448"])
def test_edwards_authorities_are_refused_with_a_way_out(kind: str) -> None:
    ca = Issued("CA", ca_flag(True), kind=kind)
    leaf = Issued(HOST, san(HOST), by=ca)
    refused("unsupported_certificate", "pin the peer's certificate", trusting(ca), leaf)
    check(trusting(leaf), leaf)


def test_weak_rsa_is_refused() -> None:
    weak = Issued(HOST, san(HOST), by=CA, kind="weak")
    refused("bad_certificate", "1024 bits", trusting(CA), weak)


def test_an_unknown_issuer() -> None:
    refused("unknown_ca", "CN=Test CA", trusting(SELF, Issued("X", ca_flag(True))), LEAF)
    refused("unknown_ca", "self-signed", trusting(CA), SELF)
    impostor = Issued("Test CA", ca_flag(True), number=9)
    refused("unknown_ca", "trusted CA", trusting(CA), Issued(HOST, san(HOST), by=impostor))
    refused(
        "unknown_ca",
        "trusted CA",
        trusting(CA),
        Issued(HOST, san(HOST), by=impostor),
        impostor,
    )


def test_only_a_ca_may_issue() -> None:
    plain = Issued("no CA", ca_flag(False), san("other.example"), by=CA, number=4)
    bare = Issued("bare", by=CA, number=4)
    no_sign = Issued("no sign", ca_flag(True), usage(digital_signature=True), by=CA, number=4)
    for issuer in (plain, bare, no_sign):
        leaf = Issued(HOST, san(HOST), by=issuer)
        refused("unknown_ca", "trusted CA", trusting(CA), leaf, issuer)
        check(trusting(CA), issuer, role="client", host=None)


def test_path_length_and_name_constraints_hold() -> None:
    flat = Issued("Flat CA", ca_flag(True, 0), number=5)
    middle = Issued("Middle CA", ca_flag(True), by=flat, number=6)
    check(trusting(flat), Issued(HOST, san(HOST), by=flat))
    refused("unknown_ca", "trusted CA", trusting(flat), Issued(HOST, san(HOST), by=middle), middle)
    constraints = x509.NameConstraints([x509.DNSName("other.example")], None)
    narrow = Issued("Narrow CA", ca_flag(True), constraints, number=7)
    refused("unknown_ca", "trusted CA", trusting(narrow), Issued(HOST, san(HOST), by=narrow))


def test_unknown_critical_extensions_are_refused() -> None:
    builder = (
        x509.CertificateBuilder()
        .subject_name(LEAF.name)
        .issuer_name(CA.name)
        .public_key(LEAF.key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(san(HOST), False)
    )
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    for critical in (False, True):
        issued = Issued(HOST)
        certificate = builder.add_extension(unknown, critical).sign(CA.key, hashes.SHA256())
        issued.der = certificate.public_bytes(Encoding.DER)
        if critical:
            refused("unknown_ca", "critical", trusting(CA), issued)
        else:
            check(trusting(CA), issued)


def test_dates() -> None:
    old = Issued(HOST, san(HOST), by=CA, start=NOW - 9 * DAY, end=NOW - 2 * DAY)
    early = Issued(HOST, san(HOST), by=CA, start=NOW + 2 * DAY)
    refused("certificate_expired", f"expired on {NOW - 2 * DAY:%Y-%m-%d}", trusting(CA), old)
    refused("certificate_expired", "not valid before", trusting(CA), early)
    middle = Issued("Middle", ca_flag(True), by=CA, number=2, start=NOW - 9 * DAY, end=NOW - DAY)
    refused(
        "certificate_expired",
        "the peer's CA certificate",
        trusting(CA),
        Issued(HOST, san(HOST), by=middle),
        middle,
    )


def test_usages_restrict_only_where_present() -> None:
    purposes = x509.ExtendedKeyUsage
    server = Issued(HOST, san(HOST), purposes([ExtendedKeyUsageOID.SERVER_AUTH]), by=CA)
    client = Issued(HOST, san(HOST), purposes([ExtendedKeyUsageOID.CLIENT_AUTH]), by=CA)
    any_purpose = [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
    either = Issued(HOST, san(HOST), purposes(any_purpose), by=CA)
    trust = trusting(CA)
    check(trust, server)
    check(trust, client, role="client")
    check(trust, either)
    check(trust, either, role="client")
    refused("unsupported_certificate", "as a client", trust, server, role="client")
    refused("unsupported_certificate", "as a server", trust, client)
    check(trust, Issued(HOST, san(HOST), usage(digital_signature=True), by=CA))
    mute = Issued(HOST, san(HOST), usage(key_encipherment=True), by=CA)
    refused("unsupported_certificate", "digitalSignature", trust, mute)


@pytest.mark.parametrize("trust", [trusting(CA), Trust.insecure(), Trust.deferred()])
def test_no_certificate_is_refused_by_all(trust: Trust) -> None:
    refused("bad_certificate", "sent no certificate", trust)


@pytest.mark.parametrize(
    "spoil", [lambda der: b"", lambda der: der[:-1], lambda der: b"\x30\x03\x02\x01\x01"]
)
@pytest.mark.parametrize("position", [0, 1])
def test_what_does_not_parse_is_a_bad_certificate(spoil, position: int) -> None:
    chain = [LEAF.der, CA.der]
    chain[position] = spoil(chain[position])
    with pytest.raises(AlertError, match="parse") as caught:
        trusting(CA).check(chain, peer_role="server", server_hostname=HOST)
    assert caught.value.description is AlertDescription.bad_certificate


@pytest.mark.parametrize("mask", [0x01, 0x05, 0x0F, 0x80, 0xFF])
def test_every_spoiled_byte_of_what_is_signed_is_refused(mask: int) -> None:
    trust = trusting(CA)
    signed = LEAF.certificate.tbs_certificate_bytes
    start = LEAF.der.index(signed)
    for position in range(start, start + len(signed)):
        der = bytearray(LEAF.der)
        der[position] ^= mask
        with pytest.raises(AlertError):
            trust.check([bytes(der), CA.der], peer_role="server", server_hostname=HOST)


@hypothesis.settings(deadline=None)
@hypothesis.given(st.integers(0, len(LEAF.der) - 1), st.binary(max_size=8))
def test_no_bytes_raise_anything_but_an_alert(position: int, junk: bytes) -> None:
    der = LEAF.der[:position] + junk + LEAF.der[position + len(junk) :]
    for trust in (trusting(CA), trusting(SELF)):
        with contextlib.suppress(AlertError):
            trust.check([der, CA.der], peer_role="server", server_hostname=HOST)


def test_an_endless_chain_is_refused() -> None:
    refused("bad_certificate", "41 certificates", trusting(CA), LEAF, *[CA] * 40)


# Names


@pytest.mark.parametrize(
    ("name", "host", "matches"),
    [
        ("sensor.example", "sensor.example", True),
        ("sensor.example", "SENSOR.Example.", True),
        ("Sensor.Example", "sensor.example", True),
        ("sensor.example", "sensor.example.org", False),
        ("sensor.example", "a.sensor.example", False),
        ("sensor.example", "", False),
        ("sensor.example", ".", False),
        ("localhost", "localhost", True),
        ("my_device", "my_device", True),
        ("*.b.example", "a.b.example", True),
        ("*.b.example", "b.example", False),
        ("*.b.example", "x.a.b.example", False),
        ("*.b.example", ".b.example", False),
        ("*.example", "a.example", False),
        ("*", "localhost", False),
        ("a*.b.example", "ab.b.example", False),
        ("x.*.example", "x.b.example", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("xn--bcher-kva.example", "XN--BCHER-KVA.example", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:0DB8:0:0::1", True),
        ("fe80::1", "fe80::1%eth0", True),
        ("192.0.2.1", "sensor.example", False),
        ("sensor.example", "192.0.2.1", False),
    ],
)
def test_names(name: str, host: str, matches: bool) -> None:
    leaf = Issued("subject", san(name), by=CA)
    assert Credentials.from_objects(leaf.key, [leaf.certificate]).matches_name(host) is matches
    if matches:
        check(trusting(CA), leaf, host=host)
    else:
        refused("bad_certificate", name, trusting(CA), leaf, host=host)


def test_a_dns_name_that_looks_like_an_address_is_none() -> None:
    dns = x509.SubjectAlternativeName([x509.DNSName("192.0.2.1")])
    refused("bad_certificate", "192.0.2.1", trusting(CA), Issued("x", dns, by=CA), host="192.0.2.1")


def test_a_common_name_is_no_name() -> None:
    refused("bad_certificate", HOST, trusting(CA), Issued(HOST, san("a.example"), by=CA))


def test_without_a_hostname_no_server_is_accepted() -> None:
    refused("bad_certificate", "no server_hostname", trusting(CA), LEAF, host=None)


# Pins


def test_a_certificate_that_is_no_ca_is_pinned_as_itself() -> None:
    check(trusting(SELF), SELF)
    check(trusting(LEAF), LEAF)
    check(trusting(LEAF), LEAF, role="client", host=None)
    refused("unknown_ca", "not the pinned one", trusting(SELF), LEAF)
    # The same name, key and dates make it no more the pinned one.
    refused("unknown_ca", "not the pinned one", trusting(SELF), Issued(HOST, san(HOST)))
    refused("bad_certificate", "not for other.example", trusting(SELF), SELF, host="other.example")


def test_a_pinned_leaf_issues_nothing() -> None:
    issued = Issued("other", san(HOST), by=SELF)
    refused("unknown_ca", "pinned", trusting(SELF), issued)
    refused("unknown_ca", "not marked as a CA", trusting(SELF, CA), issued, SELF)


def test_a_pin_without_names_is_enough_while_it_is_valid() -> None:
    bare = Issued("device")
    check(trusting(bare), bare, host="192.0.2.1")
    check(trusting(bare), bare, host=None)
    assert not trusting(bare).checks_names
    old = Issued("device", start=NOW - 9 * DAY, end=NOW - DAY)
    refused("certificate_expired", "expired", trusting(old), old)


def test_a_self_signed_ca_is_its_own_anchor() -> None:
    own = Issued(HOST, san(HOST), ca_flag(True), usage(key_cert_sign=True))
    check(trusting(own), own)
    check(trusting(own), own, role="client")
    refused("bad_certificate", "not for other.example", trusting(own), own, host="other.example")


@pytest.mark.parametrize("hash_name", ["sha-256", "sha-384", "sha-512"])
def test_fingerprints(hash_name: str) -> None:
    old = Issued("x", start=NOW - 9 * DAY, end=NOW - DAY)
    digest = hashlib.new(hash_name.replace("-", ""), old.der).digest()
    text = f"{hash_name} {digest.hex(':').upper()}"
    assert Credentials.from_objects(old.key, [old.certificate]).fingerprint(hash_name) == text
    trust = Trust.fingerprints("sha-256 " + ":".join(["00"] * 32), text.lower())
    check(trust, old, host=None)
    check(trust, old, CA, role="client")
    refused("bad_certificate", "fingerprint sha-256", trust, LEAF)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AB:CD",
        "AB" * 31,
        "AB" * 32 + "A",
        "AB:" * 32,
        "sha-256",
        "sha-256 AB:CD",
        "sha-256 " + "AB" * 48,
        "sha-256 Fingerprint " + "AB" * 32,
        "sha-256 " + ":".join(["AB"] * 31) + ":GG",
        "sha-1 " + ":".join(["AB"] * 20),
        "md5 " + ":".join(["AB"] * 16),
    ],
)
def test_bad_fingerprints_are_config_errors(text: str) -> None:
    with pytest.raises(ConfigError, match="fingerprint"):
        Trust.fingerprints(text)
    # Not even beside a good one.
    with pytest.raises(ConfigError, match="fingerprint"):
        Trust.fingerprints("AB" * 32, text)


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    "form",
    [
        "{name} Fingerprint={upper}",
        "{upname} Fingerprint={upper}\n",
        "{name} {upper}",
        "{sdp} {lower}",
        "{sdp}  {upper}",
        "a=fingerprint:{sdp} {upper}\r\n",
        "{sdp} {bare}",
        "{bare}",
        "{upper}",
    ],
)
def test_a_fingerprint_in_each_of_its_forms_pins_that_certificate(name: str, form: str) -> None:
    def shown(der: bytes) -> str:
        digest = hashlib.new(name, der).digest()
        colons = digest.hex(":")
        return form.format(
            name=name,
            upname=name.upper(),
            sdp=name.replace("sha", "sha-"),
            upper=colons.upper(),
            lower=colons,
            bare=digest.hex(),
        )

    check(Trust.fingerprints(shown(SELF.der)), SELF, host=None)
    check(Trust.fingerprints(shown(SELF.der), match="sdp"), SELF, host=None)
    refused("bad_certificate", "fingerprint", Trust.fingerprints(shown(CA.der)), LEAF)


def digest_of(name: str, issued: Issued) -> str:
    return f"{name} {hashlib.new(name.replace('-', ''), issued.der).hexdigest()}"


def test_in_sdp_one_of_the_strongest_hash_must_match() -> None:
    right, wrong = LEAF, SELF
    unknown = "sha-1 " + ":".join(["AB"] * 20)
    for texts in (
        (digest_of("sha-256", right),),
        (unknown, digest_of("sha-256", right)),
        (digest_of("sha-256", wrong), digest_of("sha-512", right)),
        (digest_of("sha-512", wrong), digest_of("sha-512", right), "shake 00"),
    ):
        check(Trust.fingerprints(*texts, match="sdp"), right, host=None)
    for texts in (
        (unknown,),
        (unknown, "md5 AB:CD"),
        (digest_of("sha-256", wrong),),
        (digest_of("sha-256", right), digest_of("sha-512", wrong)),
    ):
        trust = Trust.fingerprints(*texts, match="sdp")
        refused("bad_certificate", "fingerprint sha-", trust, right)
    with pytest.raises(ConfigError, match="fingerprint"):
        Trust.fingerprints(match="sdp")
    with pytest.raises(ConfigError, match="sdp"):
        Trust.fingerprints(digest_of("sha-256", right), match="all")


def test_one_file_may_hold_chain_and_key(tmp_path) -> None:
    own = Credentials.self_signed("localhost")
    chain = own.leaf.public_bytes(Encoding.PEM)
    encryptions = {None: NoEncryption(), "secret": BestAvailableEncryption(b"secret")}
    for password, encryption in encryptions.items():
        key = own.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        for content in (chain + key, key + chain):
            both = tmp_path / "both.pem"
            both.write_bytes(content)
            assert Credentials.from_files(both, password=password) == own
            assert Credentials.from_files(both, both, password) == own
    (tmp_path / "chain.pem").write_bytes(chain)
    with pytest.raises(ConfigError, match=r"chain\.pem contains no usable PEM private key"):
        Credentials.from_files(tmp_path / "chain.pem")


# Kinds of trust


def test_unchecked_kinds() -> None:
    for trust in (Trust.insecure(), Trust.deferred()):
        check(trust, SELF, host=None)
        assert not trust.checks_names
        assert trust.authorities == ()
        assert trust.function is None
    assert Trust.deferred().is_deferred
    assert not Trust.insecure().is_deferred
    assert not trusting(CA).is_deferred


def test_a_function_is_kept_for_its_owner_to_call() -> None:
    def judge(chain: Sequence[bytes], context: TrustContext) -> bool:
        return True

    trust = Trust.from_function(judge)
    assert trust.function is judge
    refused("internal_error", "function", trust, LEAF)


def test_one_of_several_is_enough_else_the_most_telling_speaks() -> None:
    other = trusting(Issued("Other CA", ca_flag(True)))
    check([other, trusting(CA)], LEAF)
    for order in ([other, trusting(CA)], [trusting(CA), other]):
        refused("bad_certificate", "not for a.example", order, LEAF, host="a.example")
    refused("unknown_ca", "no trust= to check it by", [], LEAF)


def test_authorities() -> None:
    assert trusting(CA, LEAF, CA).authorities == (CA.name.public_bytes(),)
    assert trusting(SELF).authorities == (SELF.name.public_bytes(),)
    assert trusting(CA).checks_names


def test_trust_from_files(tmp_path) -> None:
    bundle, pin, empty = (tmp_path / name for name in ("bundle.pem", "pin.pem", "empty.pem"))
    bundle.write_bytes(b"a comment\n" + Issued("X", ca_flag(True)).pem + CA.pem)
    pin.write_bytes(SELF.pem)
    empty.write_bytes(b"nothing")
    trust = Trust.from_files(bundle, str(pin))
    check(trust, LEAF)
    check(trust, SELF)
    with pytest.raises(ConfigError, match=r"empty\.pem contains no"):
        Trust.from_files(bundle, empty)
    with pytest.raises(ConfigError, match="at least one"):
        Trust.from_files()
    with pytest.raises(FileNotFoundError):
        Trust.from_files(tmp_path / "none.pem")


@pytest.fixture
def fresh_system():
    module._system_trust.cache_clear()
    yield
    module._system_trust.cache_clear()


def test_the_system_store_comes_from_where_openssl_looks(
    tmp_path, monkeypatch, fresh_system
) -> None:
    bundle = tmp_path / "bundle.pem"
    folder = tmp_path / "certs"
    folder.mkdir()
    second = Issued("Second CA", ca_flag(True), number=8)
    bundle.write_bytes(CA.pem)
    (folder / "0123abcd.0").write_bytes(second.pem)
    (folder / "0123abcd.1").write_bytes(b"no certificate")
    (folder / "README").write_bytes(b"")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    trust = Trust.system()
    check(trust, LEAF)
    check(trust, Issued(HOST, san(HOST), by=second))
    refused("unknown_ca", "self-signed", trust, SELF)
    assert trust.authorities == ()
    assert trust.checks_names
    bundle.unlink()
    assert Trust.system() is trust


def test_no_system_store_is_a_config_error(tmp_path, monkeypatch, fresh_system) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        Trust.system()


# Credentials


@pytest.mark.parametrize("kind", ["p256", "ed25519", "ed448", "rsa"])
def test_credentials_from_files(kind: str, tmp_path) -> None:
    leaf = Issued(HOST, san(HOST), by=CA, kind=kind)
    certfile, keyfile = tmp_path / "cert.pem", tmp_path / "key.pem"
    certfile.write_bytes(leaf.pem + CA.pem)
    pem = Encoding.PEM, PrivateFormat.PKCS8
    keyfile.write_bytes(leaf.key.private_bytes(*pem, BestAvailableEncryption(b"secret")))
    for password in ("secret", b"secret"):
        made = Credentials.from_files(certfile, str(keyfile), password)
        assert made.chain == (leaf.der, CA.der)
    for password in (None, "wrong"):
        with pytest.raises(ConfigError, match=r"key\.pem contains no usable"):
            Credentials.from_files(certfile, keyfile, password)
    keyfile.write_bytes(leaf.key.private_bytes(*pem, NoEncryption()))
    made = Credentials.from_files(certfile, keyfile)
    assert made.issuers == (CA.name.public_bytes(), CA.name.public_bytes())
    rsa_key = kind == "rsa"
    assert made.key_exchange is (KeyExchange.ECDHE_RSA if rsa_key else KeyExchange.ECDHE_ECDSA)
    for scheme in made.schemes(V12):
        signatures.verify(made.public_key, scheme, made.sign(scheme, b"data"), b"data")
    certfile.write_bytes(CA.pem + leaf.pem)
    with pytest.raises(ConfigError, match="leaf comes first"):
        Credentials.from_files(certfile, keyfile)
    with pytest.raises(FileNotFoundError):
        Credentials.from_files(tmp_path / "none.pem", keyfile)


def test_credentials_need_a_certificate_and_a_key_that_signs() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Credentials.from_objects(LEAF.key, [])
    odd = ec.generate_private_key(ec.SECP256K1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(LEAF.name)
        .issuer_name(LEAF.name)
        .public_key(odd.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .sign(odd, hashes.SHA256())
    )
    with pytest.raises(ConfigError, match="P-256"):
        Credentials.from_objects(odd, [certificate])


def test_a_key_shows_nowhere() -> None:
    made = Credentials.self_signed("a.example")
    assert "rivate" not in repr(made)
    assert "a.example" in repr(made)
    assert made == Credentials.from_objects(made.private_key, [made.leaf])
    assert made != Credentials.self_signed("a.example")


def test_self_signed() -> None:
    made = Credentials.self_signed("a.example", "192.0.2.1", "2001:db8::1", "bücher.example")
    trust = Trust.from_certificates(made.leaf)
    for host in ("a.example", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example"):
        trust.check(made.chain, peer_role="server", server_hostname=host)
    trust.check(made.chain, peer_role="client", server_hostname=None)
    assert made.leaf.not_valid_before_utc < NOW - timedelta(hours=1)
    assert made.leaf.not_valid_after_utc > NOW + 30 * DAY
    assert made.schemes(V12)[0].name == "ecdsa_secp256r1_sha256"
    assert Credentials.self_signed().matches_name("localhost")
    assert Credentials.self_signed("x" * 63 + "." + "y" * 60).matches_name(
        "x" * 63 + "." + "y" * 60
    )
    for bad in ("", "a..example", "x" * 64):
        with pytest.raises(ConfigError, match="neither"):
            Credentials.self_signed(bad)


# Certificates made by OpenSSL

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the openssl command"
)


def openssl(directory, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


@needs_openssl
@pytest.mark.parametrize(
    "algorithm",
    [
        ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        ("ec", "-pkeyopt", "ec_paramgen_curve:P-521"),
        ("rsa:2048",),
        ("rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"),
        ("ed25519",),
        ("ed448",),
    ],
    ids=["p256", "p521", "rsa", "rsa-pss", "ed25519", "ed448"],
)
@pytest.mark.parametrize("name", [("-addext", f"subjectAltName=DNS:{HOST}"), ()])
def test_what_openssl_req_makes_is_its_own_anchor(algorithm, name, tmp_path) -> None:
    command = ["req", "-x509", "-nodes", "-newkey", *algorithm, "-subj", f"/CN={HOST}"]
    openssl(tmp_path, *command, *name, "-keyout", "key.pem", "-out", "cert.pem", "-days", "3")
    made = Credentials.from_files(tmp_path / "cert.pem", tmp_path / "key.pem")
    trust = Trust.from_files(tmp_path / "cert.pem")
    trust.check(made.chain, peer_role="server", server_hostname=HOST)
    trust.check(made.chain, peer_role="client", server_hostname=None)
    schemes = made.schemes(V12)
    is_pss = algorithm[0] == "rsa-pss"
    assert any(scheme.name.startswith("rsa_pss_pss") for scheme in schemes) is is_pss
    signatures.verify(made.public_key, schemes[0], made.sign(schemes[0], b"data"), b"data")


@needs_openssl
def test_a_version_1_leaf_of_openssl(tmp_path) -> None:
    """Without extensions `openssl x509 -req` of version 3.0 makes X.509 version 1."""
    ec_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(tmp_path, "req", "-x509", *ec_key, "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca")
    openssl(tmp_path, "req", *ec_key, "-subj", "/CN=device", "-keyout", "key", "-out", "csr")
    issue = ("x509", "-req", "-in", "csr", "-CA", "ca", "-CAkey", "ca.key", "-out", "cert")
    openssl(tmp_path, *issue, "-set_serial", "7", "-days", "3")
    made = Credentials.from_files(tmp_path / "cert", tmp_path / "key")
    pinned = Trust.from_files(tmp_path / "cert")
    pinned.check(made.chain, peer_role="client", server_hostname=None)
    pinned.check(made.chain, peer_role="server", server_hostname=HOST)


@needs_openssl
def test_openssl_trusts_our_self_signed(tmp_path) -> None:
    made = Credentials.self_signed(HOST, "192.0.2.1")
    (tmp_path / "cert.pem").write_bytes(made.leaf.public_bytes(Encoding.PEM))
    for name in (("-verify_hostname", HOST), ("-verify_ip", "192.0.2.1")):
        for purpose in ("sslserver", "sslclient"):
            openssl(
                tmp_path,
                *("verify", "-x509_strict", "-purpose", purpose, *name),
                *("-CAfile", "cert.pem", "cert.pem"),
            )
