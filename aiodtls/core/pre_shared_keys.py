"""Configured pre-shared keys, and the versions that can use them."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass, field
from typing import Any

from aiodtls.core import checks
from aiodtls.core.errors import ConfigError
from aiodtls.core.registry import Version

# The wire format allows 65,535 bytes for an identity, and for all extensions of a hello together.
# But many servers drop a hello that is much longer than this, and real identities are shorter.
MAX_IDENTITY_LENGTH = 2048
# For identity and context together. A hello contains them once for each hash.
MAX_IMPORTED_LENGTH = 1024
# How many bytes all PSKs of a client may take in its hello, each with ``_OFFER_OVERHEAD``.
MAX_OFFERED = 12288
MAX_KEY_LENGTH = 65535
# RFC 9257 section 6: shorter keys can be found by trial from a recorded handshake.
LEAST_SAFE_KEY_LENGTH = 16
# Two lengths, protocol and KDF of an imported identity (RFC 9258 section 5.1).
_IMPORT_HEADER = 8
# Besides an identity: its length, the age of a ticket, and a binder with its length.
_OFFER_OVERHEAD = 2 + 4 + 1 + 48
# The hashes for which an imported key is offered, each with an identity.
_TARGET_HASHES = 2


@dataclass(frozen=True, slots=True)
class PSKContext:
    """The peer that needs a key: its address, the server name that it requests, the version.

    ``import_context`` is the context with which the peer imports the key (RFC 9258), if it does.
    """

    peername: Any
    server_name: str | None
    version: Version
    import_context: bytes | None = None


@dataclass(frozen=True, slots=True, init=False)
class PSK:
    """A pre-shared key. Identities are compared as bytes; text is encoded as UTF-8 (RFC 4279).

    ``hash`` is the hash that DTLS 1.3 binds the key to; DTLS 1.2 ignores it. ``context`` is None
    unless the key is to be imported (RFC 9258). ``user_data`` is anything of yours: the endpoint
    has it as ``psk_user_data``. It is neither compared nor shown. A key under 128 bits causes a
    UserWarning (RFC 9257 section 6). An empty identity can be used only with DTLS 1.2, because DTLS
    1.3 cannot offer it (RFC 8446 section 4.2.11).

    Raises:
        ConfigError: a value is invalid.
    """

    identity: bytes
    key: bytes = field(repr=False)
    hash: str
    context: bytes | None
    user_data: Any = field(repr=False, compare=False)

    def __init__(
        self,
        identity: str | bytes,
        key: bytes,
        *,
        hash: str = "SHA256",
        user_data: Any = None,
    ) -> None:
        encoded = encode_identity(identity)
        _check_key(key)
        if hash not in ("SHA256", "SHA384"):
            raise ConfigError(f"the hash of a PSK must be SHA256 or SHA384, not {hash!r}")
        object.__setattr__(self, "identity", encoded)
        object.__setattr__(self, "key", bytes(key))
        object.__setattr__(self, "hash", hash)
        object.__setattr__(self, "context", None)
        object.__setattr__(self, "user_data", user_data)

    @classmethod
    @checks.checked_part
    def imported(
        cls,
        identity: str | bytes,
        key: bytes,
        *,
        context: bytes = b"",
        hash: str = "SHA256",
        user_data: Any = None,
    ) -> PSK:
        """A key for import: DTLS 1.3 uses only keys that are derived from it (RFC 9258).

        So it fits cipher suites with every hash. DTLS 1.2 cannot use it, because a key must not be
        used both imported and directly (RFC 9258 section 4). Both sides must have the same
        ``context``, for example the names of the two roles. ``hash`` is that of the derivation.
        Raises :class:`ConfigError`.
        """
        psk = cls(identity, key, hash=hash, user_data=user_data)
        if not psk.identity:
            raise ConfigError("the identity of an imported PSK is not empty")
        length = len(psk.identity) + len(context)
        if length > MAX_IMPORTED_LENGTH:
            raise ConfigError(
                f"identity and context of an imported PSK have {length} bytes together; "
                f"{MAX_IMPORTED_LENGTH} are the most"
            )
        object.__setattr__(psk, "context", bytes(context))
        return psk

    @property
    def serves_dtls12(self) -> bool:
        """Whether DTLS 1.2 may use it. It must not use an imported key (RFC 9258 section 4)."""
        return self.context is None

    def serves_dtls13(self, hash_name: str) -> bool:
        """Whether DTLS 1.3 can use it with suites that have this hash, in hashlib's spelling."""
        if self.context is not None:
            return True
        return bool(self.identity) and self.hash.lower() == hash_name

    @property
    def offered_size(self) -> int:
        """How many bytes it takes in pre_shared_key of a hello at most."""
        size = len(self.identity) + _OFFER_OVERHEAD
        if self.context is None:
            return size
        return _TARGET_HASHES * (size + len(self.context) + _IMPORT_HEADER)


def encode_identity(identity: str | bytes) -> bytes:
    """Text as UTF-8 (RFC 4279). Raises :class:`ConfigError`."""
    if not isinstance(identity, str | bytes | bytearray | memoryview):
        raise ConfigError(f"a psk identity must be str or bytes, not {type(identity).__name__}")
    encoded = identity.encode() if isinstance(identity, str) else bytes(identity)
    if len(encoded) > MAX_IDENTITY_LENGTH:
        raise ConfigError(
            f"a psk identity has at most {MAX_IDENTITY_LENGTH} bytes, not {len(encoded)}"
        )
    return encoded


def _check_key(key: bytes) -> None:
    if not isinstance(key, bytes | bytearray | memoryview):
        raise ConfigError(f"the key of a psk must be bytes, not {type(key).__name__}")
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise ConfigError(f"the key of a psk has 1 to {MAX_KEY_LENGTH} bytes, not {len(key)}")
    if len(key) < LEAST_SAFE_KEY_LENGTH:
        warnings.warn(
            f"a pre-shared key of {8 * len(key)} bits can be found by trial from one recorded "
            "handshake: use a random key of 128 bits or more (RFC 9257 section 6)",
            UserWarning,
            stacklevel=_depth(),
        )


def _depth() -> int:
    """How many frames of this package are on the stack. The warning is about the caller's frame."""
    depth, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("aiodtls."):
        depth, frame = depth + 1, frame.f_back
    return depth
