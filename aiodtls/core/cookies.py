"""Stateless address validation: the cookie of HelloVerifyRequest (RFC 6347 section 4.2.1).

The cookie is a MAC over the client's address and the parameters of its hello, under a secret
that rotates; the secret before the present one still counts. An invalid cookie counts as none.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from aiodtls.core.wire.codec import Writer
from aiodtls.core.wire.messages import ClientHello

SECRET_LENGTH = 32
# A client's slowest resend, 64 s, falls within two periods.
ROTATION_PERIOD = 120.0


@dataclass(frozen=True, slots=True)
class ValidatedHello:
    """A ClientHello whose cookie was right: what leads from no state to a connection.

    ``body`` is the whole message as it came, ``record_number`` the highest record sequence number
    that carried a part of it.
    """

    hello: ClientHello
    body: bytes
    message_seq: int
    record_number: int


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

    def _rotate(self, now: float) -> None:
        if self._expires is None:
            self._expires = now + ROTATION_PERIOD
        if now < self._expires:
            return
        long_ago = now >= self._expires + ROTATION_PERIOD
        self._previous = self._random(SECRET_LENGTH) if long_ago else self._secret
        self._secret = self._random(SECRET_LENGTH)
        self._expires = now + ROTATION_PERIOD


def _mac(secret: bytes, address: Hashable, hello: ClientHello) -> bytes:
    """Over what the client must repeat unchanged (RFC 6347 section 4.2.1)."""
    writer = Writer()
    # Socket addresses are tuples of texts and numbers: their repr is one text for one address.
    writer.vector(repr(address).encode(), 2)
    writer.u16(hello.client_version).raw(hello.random).vector(hello.session_id, 1)
    writer.u16_list(hello.cipher_suites).vector(hello.compression_methods, 1)
    return hmac.digest(secret, writer.finish(), "sha256")
