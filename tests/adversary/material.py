"""Configs of the server, of honest clients and of attackers, made before the processes part."""

from __future__ import annotations

import datetime
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from aiodtls import PSK, Credentials, DTLSConfig, Trust
from tests.pki import LIFETIME, PKI

VERSIONS = ("1.2", "1.3")
KEY = b"0123456789abcdef"
# The server knows so many identities.
IDENTITIES = 20_000
BOMB_COPIES = 2
BOMB_BITS = 3072
Configs = dict[str, DTLSConfig]


@dataclass(frozen=True)
class Material:
    """``clients`` have no certificate, ``certified`` a good one, ``bombs`` and ``named`` bad ones;
    ``guesses`` have identities and keys that do not belong together.
    """

    server: DTLSConfig
    honest: list[DTLSConfig]
    clients: Configs
    certified: Configs
    bombs: Configs
    named: Configs
    guesses: list[DTLSConfig]


def make(directory: Path) -> Material:
    pki = PKI(directory)
    own = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(own.fingerprint())

    def clients(**fields: Any) -> Configs:
        return {v: DTLSConfig(trust=trust, versions=[v], **fields) for v in VERSIONS}

    # The curve of the certificate has to be among the groups of DTLS 1.2.
    short: dict[str, Any] = {"groups": ["x25519", "secp256r1"], "key_shares": ["x25519"]}

    def small(**fields: Any) -> Configs:
        """Attackers have short hellos: they get more of them for their money."""
        return clients(**short, **fields)

    server = DTLSConfig(
        credentials=own,
        trust=pki.trust,
        client_auth="optional",
        psk={f"device {number}": KEY for number in range(IDENTITIES)},
    )
    device = pki.leaf(name="device").credentials
    honest = [
        *clients().values(),
        # Its first hello is that of a browser: two datagrams.
        DTLSConfig(trust=trust),
        *clients(credentials=device, anonymous_fallback=False).values(),
        DTLSConfig(psk=PSK("device 7", KEY)),
    ]
    psks = [PSK("nobody", KEY), PSK("device 9", bytes(16))]
    return Material(
        server=server,
        honest=honest,
        clients=small(),
        # A record for each message: one of them is only the begin of a flight.
        certified=small(credentials=device, anonymous_fallback=False, records_individually=True),
        bombs=small(credentials=_bomb(), anonymous_fallback=False),
        named=small(credentials=_named(), anonymous_fallback=False),
        guesses=[DTLSConfig(psk=psk, versions=[v], **short) for v in VERSIONS for psk in psks],
    )


def _bomb() -> Credentials:
    """A leaf below copies of one self-issued certificate with a long RSA exponent."""
    issuer, key = _long_exponent(), ec.generate_private_key(ec.SECP256R1())
    leaf = _certificate("localhost", "X", key.public_key(), issuer)
    copies = [_certificate("X", "X", issuer.public_key(), issuer, True) for _ in range(BOMB_COPIES)]
    return Credentials.from_objects(key, [leaf, *copies])


def _long_exponent() -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(65537, BOMB_BITS).private_numbers()
    order = math.lcm(key.p - 1, key.q - 1)
    e = random.Random(key.p).getrandbits(BOMB_BITS - 2) | 1 << BOMB_BITS - 3 | 1
    while math.gcd(e, order) != 1:
        e += 2
    d = pow(e, -1, order)
    public = rsa.RSAPublicNumbers(e, key.p * key.q)
    return rsa.RSAPrivateNumbers(
        key.p, key.q, d, d % (key.p - 1), d % (key.q - 1), key.iqmp, public
    ).private_key()


def _named() -> Credentials:
    """A certificate whose names would be lines of a log."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = "x\r\n2026-01-01 ERROR all is lost \x1b[31m" + 30 * "y"
    return Credentials.from_objects(key, [_certificate(name, name, key.public_key(), key)])


def _certificate(
    subject: str, issuer: str, public_key: Any, issuer_key: Any, is_ca: bool = False
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer[:64])]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
