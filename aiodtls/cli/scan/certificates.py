"""What a scan says of a chain."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from aiodtls.core.crypto.names import MAX_NAMES_SHOWN, matches, subject_names
from aiodtls.core.errors import AlertError
from aiodtls.core.peer_text import shown


@dataclass(frozen=True)
class CertificateFacts:
    """One certificate. Dates are in UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    key: str
    signature_hash: str | None
    not_before: datetime.datetime
    not_after: datetime.datetime
    is_self_signed: bool
    key_bits: int | None
    matches_name: bool | None


def facts_of(chain: Sequence[bytes], name: str) -> tuple[CertificateFacts, ...]:
    """Of each certificate that can be parsed, leaf first."""
    found = []
    for number, data in enumerate(chain):
        try:
            found.append(_facts(x509.load_der_x509_certificate(data), None if number else name))
        except (ValueError, TypeError, AlertError):
            continue
    return tuple(found)


def _facts(certificate: x509.Certificate, name: str | None) -> CertificateFacts:
    key = certificate.public_key()
    bits = getattr(key, "key_size", None)
    if isinstance(key, ec.EllipticCurvePublicKey):
        kind = f"ECDSA {key.curve.name}"
    elif isinstance(key, rsa.RSAPublicKey):
        kind = f"RSA {bits}"
    elif isinstance(key, dsa.DSAPublicKey):
        kind = f"DSA {bits}"
    else:
        kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
    algorithm = certificate.signature_hash_algorithm
    host_names = subject_names(certificate)
    return CertificateFacts(
        subject=shown(certificate.subject.rfc4514_string()),
        issuer=shown(certificate.issuer.rfc4514_string()),
        names=tuple(shown(str(each.value)) for each in host_names[:MAX_NAMES_SHOWN]),
        key=kind,
        signature_hash=algorithm.name if algorithm is not None else None,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_self_signed=certificate.subject == certificate.issuer,
        key_bits=bits,
        matches_name=matches(host_names, name) if name is not None else None,
    )
