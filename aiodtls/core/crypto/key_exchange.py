"""Ephemeral key agreement, and the premaster secret of the PSK key exchanges.

The side that sends its public value first makes a :class:`KeyShare` and later calls ``exchange``.
The other side calls :func:`respond`. Key encapsulation fits the same two calls.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aiodtls.core.crypto import capabilities
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.frozen import frozen
from aiodtls.core.registry import AlertDescription, NamedGroup

# Hybrid groups first, so that traffic recorded today stays secret when quantum computers exist.
GROUPS: tuple[NamedGroup, ...] = (
    NamedGroup.X25519MLKEM768,
    NamedGroup.x25519,
    NamedGroup.secp256r1,
    NamedGroup.secp384r1,
    NamedGroup.secp521r1,
    NamedGroup.x448,
    NamedGroup.SecP256r1MLKEM768,
)
# The (EC)DHE group within each hybrid (draft-ietf-tls-ecdhe-mlkem). DTLS 1.2 has no hybrids.
HYBRIDS: dict[NamedGroup, NamedGroup] = {
    NamedGroup.X25519MLKEM768: NamedGroup.x25519,
    NamedGroup.SecP256r1MLKEM768: NamedGroup.secp256r1,
}


def available_groups() -> tuple[NamedGroup, ...]:
    """The groups of ``GROUPS`` that the installed ``cryptography`` supports."""
    if capabilities.ML_KEM in capabilities.FEATURES:
        return GROUPS
    return tuple(group for group in GROUPS if group not in HYBRIDS)


DEFAULT_GROUPS = available_groups()

_CURVES: dict[NamedGroup, Callable[[], ec.EllipticCurve]] = {
    NamedGroup.secp256r1: ec.SECP256R1,
    NamedGroup.secp384r1: ec.SECP384R1,
    NamedGroup.secp521r1: ec.SECP521R1,
}
# The classes of private and public keys (RFC 7748).
_MONTGOMERY: dict[NamedGroup, tuple[Any, Any]] = {
    NamedGroup.x25519: (x25519.X25519PrivateKey, x25519.X25519PublicKey),
    NamedGroup.x448: (x448.X448PrivateKey, x448.X448PublicKey),
}
_UNCOMPRESSED = 4
CLASSIC_LENGTHS = {NamedGroup.x25519: 32, NamedGroup.secp256r1: 65}
# ML-KEM-768 (FIPS 203): lengths of encapsulation key and ciphertext.
KEM_KEY_LENGTH = 1184
KEM_CIPHERTEXT_LENGTH = 1088


@frozen
class KeyShare:
    """An ephemeral key of ours.

    ``public`` is its encoding: an uncompressed point (RFC 8422 section 5.4.1) or a u-coordinate
    (RFC 7748 section 5).
    """

    group: NamedGroup
    public: bytes
    _private: Any = field(repr=False, compare=False)
    _decapsulation_key: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def generate(cls, group: NamedGroup) -> KeyShare:
        """A new key in ``group``."""
        if group in HYBRIDS:
            classic = cls.generate(HYBRIDS[group])
            kem = capabilities.mlkem.MLKEM768PrivateKey.generate()
            encapsulation_key = kem.public_key().public_bytes_raw()
            public = _join(group, classic.public, encapsulation_key)
            return cls(group, public, classic._private, kem)
        private = _generate(group)
        return cls(group, _encode_public(group, private), private)

    def exchange(self, peer_public: bytes) -> bytes:
        """The shared secret: the x-coordinate with its leading zeros, or the u-coordinate.

        Raises:
            AlertError: illegal_parameter for a public key of wrong length or form, off the curve,
                or of small order (RFC 8422 section 5.11, RFC 8446 section 7.4.2).
        """
        try:
            if self._decapsulation_key is not None:
                classic, ciphertext = _split(self.group, peer_public, KEM_CIPHERTEXT_LENGTH)
                kem_secret: bytes = self._decapsulation_key.decapsulate(ciphertext)
                secret = _agree(HYBRIDS[self.group], self._private, classic)
                return _join(self.group, secret, kem_secret)
            return _agree(self.group, self._private, peer_public)
        except ValueError as error:
            raise AlertError(
                AlertDescription.illegal_parameter,
                f"the peer's {self.group.name} public key is not valid",
            ) from error


def respond(group: NamedGroup, peer_public: bytes) -> tuple[bytes, bytes]:
    """Answers a peer's share. Returns our public value and the shared secret.

    Raises:
        AlertError: as :meth:`KeyShare.exchange`.
    """
    if group not in HYBRIDS:
        share = KeyShare.generate(group)
        return share.public, share.exchange(peer_public)
    try:
        classic, encapsulation_key = _split(group, peer_public, KEM_KEY_LENGTH)
        kem = capabilities.mlkem.MLKEM768PublicKey.from_public_bytes(encapsulation_key)
        kem_secret, ciphertext = kem.encapsulate()
    except ValueError as error:
        raise AlertError(
            AlertDescription.illegal_parameter, f"the peer's {group.name} share is not valid"
        ) from error
    public, secret = respond(HYBRIDS[group], classic)
    return _join(group, public, ciphertext), _join(group, secret, kem_secret)


def _join(group: NamedGroup, classic: bytes, kem: bytes) -> bytes:
    """X25519MLKEM768 puts the KEM part first, SecP256r1MLKEM768 the curve part."""
    return kem + classic if group is NamedGroup.X25519MLKEM768 else classic + kem


def _split(group: NamedGroup, joined: bytes, kem_length: int) -> tuple[bytes, bytes]:
    """The (EC)DHE part and the KEM part. Raises ValueError for a wrong length."""
    classic_length = CLASSIC_LENGTHS[HYBRIDS[group]]
    if len(joined) != classic_length + kem_length:
        raise ValueError("a hybrid key share of wrong length")
    if group is NamedGroup.X25519MLKEM768:
        return joined[kem_length:], joined[:kem_length]
    return joined[:classic_length], joined[classic_length:]


def group_by_name(name: str) -> NamedGroup:
    """The group with this IANA name, in any case. Raises :class:`ConfigError`."""
    for group in GROUPS:
        if group.name.lower() == name.lower():
            if group in HYBRIDS:
                capabilities.require(capabilities.ML_KEM, f"group {group.name}")
            return group
    known = ", ".join(group.name for group in DEFAULT_GROUPS)
    raise ConfigError(f"group {name!r} is not supported; there are {known}")


def psk_premaster_secret(psk: bytes, other_secret: bytes | None = None) -> bytes:
    """The premaster secret of a PSK key exchange.

    ``other_secret`` is the ECDH shared secret (RFC 5489 section 2). Without one it is zeros, as
    many as the key has bytes (RFC 4279 section 2).
    """
    other = bytes(len(psk)) if other_secret is None else other_secret
    return len(other).to_bytes(2, "big") + other + len(psk).to_bytes(2, "big") + psk


def _generate(group: NamedGroup) -> Any:
    if group in _MONTGOMERY:
        return _MONTGOMERY[group][0].generate()
    return ec.generate_private_key(_CURVES[group]())


def _encode_public(group: NamedGroup, private: Any) -> bytes:
    public = private.public_key()
    encoded: bytes = (
        public.public_bytes_raw()
        if group in _MONTGOMERY
        else public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    return encoded


def _agree(group: NamedGroup, private: Any, peer_public: bytes) -> bytes:
    """The shared secret. Raises ValueError for an invalid public key."""
    if group in _MONTGOMERY:
        secret: bytes = private.exchange(_MONTGOMERY[group][1].from_public_bytes(peer_public))
        # The RFC requires this check of us, whatever the library does.
        if hmac.compare_digest(secret, bytes(len(secret))):
            raise ValueError("the shared secret is all zeros")
        return secret
    # The library also reads compressed points, but RFC 8422 section 5.1.2 allows only uncompressed
    # ones.
    if peer_public[:1] != bytes([_UNCOMPRESSED]):
        raise ValueError("not an uncompressed point")
    point = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[group](), peer_public)
    agreed: bytes = private.exchange(ec.ECDH(), point)
    return agreed
