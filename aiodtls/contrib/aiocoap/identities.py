"""Who the peer is, and whom to accept, in CoAP's terms: claims, names of keys, aiocoap's PSKs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from aiocoap.credentials import CredentialsMap
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from aiodtls import PSK, DTLSEndpoint, PSKContext, Trust, TrustContext

Claims: TypeAlias = Callable[[DTLSEndpoint], Iterable[object]]

# How names of keys begin (RFC 6920 section 3), and how many bytes of the hash follow. Shorter ones
# could be found again by trial.
NAME_LENGTHS = {"ni:///sha-256;": 32, "ni:///sha-256-128;": 16, "ni:///sha-256-120;": 15}


def key_name(key: PublicKeyTypes, *, bits: int = 256) -> str:
    """The name of a public key: ``ni:///sha-256;...`` (RFC 6920, RFC 7252 section 9.1.3.2.1).

    Args:
        key: the public key.
        bits: how much of the hash is in the name: 256, 128 or 120.

    Raises:
        ValueError: for another number of bits.
    """
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for start, length in NAME_LENGTHS.items():
        if bits == 8 * length:
            return _name(spki, start)
    raise ValueError(f"the name of a key has 256, 128 or 120 bits of its hash, not {bits!r}")


def _name(spki: bytes, start: str) -> str:
    digest = hashlib.sha256(spki).digest()[: NAME_LENGTHS[start]]
    return start + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def trust_key_names(*names: str) -> Trust:
    """Accepts raw public keys (RFC 7250) that have one of these names.

    Args:
        names: as ``key_name`` makes them, of 256, 128 or 120 bits.

    Raises:
        ValueError: there is no name, or one that is not of this form.
    """
    if not names:
        raise ValueError("trust needs at least one name of a key")
    known = [(_start_of(name), name) for name in names]

    def accept(chain: Sequence[bytes], context: TrustContext) -> bool:
        return any(
            hmac.compare_digest(_name(chain[0], start).encode(), name.encode())
            for start, name in known
        )

    return Trust.from_function(accept, raw_public_keys=True)


def _start_of(name: str) -> str:
    """How a name of a key begins. Raises ValueError for another text."""
    start, separator, digest = name.partition(";")
    start += separator
    if start in NAME_LENGTHS:
        padding = "=" * (-len(digest) % 4)
        try:
            hashed = base64.b64decode(digest + padding, altchars=b"-_", validate=True)
        except ValueError:
            hashed = b""
        if len(hashed) == NAME_LENGTHS[start]:
            return start
    raise ValueError(
        f"{name!r} is not the name of a key: ni:///sha-256;, ni:///sha-256-128; or "
        "ni:///sha-256-120; and the hash in base64url; key_name() makes one"
    )


def claims_of(endpoint: DTLSEndpoint) -> tuple[object, ...]:
    """What the handshake has proved about the peer: ``remote.authenticated_claims``.

    - A PSK: its ``user_data``, else the identity as bytes. Keys of aiocoap's ``server_credentials``
      have the name of their entry.
    - A certificate: its names, as ``dns:``, ``ip:``, ``uri:``, ``email:`` and ``cn:`` with the
      value, and the name of its key.
    - A raw public key: the name of the key, as ``key_name`` makes it, of 256 and of 120 bits.
    """
    claims: list[object] = []
    if endpoint.psk_identity is not None:
        data = endpoint.psk_user_data
        claims.append(data if data is not None else endpoint.psk_identity)
    if endpoint.peer_certificates:
        claims += _names_of(endpoint.peer_certificates[0])
    key = endpoint.peer_public_key
    if key is not None:
        claims += [key_name(key), key_name(key, bits=120)]
    return tuple(claims)


def _names_of(certificate: x509.Certificate) -> list[str]:
    names = [
        f"cn:{attribute.value!s}"
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return names
    kinds: dict[str, Any] = {
        "dns": x509.DNSName,
        "ip": x509.IPAddress,
        "uri": x509.UniformResourceIdentifier,
        "email": x509.RFC822Name,
    }
    for prefix, kind in kinds.items():
        names += [f"{prefix}:{value}" for value in found.get_values_for_type(kind)]
    return names


def psks_of(credentials: CredentialsMap) -> Callable[[bytes, PSKContext], PSK | None]:
    """Lets a server's ``DTLSConfig(psk=...)`` ask aiocoap's credentials.

    The names of their entries become ``user_data``, and so claims of the peer. The entries may
    change at any time.

    Args:
        credentials: such as ``context.server_credentials``, with entries of the kind ``dtls``.
    """

    def find(identity: bytes, context: PSKContext) -> PSK | None:
        try:
            key, entry = credentials.find_dtls_psk(identity)
        except KeyError:
            return None
        return PSK(identity, key, user_data=entry)

    return find
