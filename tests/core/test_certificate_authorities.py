"""Names of CAs: all of them, or none where they would make a message long (RFC 8446 4.2.4)."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography import x509

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust, authorities_of
from aiodtls.core.handshake.extensions.certificate_authorities import (
    MOST_OFFERED,
    MOST_REQUESTED,
    accept,
    offer,
    request,
    requested,
)
from aiodtls.core.registry import CertificateType
from aiodtls.core.wire.extension_blocks import Extensions
from tests.core.test_credentials import CA, HOST, Issued, ca_flag, san
from tests.harness import Pair

X509, RAW = CertificateType.X509, CertificateType.RawPublicKey
LEAF = Issued(HOST, san(HOST), by=CA)
CREDENTIALS = Credentials.from_objects(LEAF.key, [LEAF.certificate])


def authority(number: int) -> x509.Certificate:
    return Issued(f"Example Root Certification Authority {number:04}", ca_flag(True)).certificate


def size_of(*certificates: x509.Certificate) -> int:
    """Bytes of the names as a list."""
    return sum(2 + len(certificate.subject.public_bytes()) for certificate in certificates)


def trust_of(size: int) -> Trust:
    """CAs whose names have so many bytes as a list."""
    shortest = Issued("x", ca_flag(True)).certificate
    each = size_of(authority(0))
    count = (size - size_of(CA.certificate) - 60) // each
    cas = [CA.certificate, *(authority(number) for number in range(count))]
    rest = size - size_of(*cas)
    for letter, length in (("x", rest // 2), ("y", rest - rest // 2)):
        name = letter * (length - size_of(shortest) + 1)
        cas.append(Issued(name, ca_flag(True)).certificate)
    assert size_of(*cas) == size
    return Trust.from_certificates(*cas)


def test_a_client_names_as_many_as_fit_or_none():
    fitting, longer = trust_of(MOST_OFFERED), trust_of(MOST_OFFERED + 1)
    assert accept(Extensions.of(offer(DTLSConfig(trust=fitting)))) == fitting.authorities
    assert not offer(DTLSConfig(trust=longer))
    assert not offer(DTLSConfig(trust=[fitting, Trust.from_certificates(authority(77))]))


def test_a_server_names_more_but_not_all_that_could_be_sent():
    fitting, longer = trust_of(MOST_REQUESTED), trust_of(MOST_REQUESTED + 1)
    for trust, names in ((fitting, fitting.authorities), (longer, ())):
        config = DTLSConfig(trust=trust, credentials=CREDENTIALS, client_auth="required")
        assert requested(config, X509) == names
        assert accept(Extensions.of(request(config, X509))) == names
        assert requested(config, RAW) == () and not request(config, RAW)


def test_one_trust_without_names_leaves_none():
    assert authorities_of([Trust.from_certificates(CA.certificate)], 1000)
    assert not authorities_of([Trust.from_certificates(CA.certificate), Trust.insecure()], 1000)


@pytest.fixture(scope="module")
def many() -> Trust:
    """More names than any message takes: 65,535 bytes."""
    roots = (authority(n) for n in range(1100))
    return Trust.from_certificates(CA.certificate, *roots)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_both_sides_may_trust_a_thousand_authorities(many, version):
    both = DTLSConfig(
        trust=many, credentials=CREDENTIALS, client_auth="required", versions=[version]
    )
    pair = Pair(both, both, server_hostname=HOST)
    assert pair.run(limit=20) and pair.client.handshake_complete
    assert pair.server.peer_certificate_chain


def hello_size(config: DTLSConfig) -> int:
    client = DTLSConnection.client(config, "peer", 0.0, server_hostname=HOST)
    return sum(len(data) for data, _ in client.datagrams_to_send())


def test_a_hello_grows_little_by_what_is_trusted(many):
    few = DTLSConfig(trust=Trust.from_certificates(CA.certificate), groups=["x25519"])
    for trust in (many, trust_of(MOST_OFFERED), trust_of(MOST_OFFERED + 1)):
        grown = dataclasses.replace(few, trust=trust)
        assert hello_size(grown) - hello_size(few) <= MOST_OFFERED


def test_a_pinned_raw_key_has_no_issuer_that_could_be_missing():
    """So the names of the others are still all that are accepted."""
    by_key = Trust.public_keys(LEAF.key.public_key())
    by_print = Trust.fingerprints(CREDENTIALS.fingerprint())
    cas = Trust.from_certificates(CA.certificate)
    names = (CA.certificate.subject.public_bytes(),)
    assert authorities_of([cas, by_key], MOST_OFFERED) == names
    assert authorities_of([cas, by_print], MOST_OFFERED) == ()


def test_a_ca_below_another_is_named_itself():
    """And a pinned certificate by its issuer: that is what clients choose by."""
    below = Issued("Intermediate", ca_flag(True), by=CA)
    other = Issued("Other", ca_flag(True))
    leaf = Issued(HOST, san(HOST), by=other)
    trust = Trust.from_certificates(below.certificate, leaf.certificate)
    assert trust.authorities == tuple(
        name.public_bytes() for name in (below.certificate.subject, other.certificate.subject)
    )


def test_names_are_checked_where_a_pinned_certificate_has_one():
    nameless = Issued("nobody").certificate
    assert not Trust.from_certificates(nameless).checks_names
    for others in ([LEAF.certificate], [nameless, LEAF.certificate], [CA.certificate, nameless]):
        assert Trust.from_certificates(*others).checks_names
