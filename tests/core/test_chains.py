"""Bounds on the work that a peer's certificates can cause, and what a CA's usage allows."""

from __future__ import annotations

import math
import random
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Use

from aiodtls import Credentials, DTLSConfig, Trust
from aiodtls.core.crypto import chains
from aiodtls.core.crypto.certificates import check_keys
from aiodtls.core.events import VerificationRequested
from aiodtls.core.registry import CertificateType
from tests.core import test_credentials
from tests.core.test_credentials import (
    CA,
    DAY,
    HOST,
    LEAF,
    NOW,
    Issued,
    ca_flag,
    check,
    refused,
    san,
    trusting,
    usage,
)
from tests.harness import CLIENT, SERVER, Pair
from tests.peers import requires
from tests.selection import needs_ml_dsa

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:  # pragma: no cover - an older library cannot have such chains
    mldsa = None  # type: ignore[assignment]

VERSIONS = ["1.2", "1.3"]


def rsa_with_exponent(bits: int, e: int) -> rsa.RSAPrivateKey:
    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    order = math.lcm(numbers.p - 1, numbers.q - 1)
    while math.gcd(e, order) != 1:
        e += 2
    d = pow(e, -1, order)
    public = rsa.RSAPublicNumbers(e, numbers.public_numbers.n)
    p, q = numbers.p, numbers.q
    return rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, public
    ).private_key()


def public_rsa(bits: int, e: int = 65537) -> rsa.RSAPublicKey:
    """A key of that size; nobody has its private half."""
    return rsa.RSAPublicNumbers(e, (1 << bits) - 1).public_key()


def certified(key: object, subject: str = "Odd CA") -> bytes:
    """A CA certificate of the test CA's for this public key, in DER."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(f"CN={subject}"))
        .issuer_name(CA.name)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(ca_flag(True), critical=True)
        .add_extension(san(HOST), critical=False)
    )
    return builder.sign(CA.key, hashes.SHA256()).public_bytes(Encoding.DER)


# -- keys -------------------------------------------------------------------------------------

ODD_KEYS = {
    "rsa-2047": (lambda: public_rsa(2047), "bad_certificate", "2047 bits"),
    "rsa-8193": (lambda: public_rsa(8193), "bad_certificate", "8193 bits"),
    "rsa-100000": (lambda: public_rsa(100_000), "bad_certificate", "100000 bits"),
    "exponent-33": (lambda: public_rsa(2048, (1 << 32) + 1), "bad_certificate", "33 bits"),
    "exponent-long": (lambda: public_rsa(3072, (1 << 3069) + 1), "bad_certificate", "3070 bits"),
    "dsa": (
        lambda: dsa.generate_private_key(1024).public_key(),
        "unsupported_certificate",
        "unknown kind",
    ),
    "x25519": (
        lambda: x25519.X25519PrivateKey.generate().public_key(),
        "unsupported_certificate",
        "unknown kind",
    ),
}
GOOD_KEYS = {
    "rsa-2048": lambda: public_rsa(2048),
    "rsa-8192": lambda: public_rsa(8192),
    "exponent-3": lambda: public_rsa(2048, 3),
    "exponent-32": lambda: public_rsa(2048, (1 << 32) - 1),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()).public_key(),
}


@pytest.mark.parametrize("name", ODD_KEYS)
@pytest.mark.parametrize("position", ["leaf", "ca", "raw"])
def test_keys_out_of_bounds_are_refused_wherever_they_stand(name, position):
    make, alert, words = ODD_KEYS[name]
    key = make()
    if position == "raw":
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        chain, kind = [spki], CertificateType.RawPublicKey
    else:
        odd = certified(key)
        chain = [odd] if position == "leaf" else [LEAF.der, odd]
        kind = CertificateType.X509
    with pytest.raises(chains.AlertError, match=words) as caught:
        check_keys(chain, kind)
    assert caught.value.description.name == alert


@pytest.mark.parametrize("name", GOOD_KEYS)
def test_keys_within_bounds_are_taken(name):
    key = GOOD_KEYS[name]()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for chain, kind in (
        ([certified(key)], CertificateType.X509),
        ([LEAF.der, certified(key)], CertificateType.X509),
        ([spki], CertificateType.RawPublicKey),
    ):
        check_keys(chain, kind)


def test_a_key_of_another_kind_is_not_even_loaded(monkeypatch):
    """Loading a Diffie-Hellman key takes 10 ms, and it is of no use."""
    load = "aiodtls.core.crypto.certificates.load_der_public_key"
    monkeypatch.setattr(load, lambda _: pytest.fail("loaded"))
    # The object identifiers of dhpublicnumber and dhKeyAgreement, then an allowed one.
    for oid in ("06072a8648ce3e0201", "06092a864886f70d010301"):
        inner = bytes.fromhex(oid + "06072a8648ce3d0201")
        inner = b"\x30" + bytes([len(inner)]) + inner
        length = bytes([len(inner)])
        for head in (b"\x30", b"\x30\x81", b"\x30\x82\x00"):
            with pytest.raises(chains.AlertError, match="unknown kind"):
                check_keys([head + length + inner], CertificateType.RawPublicKey)
    for odd in (b"", b"\x30", b"\x30\xff", b"\x30\x03\x30\xff\x06"):
        with pytest.raises(chains.AlertError, match="unknown kind"):
            check_keys([odd], CertificateType.RawPublicKey)


TRUSTS = {
    "fingerprints": lambda credentials: Trust.fingerprints(credentials.fingerprint()),
    "function": lambda credentials: lambda chain, context: True,
    "deferred": lambda credentials: Trust.deferred(),
    "insecure": lambda credentials: Trust.insecure(),
    "pin": lambda credentials: Trust.from_certificates(credentials.leaf),
    "system and insecure": lambda credentials: [trusting(CA), Trust.insecure()],
}


@pytest.fixture(scope="module")
def long_exponent() -> rsa.RSAPrivateKey:
    return rsa_with_exponent(2048, (1 << 2000) + 1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", [CLIENT, SERVER])
@pytest.mark.parametrize("name", [*TRUSTS, "public keys"])
@pytest.mark.parametrize("place", ["leaf", "issuer"])
def test_no_trust_lets_a_long_exponent_past(name, role, version, place, long_exponent, monkeypatch):
    """The peer proves possession honestly, and the user wants it: the key is refused all the same,
    before any signature is checked with it."""
    raw = name == "public keys"
    if raw and place == "issuer":
        place = "leaf"
    monkeypatch.setitem(test_credentials.MAKERS, "long", lambda: long_exponent)
    issuer = Issued("Long CA", ca_flag(True), kind="long", number=id(long_exponent))
    if raw:
        peer = Credentials.raw_public_key(long_exponent)
        trust = Trust.public_keys(long_exponent.public_key())
    else:
        leaf = Issued(HOST, san(HOST), by=issuer, number=77)
        shown = [issuer] if place == "leaf" else [leaf, issuer]
        peer = Credentials.from_objects(shown[0].key, [i.certificate for i in shown])
        trust = TRUSTS[name](peer)
    ours = {"versions": [version]}
    own = Credentials.self_signed(HOST)
    if role == SERVER:
        server = DTLSConfig(credentials=peer, **ours)
        client = DTLSConfig(trust=trust, **ours)
    else:
        server = DTLSConfig(credentials=own, trust=trust, client_auth="required", **ours)
        client = DTLSConfig(credentials=peer, trust=Trust.insecure(), **ours)
    checked = []
    verify = "aiodtls.core.crypto.signatures.verify"
    monkeypatch.setattr(verify, lambda key, *rest: checked.append(key))
    pair = Pair(client, server, answers=lambda side, question: True, cookie=False)
    assert pair.run()
    judge = pair.client if role == SERVER else pair.server
    assert pair.failed and "exponent of 2001 bits" in str(judge.failure)
    assert not any(isinstance(key, rsa.RSAPublicKey) for key in checked)


# -- chains -----------------------------------------------------------------------------------


def line(length: int, kind: str = "p256") -> list[Issued]:
    """A leaf and CAs above it, the uppermost of the test CA's."""
    by, found = CA, []
    for number in range(length - 1):
        by = Issued(f"CA {number}", ca_flag(True), by=by, kind=kind, number=number + 20)
        found.append(by)
    return [Issued(HOST, san(HOST), by=by), *reversed(found)]


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_the_longest_chain_is_accepted(kind):
    chain = line(9, kind)
    check(trusting(CA), *chain)
    check(trusting(CA), *chain, CA)
    others = [Issued("Test CA", ca_flag(True), number=n) for n in (50, 51)]
    check(trusting(CA, *others), *chain, CA)


@pytest.mark.parametrize("trust", [trusting(CA), Trust.insecure()])
def test_more_than_ten_certificates_are_refused(trust):
    with pytest.raises(chains.AlertError, match="11 certificates"):
        check_keys([LEAF.der, *[CA.der] * 10], CertificateType.X509)
    refused("bad_certificate", "11 certificates", trusting(CA), LEAF, *[CA] * 10)


def crossed(name: str, count: int, by: str = "p256") -> list[Issued]:
    """CAs of one name, each signed by the key of the next, and no end to it."""
    first = Issued(name, ca_flag(True), number=60, kind=by)
    made = [Issued(name, ca_flag(True), number=61, kind=by, by=first)]
    for _ in range(count - 1):
        last = made[-1]
        made.append(Issued(name, ca_flag(True), number=121 - _number(last), kind=by, by=last))
    return made


def _number(issued: Issued) -> int:
    return next(n for n in (60, 61) if test_credentials.key("p256", n) is issued.key)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_a_search_that_branches_is_refused_before_it_begins(count, monkeypatch):
    issuers = crossed("X", count)
    leaf = Issued(HOST, san(HOST), by=issuers[0])
    search = []
    monkeypatch.setattr(chains.verification, "PolicyBuilder", lambda: search.append(1))
    refused("bad_certificate", "signature checks", trusting(CA), leaf, *issuers)
    assert search == []


def test_no_chain_needs_more_signature_checks_than_allowed(monkeypatch):
    """Many shapes of chains; whatever the count says, the library does no more."""
    counted = []
    verify = x509.Certificate.verify_directly_issued_by
    assert callable(verify)
    rng = random.Random(7)
    for _ in range(150):
        names = [f"N{n}" for n in range(rng.choice([1, 2, 3]))]
        issuers = [
            Issued(
                rng.choice(names),
                ca_flag(True),
                by=Issued(rng.choice([*names, "Test CA"]), number=rng.choice([60, 61])),
                number=rng.choice([60, 61]),
            )
            for _ in range(rng.randrange(1, 6))
        ]
        leaf = Issued(HOST, san(HOST), by=rng.choice(issuers))
        search = searched(leaf, issuers)
        counted.append(search)
        error = error_of(leaf, *issuers)
        assert ("signature checks" in error) == (search > chains.MAX_SIGNATURE_CHECKS)
    assert min(counted) <= chains.MAX_SIGNATURE_CHECKS < max(counted)


def searched(leaf: Issued, issuers: list[Issued]) -> int:
    """The checks of a search by names alone, written again and without its shortcuts."""
    distinct = {issuer.der: issuer for issuer in issuers}.values()
    names = {issuer: issuer.certificate.subject for issuer in distinct}
    own = [i for i in distinct if i.certificate.issuer == names[i]]
    signed = [i for i in own if chains._is_self_signed(i.certificate)]
    rest = [i for i in distinct if i not in signed]
    total, level = len(own), [leaf]
    for _ in range(9):
        total += sum(i.certificate.issuer == CA.name for i in level)
        level = [r for i in level for r in rest if names[r] == i.certificate.issuer]
        total += len(level)
        if total > 10_000:
            break
    return total


def error_of(*chain: Issued) -> str:
    try:
        check(trusting(CA), *chain)
    except chains.AlertError as error:
        return str(error)
    return ""


def test_duplicates_and_self_signed_copies_do_no_harm():
    chain = line(3)
    root = Issued("Test CA", ca_flag(True), number=1)
    renewed = [Issued("Test CA", ca_flag(True), number=1) for _ in range(3)]
    check(trusting(CA), chain[0], *chain[1:] * 3, CA, root, *renewed[:1])
    check(trusting(CA), *chain, *renewed)


def test_authorities_that_are_trusted_themselves_count_once():
    chain = line(9, "p384")
    check(trusting(CA, *chain[1:]), *chain, CA)


def test_a_rolled_over_ca_key_is_accepted():
    """RFC 4210 section 4.4: the old key's certificate, signed by the new key, of the same name."""
    new = Issued("Rolling CA", ca_flag(True), number=70)
    old = Issued("Rolling CA", ca_flag(True), number=71, by=new)
    check(trusting(new), Issued(HOST, san(HOST), by=old), old)
    check(trusting(new), Issued(HOST, san(HOST), by=old), old, new)


def test_cross_signed_authorities_are_accepted():
    other = Issued("Other root", ca_flag(True), number=72)
    middle = Issued("Middle", ca_flag(True), number=73, by=CA)
    crossing = Issued("Middle", ca_flag(True), number=73, by=other)
    leaf = Issued(HOST, san(HOST), by=middle)
    for trust in (trusting(CA), trusting(other), trusting(CA, other)):
        check(trust, leaf, crossing, middle, CA, other)
        check(trust, leaf, middle, crossing)


def test_names_times_constraints_are_bounded():
    def constrained(names: int, constraints: int) -> list[Issued]:
        subtrees = [x509.DNSName(f"other{n}.example") for n in range(constraints)]
        narrow = x509.NameConstraints([x509.DNSName("example")], subtrees)
        ca = Issued("Narrow CA", ca_flag(True), narrow, by=CA, number=7)
        return [Issued(HOST, san(*[HOST] * names), by=ca), ca]

    check(trusting(CA), *constrained(100, 100))
    refused("bad_certificate", "name constraints", trusting(CA), *constrained(200, 200))
    leaf, narrow = constrained(200, 200)
    refused("bad_certificate", "name constraints", trusting(narrow), leaf)


def test_a_certificate_that_takes_long_to_read_is_refused_unread():
    many = Issued(HOST, san(*["a.example"] * 2000), by=CA)
    assert len(many.der) > chains.MAX_CERTIFICATE_SIZE
    refused("bad_certificate", f"{len(many.der)} bytes", trusting(CA), many)
    large = Issued(HOST, san(HOST, *["a.example"] * 1000), by=CA)
    check(trusting(CA), large)
    refused("bad_certificate", f"{len(many.der)} bytes", trusting(CA), LEAF, many)


@needs_ml_dsa
def test_three_ml_dsa_87_certificates_pass(monkeypatch):
    monkeypatch.setitem(test_credentials.MAKERS, "mldsa", mldsa.MLDSA87PrivateKey.generate)
    root = Signed("PQ root", None, ca_flag(True), number=1)
    upper = Signed("PQ upper", root, ca_flag(True), number=2)
    lower = Signed("PQ lower", upper, ca_flag(True), number=3)
    leaf = Signed(HOST, lower, san(HOST), kind="p256")
    chain = [leaf, lower, upper]
    assert sum(len(c.der) for c in chain) > 19_000
    check(trusting(root), *chain)
    credentials = Credentials.from_objects(leaf.key, [c.certificate for c in chain])
    for version in VERSIONS:
        ours = {"versions": [version]}
        both = DTLSConfig(
            credentials=credentials, trust=trusting(root), client_auth="required", **ours
        )
        client = DTLSConfig(credentials=credentials, trust=trusting(root), **ours)
        pair = Pair(client, both, server_hostname=HOST)
        assert pair.run() and pair.connected
        assert len(pair.server.peer_certificate_chain) == 3


class Signed(Issued):
    """One whose issuer signs without a hash of ours."""

    def __init__(self, subject, by, *extensions, kind="mldsa", number=0):
        super().__init__(subject, *extensions, by=CA, kind=kind, number=number)
        issuer = by or self
        builder = x509.CertificateBuilder(
            issuer.name,
            self.name,
            self.key.public_key(),
            x509.random_serial_number(),
            NOW - DAY,
            NOW + DAY,
            list(self.certificate.extensions),
        )
        self.certificate = builder.sign(issuer.key, None)
        self.der = self.certificate.public_bytes(Encoding.DER)


# -- the question -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", [CLIENT, SERVER])
@pytest.mark.parametrize(
    "answer, alert",
    [(None, 80), (False, 80), ("yes", 80), (1, 80), (ValueError("no"), 80), (True, None)],
)
def test_only_true_accepts_a_chain(answer, alert, role, version, monkeypatch):
    monkeypatch.setattr(VerificationRequested, "verify", lambda self: answer)
    credentials = Credentials.from_objects(LEAF.key, [LEAF.certificate])
    ours = {"versions": [version], "credentials": credentials}
    believing = trusting(CA)
    asks = role == CLIENT
    server = DTLSConfig(
        **ours, trust=believing if asks else None, client_auth="required" if asks else "none"
    )
    client = DTLSConfig(**ours, trust=Trust.insecure() if asks else believing)
    pair = Pair(client, server, server_hostname=HOST, cookie=False)
    assert pair.run()
    judge = pair.server if asks else pair.client
    assert pair.connected == (alert is None)
    if alert is not None:
        assert "verification of the peer's chain failed" in str(judge.failure)


# -- usage ------------------------------------------------------------------------------------

SERVERS, CLIENTS, MAIL = Use.SERVER_AUTH, Use.CLIENT_AUTH, Use.EMAIL_PROTECTION
PURPOSES = [
    None,
    [SERVERS],
    [CLIENTS],
    [SERVERS, CLIENTS],
    [MAIL],
    [Use.CODE_SIGNING, SERVERS],
    [Use.ANY_EXTENDED_KEY_USAGE],
    [Use.ANY_EXTENDED_KEY_USAGE, MAIL],
]
CA_USAGES = [None, None, {"key_cert_sign": True}, {"digital_signature": True}]
LEAF_USAGES = [None, {"digital_signature": True}, {"key_cert_sign": True}]


class Drawn:
    """A chain with usages drawn at random: ``shown`` for us, ``asked`` for OpenSSL.

    OpenSSL takes anyExtendedKeyUsage in no certificate of a server or client, while RFC 5280
    section 4.2.1.12 lets it stand for both, as GnuTLS and we do: in ``asked`` both stand there.
    """

    def __init__(self, number: int, rng: random.Random, roots: dict[str, list[Issued]]) -> None:
        depth = rng.randrange(4)
        chosen = rng.choice(list(roots))
        self.root, other = roots[chosen]
        self.shown, self.asked = [], []
        by, by_asked = self.root, other
        for level in range(depth):
            extensions = self._extensions(rng, CA_USAGES)
            subject = f"CA {number}.{level}"
            by, by_asked = (
                Issued(subject, ca_flag(True), *e, by=issuer, number=80 + level)
                for e, issuer in zip(extensions, (by, by_asked), strict=True)
            )
            self.shown.insert(0, by)
            self.asked.insert(0, by_asked)
        leaf = self._extensions(rng, LEAF_USAGES)
        self.shown.insert(0, Issued(HOST, san(HOST), *leaf[0], by=by))
        self.asked.insert(0, Issued(HOST, san(HOST), *leaf[1], by=by_asked))

    def _extensions(self, rng, usages) -> list[list[x509.ExtensionType]]:
        bits, purposes = rng.choice(usages), rng.choice(PURPOSES)
        common = [usage(**bits)] if bits else []
        return [common + purpose for purpose in spellings(purposes)]


def spellings(purposes) -> list[list[x509.ExtensionType]]:
    if purposes is None:
        return [[], []]
    either = Use.ANY_EXTENDED_KEY_USAGE in purposes
    listed = [SERVERS, CLIENTS, *(p for p in purposes if p != Use.ANY_EXTENDED_KEY_USAGE)]
    return [[x509.ExtendedKeyUsage(listed if other and either else purposes)] for other in (0, 1)]


def accepted_by_openssl(drawn: list[Drawn], purpose: str, folder: Path) -> set[int]:
    """The numbers of those that ``openssl verify -purpose`` accepts; it is started once."""
    roots = {c.root.der: c.asked[-1] for c in drawn}
    assert roots
    authorities = {issued.der: issued for chain in drawn for issued in chain.asked[1:]}
    (folder / "issuers.pem").write_bytes(b"".join(i.pem for i in authorities.values()))
    leaves = []
    for number, chain in enumerate(drawn):
        path = folder / f"{number}.pem"
        path.write_bytes(chain.asked[0].pem)
        leaves.append(path.name)
    command = ["openssl", "verify", "-purpose", purpose, "-CAfile", "roots.pem"]
    done = subprocess.run(
        [*command, "-untrusted", "issuers.pem", *leaves],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    return {int(text.split(".pem")[0]) for text in lines if text.endswith(".pem: OK")}


def test_usages_of_500_chains_as_openssl_judges_them(tmp_path):
    """Depths 0 to 3 below a root; extendedKeyUsage and keyUsage anywhere; both roles."""
    requires("openssl")
    rng = random.Random(500)
    roots = {}
    for number, purposes in enumerate(PURPOSES):
        subject = f"Root {number}"
        roots[subject] = [
            Issued(subject, ca_flag(True), *extensions, number=90)
            for extensions in spellings(purposes)
        ]
    (tmp_path / "roots.pem").write_bytes(b"".join(pair[1].pem for pair in roots.values()))
    drawn = [Drawn(number, rng, roots) for number in range(500)]
    trust = trusting(*(pair[0] for pair in roots.values()))
    for role, purpose in (("server", "sslserver"), ("client", "sslclient")):
        expected = accepted_by_openssl(drawn, purpose, tmp_path)
        ours = set()
        for number, chain in enumerate(drawn):
            try:
                check(trust, *chain.shown, role=role)
                ours.add(number)
            except chains.AlertError:
                continue
        assert ours == expected
        assert 50 < len(expected) < 450


@pytest.mark.parametrize("role, wrong", [("server", CLIENTS), ("client", SERVERS)])
def test_a_ca_for_something_else_is_named_in_the_refusal(role, wrong):
    for purpose in (wrong, MAIL, Use.CODE_SIGNING):
        middle = Issued("Sub", ca_flag(True), x509.ExtendedKeyUsage([purpose]), by=CA, number=8)
        leaf = Issued(HOST, san(HOST), by=middle)
        words = f"may not issue for a {role}"
        refused("unsupported_certificate", words, trusting(CA), leaf, middle, role=role)


def test_another_path_is_taken_around_a_restricted_ca():
    restricted = Issued("Sub", ca_flag(True), x509.ExtendedKeyUsage([MAIL]), by=CA, number=8)
    free = Issued("Sub", ca_flag(True), by=CA, number=8)
    leaf = Issued(HOST, san(HOST), by=free)
    check(trusting(CA), leaf, restricted, free)
