"""Stateless address validation, under a secret that rotates; the one before still counts.

The cookie of HelloVerifyRequest (RFC 6347 section 4.2.1) is a MAC over the client's address and
the parameters of its hello; an invalid one counts as none. That of HelloRetryRequest (RFC 9147
section 5.1) also carries what a server must remember of the first hello.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Hashable

from aiodtls.core.crypto.suites import Suite
from aiodtls.core.values import value
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.messages import ClientHello

SECRET_LENGTH = 32
# A client's slowest resend, 64 s, falls within two periods.
ROTATION_PERIOD = 120.0
MAC_LENGTH = 32
TIME_MASK = (1 << 64) - 1


@value
class SealedHello:
    """What a cookie of DTLS 1.3 remembers: Hash(ClientHello1), suite, and group asked for, or 0."""

    hello_hash: bytes
    suite: int
    group: int


@value
class Retry:
    """The HelloRetryRequest that a second ClientHello answers; ``body`` is the message's."""

    hello_hash: bytes
    suite: Suite
    body: bytes


@value
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

    def seal(self, address: Hashable, hello: SealedHello, now: float) -> bytes:
        """A cookie for HelloRetryRequest, good for ``ROTATION_PERIOD``."""
        self._rotate(now)
        writer = Writer()
        writer.uint(int(now * 1000) & TIME_MASK, 8).u16(hello.suite).u16(hello.group)
        sealed = writer.vector(hello.hello_hash, 1).finish()
        return sealed + _mac13(self._secret, address, sealed)

    def unseal(self, address: Hashable, cookie: bytes, now: float) -> SealedHello | None:
        """What it remembers; None where it is not ours, not for this address, or too old."""
        self._rotate(now)
        sealed, mac = cookie[:-MAC_LENGTH], cookie[-MAC_LENGTH:]
        current = hmac.compare_digest(_mac13(self._secret, address, sealed), mac)
        previous = hmac.compare_digest(_mac13(self._previous, address, sealed), mac)
        if not current and not previous:
            return None
        reader = Reader(sealed)
        made = reader.uint(8) / 1000
        if not 0 <= now - made + 1 <= ROTATION_PERIOD:
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
    writer = Writer().raw(b"HelloRetryRequest").vector(repr(address).encode(), 2).raw(sealed)
    return hmac.digest(secret, writer.finish(), "sha256")


def _mac(secret: bytes, address: Hashable, hello: ClientHello) -> bytes:
    """Over what the client must repeat unchanged (RFC 6347 section 4.2.1)."""
    writer = Writer()
    # Socket addresses are tuples of texts and numbers: their repr is one text for one address.
    writer.vector(repr(address).encode(), 2)
    writer.u16(hello.client_version).raw(hello.random).vector(hello.session_id, 1)
    writer.u16_list(hello.cipher_suites).vector(hello.compression_methods, 1)
    return hmac.digest(secret, writer.finish(), "sha256")
