"""The DTLS 1.2 pseudorandom function, and all values that are derived with it.

Hash names are hashlib's: "sha256" or "sha384". See RFC 5246 sections 5, 6.3, 7.4.9 and 8.1, RFC
7627 (extended master secret) and RFC 5705 (exporters).
"""

from __future__ import annotations

from aiodtls.core.crypto import hmacs
from aiodtls.core.crypto.hmacs import Secret

MASTER_SECRET_LENGTH = 48
VERIFY_DATA_LENGTH = 12

# An exporter with one of these labels would reveal the association's own secrets.
RESERVED_LABELS = frozenset(
    {
        b"client finished",
        b"server finished",
        b"master secret",
        b"extended master secret",
        b"key expansion",
    }
)


def prf(hash_name: str, secret: Secret, label: bytes, seed: bytes, length: int) -> bytes:
    """``length`` bytes of P_hash(secret, label + seed) (RFC 5246 section 5)."""
    seed = label + seed
    block = seed
    output = bytearray()
    mac = hmacs.keyed(hash_name, secret) if isinstance(secret, bytes) else secret
    while len(output) < length:
        block = mac(block)
        output += mac(block + seed)
    return bytes(output[:length])


def master_secret(
    hash_name: str, premaster: bytes, client_random: bytes, server_random: bytes
) -> bytes:
    """The 48-byte master secret (RFC 5246 section 8.1)."""
    seed = client_random + server_random
    return prf(hash_name, premaster, b"master secret", seed, MASTER_SECRET_LENGTH)


def extended_master_secret(hash_name: str, premaster: bytes, session_hash: bytes) -> bytes:
    """The 48-byte master secret. ``session_hash`` covers all messages up to ClientKeyExchange (RFC
    7627 section 4).
    """
    label = b"extended master secret"
    return prf(hash_name, premaster, label, session_hash, MASTER_SECRET_LENGTH)


def verify_data(
    hash_name: str, master_secret: Secret, role_label: bytes, handshake_hash: bytes
) -> bytes:
    """12 bytes. ``role_label`` is b"client finished" or b"server finished" (RFC 5246 section
    7.4.9).
    """
    return prf(hash_name, master_secret, role_label, handshake_hash, VERIFY_DATA_LENGTH)


def key_block(
    hash_name: str, master: Secret, client_random: bytes, server_random: bytes, length: int
) -> bytes:
    """``length`` bytes from which the record keys are cut (RFC 5246 section 6.3)."""
    return prf(hash_name, master, b"key expansion", server_random + client_random, length)


def exporter(
    hash_name: str,
    master: bytes,
    client_random: bytes,
    server_random: bytes,
    label: bytes,
    length: int,
    context: bytes | None,
) -> bytes:
    """Keying material for an application (RFC 5705 section 4).

    No context (None) and an empty context give different bytes.

    Raises:
        ValueError: DTLS itself uses the label, the length is negative, or the context is longer
            than 65535 bytes.
    """
    if label in RESERVED_LABELS:
        raise ValueError(f"the label {label.decode()!r} belongs to DTLS itself")
    if length < 0:
        raise ValueError("length must not be negative")
    seed = client_random + server_random
    if context is not None:
        if len(context) > 0xFFFF:
            raise ValueError("a context has at most 65535 bytes")
        seed += len(context).to_bytes(2, "big") + context
    return prf(hash_name, master, label, seed, length)
