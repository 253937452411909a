"""HMAC (RFC 2104), as the key derivations of both versions use it.

``cryptography`` takes two thirds of the time of ``hmac.digest`` for a short message, and half of it
where one key has several messages. Hash names are hashlib's: "sha256" or "sha384".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

Keyed: TypeAlias = Callable[[bytes], bytes]
# A key, or its HMAC where several things are drawn from it.
Secret: TypeAlias = bytes | Keyed

_HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}


def digest(hash_name: str, key: bytes, message: bytes) -> bytes:
    """Of one message."""
    mac = HMAC(key, _HASHES[hash_name])
    mac.update(message)
    return mac.finalize()


def keyed(hash_name: str, key: bytes) -> Keyed:
    """The same for several messages."""
    fresh = HMAC(key, _HASHES[hash_name])

    def digest(message: bytes) -> bytes:
        mac = fresh.copy()
        mac.update(message)
        return mac.finalize()

    return digest
