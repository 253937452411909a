"""SRTP keys from a DTLS handshake (RFC 5764 section 4.2, RFC 7714 section 12)."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiodtls.core.registry import SRTPProtectionProfile

LABEL = "EXTRACTOR-dtls_srtp"

# Lengths of master key and master salt in bytes.
_LENGTHS = {
    SRTPProtectionProfile.SRTP_AES128_CM_HMAC_SHA1_80: (16, 14),
    SRTPProtectionProfile.SRTP_AES128_CM_HMAC_SHA1_32: (16, 14),
    SRTPProtectionProfile.SRTP_AEAD_AES_128_GCM: (16, 12),
    SRTPProtectionProfile.SRTP_AEAD_AES_256_GCM: (32, 12),
}


@dataclass(frozen=True, slots=True)
class SRTPKeys:
    """SRTP master keys and salts. Each side protects with its own and opens with the peer's."""

    profile: str
    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    client_salt: bytes = field(repr=False)
    server_salt: bytes = field(repr=False)


def keying_material_length(profile: SRTPProtectionProfile) -> int:
    """How many bytes to export for this profile."""
    return 2 * sum(_LENGTHS[profile])


def split_keying_material(profile: SRTPProtectionProfile, material: bytes) -> SRTPKeys:
    """Splits the exported bytes as RFC 5764 section 4.2 says: both keys, then both salts."""
    key, salt = _LENGTHS[profile]
    ends = (key, 2 * key, 2 * key + salt, 2 * key + 2 * salt)
    return SRTPKeys(
        profile.name,
        material[: ends[0]],
        material[ends[0] : ends[1]],
        material[ends[1] : ends[2]],
        material[ends[2] : ends[3]],
    )
