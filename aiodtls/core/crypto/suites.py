"""The cipher suites: key exchange, AEAD, hash, and how long a key may be used.

Only AEAD suites with an ephemeral or pre-shared key exchange are supported. :data:`SUITES` is in
the server's order of preference.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from aiodtls.core.crypto import capabilities
from aiodtls.core.errors import ConfigError
from aiodtls.core.registry import CipherSuite

Bytes: TypeAlias = bytes | memoryview


class AEADObject(Protocol):
    """A keyed AEAD. Decryption raises ``cryptography.exceptions.InvalidTag``.

    The last argument of ``..._into`` receives the result and has exactly its length.
    """

    def encrypt(self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, /) -> bytes: ...

    def decrypt(self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, /) -> bytes: ...

    def encrypt_into(
        self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, into: memoryview, /
    ) -> int: ...

    def decrypt_into(
        self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, into: memoryview, /
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class AEAD:
    """A record protection algorithm. Lengths are in bytes.

    Attributes:
        sealing_limit: how many records one key may protect.
        forgery_limit: how many records may fail to open under one key (RFC 9147 section 4.5.3).

    AES_128_CCM_8 and AES_256_CCM_8 have no safe forgery limit (RFC 9147 appendix B.2). Theirs is
    counted and reported. Use a short tag only on constrained devices.
    """

    name: str
    key_length: int
    fixed_iv_length: int
    explicit_nonce_length: int
    tag_length: int
    sealing_limit: int
    forgery_limit: int
    _make: Callable[[bytes], AEADObject] = field(repr=False, compare=False)

    def create(self, key: bytes) -> AEADObject:
        """The keyed algorithm. Raises ValueError unless ``key`` has ``key_length`` bytes."""
        if len(key) != self.key_length:
            raise ValueError(f"{self.name} takes a key of {self.key_length} bytes")
        made = self._make(key)
        return made if capabilities.INTO in capabilities.FEATURES else CopyingAEAD(made)


class CopyingAEAD:
    """Provides ``..._into`` for versions of ``cryptography`` that lack it, by copying each
    result.
    """

    def __init__(self, made: AEADObject) -> None:
        self.encrypt: Callable[[Bytes, Bytes, Bytes | None], bytes] = made.encrypt
        self.decrypt: Callable[[Bytes, Bytes, Bytes | None], bytes] = made.decrypt

    def encrypt_into(
        self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, into: memoryview, /
    ) -> int:
        return _fill(into, self.encrypt(nonce, data, associated_data))

    def decrypt_into(
        self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, into: memoryview, /
    ) -> int:
        return _fill(into, self.decrypt(nonce, data, associated_data))


def _fill(into: memoryview, result: bytes) -> int:
    if len(into) != len(result):
        raise ValueError(f"buffer must be {len(result)} bytes")
    into[:] = result
    return len(result)


def _gcm(bits: int) -> AEAD:
    return AEAD(f"AES-{bits}-GCM", bits // 8, 4, 8, 16, int(2**24.5), 2**36, AESGCM)


def _ccm(bits: int) -> AEAD:
    return AEAD(f"AES-{bits}-CCM", bits // 8, 4, 8, 16, 2**23, int(2**23.5), AESCCM)


def _ccm_8(bits: int) -> AEAD:
    def make(key: bytes) -> AEADObject:
        return AESCCM(key, tag_length=8)

    return AEAD(f"AES-{bits}-CCM-8", bits // 8, 4, 8, 8, 2**23, 2**7, make)


AES_128_GCM = _gcm(128)
AES_256_GCM = _gcm(256)
AES_128_CCM = _ccm(128)
AES_256_CCM = _ccm(256)
AES_128_CCM_8 = _ccm_8(128)
AES_256_CCM_8 = _ccm_8(256)
# The 48-bit sequence number ends before this algorithm's usage limit.
CHACHA20_POLY1305 = AEAD("ChaCha20-Poly1305", 32, 12, 0, 16, 2**48, 2**36, ChaCha20Poly1305)


class KeyExchange(enum.Enum):
    """How a DTLS 1.2 suite makes its premaster secret, and which side authenticates."""

    ECDHE_ECDSA = "ECDHE_ECDSA"
    ECDHE_RSA = "ECDHE_RSA"
    PSK = "PSK"
    ECDHE_PSK = "ECDHE_PSK"

    def __init__(self, name: str) -> None:
        self.uses_psk: bool = name in ("PSK", "ECDHE_PSK")
        self.uses_ecdhe: bool = name != "PSK"
        self.uses_certificate: bool = not self.uses_psk


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """A cipher suite. There is one object for each code point.

    ``hash_name`` is the hash of PRF and transcript, in hashlib's spelling. ``key_exchange`` is None
    for the suites of DTLS 1.3, which do not determine it.
    """

    code: CipherSuite
    key_exchange: KeyExchange | None
    aead: AEAD
    hash_name: str

    @property
    def version(self) -> str:
        """The only version that has this suite."""
        return "1.3" if self.key_exchange is None else "1.2"

    @property
    def name(self) -> str:
        """The name in the IANA registry."""
        return self.code.name

    def __reduce__(self) -> tuple[Callable[[int], Suite], tuple[int]]:
        """A copied or unpickled suite is the object in the table, so that a copied config has the
        same ones.
        """
        return _suite_of, (int(self.code),)


def _suite_of(code: int) -> Suite:
    return SUITES[code]


def _table(codes: Iterable[CipherSuite]) -> dict[int, Suite]:
    return {int(code): _describe(code) for code in codes}


_AEADS = {
    "AES_128_GCM": AES_128_GCM,
    "AES_256_GCM": AES_256_GCM,
    "CHACHA20_POLY1305": CHACHA20_POLY1305,
    "AES_128_CCM": AES_128_CCM,
    "AES_256_CCM": AES_256_CCM,
    "AES_128_CCM_8": AES_128_CCM_8,
    "AES_256_CCM_8": AES_256_CCM_8,
}


def _describe(code: CipherSuite) -> Suite:
    """Derives a suite from its registered name: TLS_<exchange>_WITH_<aead>[_<hash>].

    Suites whose name has no hash use SHA-256 (RFC 6655 section 3, RFC 7251 section 2).
    """
    exchange, separator, cipher = code.name.removeprefix("TLS_").partition("_WITH_")
    if not separator:
        # The name of a DTLS 1.3 suite has no key exchange.
        exchange, cipher = "", exchange
    hash_name = "sha384" if cipher.endswith("_SHA384") else "sha256"
    aead = cipher.removesuffix("_SHA256").removesuffix("_SHA384")
    return Suite(code, KeyExchange[exchange] if exchange else None, _AEADS[aead], hash_name)


# Forward secrecy before plain PSK. Within each: AES-GCM (the fastest if the processor supports it),
# ChaCha20, CCM. The short tags of CCM_8 come last.
SUITES: dict[int, Suite] = _table(
    (
        CipherSuite.TLS_AES_128_GCM_SHA256,
        CipherSuite.TLS_AES_256_GCM_SHA384,
        CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
        CipherSuite.TLS_AES_128_CCM_SHA256,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite.TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_CCM,
        CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256,
        CipherSuite.TLS_PSK_WITH_AES_128_GCM_SHA256,
        CipherSuite.TLS_PSK_WITH_AES_256_GCM_SHA384,
        CipherSuite.TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite.TLS_PSK_WITH_AES_128_CCM,
        CipherSuite.TLS_PSK_WITH_AES_256_CCM,
        CipherSuite.TLS_AES_128_CCM_8_SHA256,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8,
        CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256,
        CipherSuite.TLS_PSK_WITH_AES_128_CCM_8,
        CipherSuite.TLS_PSK_WITH_AES_256_CCM_8,
    )
)

DEFAULT_SUITES: tuple[Suite, ...] = tuple(
    suite for suite in SUITES.values() if suite.aead.tag_length == 16
)


def suite_by_name(name: str) -> Suite:
    """The suite with this IANA name. Raises :class:`ConfigError` with a list of similar names."""
    by_name = {suite.name: suite for suite in SUITES.values()}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name.upper(), by_name, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise ConfigError(f"cipher suite {name!r} is not supported (use the IANA name){hint}")
