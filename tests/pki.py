"""A small PKI made at test time: one CA, a leaf of each key kind, as PEM files."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from aiodtls import Credentials, Trust

KEY_KINDS: dict[str, Any] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "rsa-2048": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
LIFETIME = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Leaf:
    """Paths of a PEM certificate and key."""

    certfile: str
    keyfile: str

    @property
    def credentials(self) -> Credentials:
        return Credentials.from_files(self.certfile, self.keyfile)


class PKI:
    """Leaves are made when first asked for: an RSA key takes a while."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca_key = KEY_KINDS["ecdsa-p256"]()
        self._ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aiodtls test CA")])
        builder = self._builder(self._ca_name, self._ca_key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        usage = dict.fromkeys(_KEY_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        self.ca = builder.sign(self._ca_key, hashes.SHA256())
        self.cafile = str(directory / "ca.pem")
        Path(self.cafile).write_bytes(self.ca.public_bytes(Encoding.PEM))
        self.leaf = cache(self._make_leaf)

    @property
    def trust(self) -> Trust:
        return Trust.from_files(self.cafile)

    def _make_leaf(self, kind: str = "ecdsa-p256", name: str = "server") -> Leaf:
        key = KEY_KINDS[kind]()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.DNSName("sensor.example"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
        usage = dict.fromkeys(_KEY_USAGES, False) | {"digital_signature": True}
        # Some want it of any RSA key of a server, NSS for one.
        usage["key_encipherment"] = kind.startswith("rsa")
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .sign(self._ca_key, hashes.SHA256())
        )
        certfile = self.directory / f"{name}-{kind}.crt"
        keyfile = self.directory / f"{name}-{kind}.key"
        certfile.write_bytes(certificate.public_bytes(Encoding.PEM))
        keyfile.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Leaf(str(certfile), str(keyfile))

    def _builder(self, subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()),
                critical=False,
            )
        )


_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
