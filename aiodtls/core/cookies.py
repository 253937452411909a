"""Stateless address validation, under a secret that rotates; the one before still counts.

The cookie of HelloVerifyRequest (RFC 6347 section 4.2.1) is a MAC over the client's address and
the parameters of its hello; an invalid one counts as none. That of HelloRetryRequest (RFC 9147
section 5.1) also carries what a server must remember of the first hello.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Hashable
from struct import Struct, pack

from aiodtls.core.crypto.suites import Suite
from aiodtls.core.frozen import frozen
from aiodtls.core.wire.codec import Reader
from aiodtls.core.wire.messages import ClientHello

SECRET_LENGTH = 32
# A client's slowest resend, 64 s, falls within two periods.
ROTATION_PERIOD = 120.0
MAC_LENGTH = 32
# The lengths of a MAC's parts go before them, so that one part cannot pass for another.
_LENGTHS12 = Struct("!HIBHB")
_LENGTH13 = Struct("!I")
# Milliseconds, suite, group, and the length of the hash that follows.
_SEALED = Struct("!QHHB")
TIME_MASK = (1 << 64) - 1


@frozen
class SealedHello:
    """What a cookie of DTLS 1.3 remembers: Hash(ClientHello1), suite, and group asked for, or 0."""

    hello_hash: bytes
    suite: int
    group: int


@frozen
class Retry:
    """The HelloRetryRequest that a second ClientHello answers; ``body`` is the message's."""

    hello_hash: bytes
    suite: Suite
    body: bytes


@frozen
class ValidatedHello:
    """A ClientHello whose cookie was right: what leads from no state to a connection.

    ``body`` is the whole message as it came, ``record_number`` the highest record sequence number
    that carried a part of it. ``retry`` is there where a HelloRetryRequest of ours came before.
    """

    hello: ClientHello
    body: bytes
    message_seq: int
    record_number: int
    retry: Retry | None = None


class Cookies:
    """Makes and checks cookies. ``random`` gives the secrets."""

    __slots__ = ("_expires", "_previous", "_random", "_secret")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._secret = random(SECRET_LENGTH)
        self._previous = random(SECRET_LENGTH)
        self._expires: float | None = None

    def make(self, address: Hashable, hello: ClientHello, now: float) -> bytes:
        self._rotate(now)
        return _mac(self._secret, address, hello)

    def check(self, address: Hashable, hello: ClientHello, now: float) -> bool:
        if not hello.cookie:
            return False
        self._rotate(now)
        # Both are always computed, so that the time tells nothing of which one fits.
        current = hmac.compare_digest(_mac(self._secret, address, hello), hello.cookie)
        previous = hmac.compare_digest(_mac(self._previous, address, hello), hello.cookie)
        return current or previous

    def seal(self, address: Hashable, hello: SealedHello, now: float, wall_time: float) -> bytes:
        """A cookie for HelloRetryRequest, good for ``ROTATION_PERIOD``.

        ``wall_time`` is seconds since 1970.
        """
        self._rotate(now)
        made, digest = int(wall_time * 1000) & TIME_MASK, hello.hello_hash
        sealed = _SEALED.pack(made, hello.suite, hello.group, len(digest)) + digest
        return sealed + _mac13(self._secret, address, sealed)

    def unseal(
        self, address: Hashable, cookie: bytes, now: float, wall_time: float
    ) -> SealedHello | None:
        """What it remembers; None where it is not ours, not for this address, or too old."""
        self._rotate(now)
        sealed, mac = cookie[:-MAC_LENGTH], cookie[-MAC_LENGTH:]
        current = hmac.compare_digest(_mac13(self._secret, address, sealed), mac)
        previous = hmac.compare_digest(_mac13(self._previous, address, sealed), mac)
        if not current and not previous:
            return None
        reader = Reader(sealed)
        made = reader.uint(8) / 1000
        if not 0 <= wall_time - made + 1 <= ROTATION_PERIOD:
            return None
        suite, group = reader.u16(), reader.u16()
        return SealedHello(reader.vector(1), suite, group)

    def _rotate(self, now: float) -> None:
        if self._expires is None:
            self._expires = now + ROTATION_PERIOD
        if now < self._expires:
            return
        long_ago = now >= self._expires + ROTATION_PERIOD
        self._previous = self._random(SECRET_LENGTH) if long_ago else self._secret
        self._secret = self._random(SECRET_LENGTH)
        self._expires = now + ROTATION_PERIOD


def _mac13(secret: bytes, address: Hashable, sealed: bytes) -> bytes:
    """Another label than no label: a cookie of the one version is none of the other."""
    name = repr(address).encode()
    return _keyed_hash(secret, b"HelloRetryRequest", _LENGTH13.pack(len(name)), name, sealed)


def _mac(secret: bytes, address: Hashable, hello: ClientHello) -> bytes:
    """Over what the client must repeat unchanged (RFC 6347 section 4.2.1)."""
    # Socket addresses are tuples of texts and numbers: their repr is one text for one address.
    name = repr(address).encode()
    session_id, suites, methods = hello.session_id, hello.cipher_suites, hello.compression_methods
    lengths = _LENGTHS12.pack(
        hello.client_version, len(name), len(session_id), len(suites), len(methods)
    )
    encoded_suites = pack(f"!{len(suites)}H", *suites)
    return _keyed_hash(secret, lengths, name, hello.random, session_id, encoded_suites, methods)


def _keyed_hash(secret: bytes, *parts: bytes) -> bytes:
    """BLAKE2 with a key is a MAC (RFC 7693 section 2.9), in a third of HMAC's time."""
    return hashlib.blake2b(b"".join(parts), key=secret, digest_size=MAC_LENGTH).digest()
