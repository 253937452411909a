"""Stateless address validation, with keys that rotate by the wall clock (``cookie_keys.py``).

The cookie of HelloVerifyRequest (RFC 6347 section 4.2.1) is the time, and a MAC over the time, the
client's address and the parameters of its hello. An invalid cookie is treated like none. The cookie
of HelloRetryRequest (RFC 9147 section 5.1) also carries what the server must know of the first
hello. A cookie is valid for ``LIFETIME`` seconds and starts at most ``MAX_STARTS`` handshakes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Hashable
from dataclasses import field
from struct import Struct, pack

from aiodtls.core.cookie_keys import CookieKeys
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.frozen import frozen
from aiodtls.core.wire.codec import Reader
from aiodtls.core.wire.messages import ClientHello

# How long a cookie is valid, and how far the clocks of two servers may differ, in seconds.
LIFETIME = 120.0
MAX_SKEW = 5.0
# How many handshakes one cookie may start. A client needs fewer; more are replayed hellos.
MAX_STARTS = 4
# How many cookies are remembered in each period.
MAX_STARTED = 16_384
# How many bytes of its MAC identify a cookie.
NAME_LENGTH = 16
MAC_LENGTH = 32
# A cookie of DTLS 1.0 has at most 32 bytes, and clients of DTLS 1.0 must get an answer that names
# the supported versions.
MAC12_LENGTH = 28
# Seconds. The higher bits are taken from the server's own time.
_TIME12 = Struct("!I")
# The MAC covers the lengths of its parts too, so that no byte can move from one part to another.
_LENGTHS12 = Struct("!IHIBHB")
_LENGTH13 = Struct("!I")
# Milliseconds, suite, group, and the length of the hash that follows.
_SEALED = Struct("!QHHB")
TIME_MASK = (1 << 64) - 1
SECONDS_MASK = (1 << 32) - 1
SIGN_BIT = 1 << 31
# A cookie is valid for less than this, so two periods contain all handshakes that it has started.
STARTS_PERIOD = LIFETIME + MAX_SKEW


@frozen
class SealedHello:
    """The contents of a DTLS 1.3 cookie: Hash(ClientHello1), the suite, and the requested group, or
    0.
    """

    hello_hash: bytes
    suite: int
    group: int


@frozen
class Retry:
    """The HelloRetryRequest that a second ClientHello answers. ``body`` is the body of the
    message.
    """

    hello_hash: bytes
    suite: Suite
    body: bytes


@frozen
class ValidatedHello:
    """A ClientHello with a valid cookie. A connection can be made from it.

    Attributes:
        body: the body of the message, as it came.
        record_number: the highest sequence number of the records that carried it.
        retry: our HelloRetryRequest, if there was one.
        cookie: the valid cookie.
    """

    hello: ClientHello
    body: bytes
    message_seq: int
    record_number: int
    retry: Retry | None = None
    cookie: bytes = field(default=b"", repr=False)


class Cookies:
    """Makes and checks cookies. ``wall_time`` is in seconds since 1970."""

    __slots__ = ("_earlier_starts", "_keys", "_starts", "_starts_end")

    def __init__(self, keys: CookieKeys) -> None:
        self._keys = keys
        # How many handshakes each cookie has started, in this period and in the previous one.
        self._starts: dict[bytes, int] = {}
        self._earlier_starts: dict[bytes, int] = {}
        self._starts_end = float("-inf")

    def use_keys(self, keys: CookieKeys) -> None:
        """Makes and checks cookies with these keys from now on."""
        self._keys = keys

    def make(self, address: Hashable, hello: ClientHello, wall_time: float) -> bytes:
        """A cookie for HelloVerifyRequest."""
        seconds = int(wall_time) & SECONDS_MASK
        [newest, *_] = self._keys.keys_at(wall_time)
        return _TIME12.pack(seconds) + _mac(newest, address, hello, seconds)

    def check(self, address: Hashable, hello: ClientHello, wall_time: float) -> bool:
        """Whether the hello has a cookie that ``make`` made for it, and that may start a
        handshake.
        """
        cookie = hello.cookie
        if len(cookie) != _TIME12.size + MAC12_LENGTH:
            return False
        [seconds] = _TIME12.unpack_from(cookie)
        # The time nearest to now that has these 32 low bits.
        age = ((int(wall_time) - seconds + SIGN_BIT) & SECONDS_MASK) - SIGN_BIT
        if not -MAX_SKEW <= age <= LIFETIME:
            return False
        keys = self._keys.keys_at(int(wall_time) - age)
        # All MACs are computed, so that the time does not tell which one matches.
        fits = [
            hmac.compare_digest(_mac(key, address, hello, seconds), cookie[_TIME12.size :])
            for key in keys
        ]
        return any(fits) and self._may_start(cookie)

    def seal(self, address: Hashable, hello: SealedHello, wall_time: float) -> bytes:
        """A cookie for HelloRetryRequest."""
        made, digest = int(wall_time * 1000) & TIME_MASK, hello.hello_hash
        sealed = _SEALED.pack(made, hello.suite, hello.group, len(digest)) + digest
        [newest, *_] = self._keys.keys_at(made / 1000)
        return sealed + _mac13(newest, address, sealed)

    def unseal(self, address: Hashable, cookie: bytes, wall_time: float) -> SealedHello | None:
        """The contents of the cookie. None if it is not ours, for another address, too old or used
        up.
        """
        sealed, mac = cookie[:-MAC_LENGTH], cookie[-MAC_LENGTH:]
        if len(sealed) < _SEALED.size:
            return None
        reader = Reader(sealed)
        made = reader.uint(8) / 1000
        if not -MAX_SKEW <= wall_time - made <= LIFETIME:
            return None
        keys = self._keys.keys_at(made)
        fits = [hmac.compare_digest(_mac13(key, address, sealed), mac) for key in keys]
        if not any(fits) or not self._may_start(cookie):
            return None
        suite, group = reader.u16(), reader.u16()
        return SealedHello(reader.vector(1), suite, group)

    def started(self, cookie: bytes, now: float) -> None:
        """Counts a handshake that this cookie starts. If there is no room, the oldest count is
        dropped.
        """
        if now >= self._starts_end:
            is_next = now < self._starts_end + STARTS_PERIOD
            self._earlier_starts = self._starts if is_next else {}
            self._starts = {}
            self._starts_end = now + STARTS_PERIOD
        name = cookie[-NAME_LENGTH:]
        self._starts[name] = self._starts.pop(name, 0) + 1
        if len(self._starts) > MAX_STARTED:
            del self._starts[next(iter(self._starts))]

    def _may_start(self, cookie: bytes) -> bool:
        name = cookie[-NAME_LENGTH:]
        starts = self._starts.get(name, 0) + self._earlier_starts.get(name, 0)
        return starts < MAX_STARTS


def _mac13(key: bytes, address: Hashable, sealed: bytes) -> bytes:
    """Has a label that the MAC of DTLS 1.2 lacks, so a cookie of one version is invalid in the
    other.
    """
    name = repr(address).encode()
    head = b"HelloRetryRequest" + _LENGTH13.pack(len(name))
    return _keyed_hash(MAC_LENGTH, key, head, name, sealed)


def _mac(key: bytes, address: Hashable, hello: ClientHello, seconds: int) -> bytes:
    """The MAC over the time and the parts of a hello that its repeat must not change (RFC 6347
    section 4.2.1).
    """
    # Socket addresses are tuples of strings and numbers, so repr() is unambiguous.
    name = repr(address).encode()
    session_id, suites, methods = hello.session_id, hello.cipher_suites, hello.compression_methods
    head = _LENGTHS12.pack(
        seconds, hello.client_version, len(name), len(session_id), len(suites), len(methods)
    )
    encoded_suites = pack(f"!{len(suites)}H", *suites)
    parts = head, name, hello.random, session_id, encoded_suites, methods
    return _keyed_hash(MAC12_LENGTH, key, *parts)


def _keyed_hash(length: int, key: bytes, *parts: bytes) -> bytes:
    """Keyed BLAKE2 is a MAC (RFC 7693 section 2.9), and takes a third of the time of HMAC."""
    return hashlib.blake2b(b"".join(parts), key=key, digest_size=length).digest()
