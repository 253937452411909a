"""Stateless address validation, under keys that change with the wall clock (``cookie_keys.py``).

The cookie of HelloVerifyRequest (RFC 6347 section 4.2.1) is the time, and a MAC over the time, the
client's address and the parameters of its hello; an invalid one counts as none. That of
HelloRetryRequest (RFC 9147 section 5.1) also carries what a server must remember of the first
hello. A cookie counts for ``LIFETIME`` seconds and starts at most ``MAX_STARTS`` handshakes.
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

# Seconds that a cookie counts, and that the clocks of two servers may differ.
LIFETIME = 120.0
MAX_SKEW = 5.0
# Handshakes that one cookie starts: more are no client's, but somebody's who replays its hello.
MAX_STARTS = 4
# Cookies remembered from each period of LIFETIME seconds.
MAX_STARTED = 16_384
# Bytes of its MAC that tell a cookie from all others.
NAME_LENGTH = 16
MAC_LENGTH = 32
# DTLS 1.0 has room for 32 bytes, and its clients are to hear which versions there are.
MAC12_LENGTH = 28
# Seconds, of which the higher bits are those of the server's own time.
_TIME12 = Struct("!I")
# The lengths of a MAC's parts go before them, so that one part cannot pass for another.
_LENGTHS12 = Struct("!IHIBHB")
_LENGTH13 = Struct("!I")
# Milliseconds, suite, group, and the length of the hash that follows.
_SEALED = Struct("!QHHB")
TIME_MASK = (1 << 64) - 1
SECONDS_MASK = (1 << 32) - 1
SIGN_BIT = 1 << 31
# A cookie counts for less, so two periods know all that it has started.
STARTS_PERIOD = LIFETIME + MAX_SKEW


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
    ``cookie`` is the one that was right.
    """

    hello: ClientHello
    body: bytes
    message_seq: int
    record_number: int
    retry: Retry | None = None
    cookie: bytes = field(default=b"", repr=False)


class Cookies:
    """Makes and checks cookies. ``wall_time`` is seconds since 1970."""

    __slots__ = ("_earlier_starts", "_keys", "_starts", "_starts_end")

    def __init__(self, keys: CookieKeys) -> None:
        self._keys = keys
        # How many handshakes each cookie has started, in this period and in the one before.
        self._starts: dict[bytes, int] = {}
        self._earlier_starts: dict[bytes, int] = {}
        self._starts_end = float("-inf")

    def use_keys(self, keys: CookieKeys) -> None:
        """Cookies are made and checked with these from now on."""
        self._keys = keys

    def make(self, address: Hashable, hello: ClientHello, wall_time: float) -> bytes:
        """A cookie for HelloVerifyRequest."""
        seconds = int(wall_time) & SECONDS_MASK
        [newest, *_] = self._keys.keys_at(wall_time)
        return _TIME12.pack(seconds) + _mac(newest, address, hello, seconds)

    def check(self, address: Hashable, hello: ClientHello, wall_time: float) -> bool:
        """Whether the hello brings a cookie that ``make`` made for it, and that is not used up."""
        cookie = hello.cookie
        if len(cookie) != _TIME12.size + MAC12_LENGTH:
            return False
        [seconds] = _TIME12.unpack_from(cookie)
        # The nearest moment that these 32 bits can mean.
        age = ((int(wall_time) - seconds + SIGN_BIT) & SECONDS_MASK) - SIGN_BIT
        if not -MAX_SKEW <= age <= LIFETIME:
            return False
        keys = self._keys.keys_at(int(wall_time) - age)
        # All are always computed, so that the time tells nothing of which one fits.
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
        """What it remembers; None where it is not ours, of another address, too old or used up."""
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
        """A handshake begins with this cookie. The oldest count goes where there is no room."""
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
    """Another label than no label: a cookie of the one version is none of the other."""
    name = repr(address).encode()
    head = b"HelloRetryRequest" + _LENGTH13.pack(len(name))
    return _keyed_hash(MAC_LENGTH, key, head, name, sealed)


def _mac(key: bytes, address: Hashable, hello: ClientHello, seconds: int) -> bytes:
    """Over the time and what the client must repeat unchanged (RFC 6347 section 4.2.1)."""
    # Socket addresses are tuples of texts and numbers: their repr is one text for one address.
    name = repr(address).encode()
    session_id, suites, methods = hello.session_id, hello.cipher_suites, hello.compression_methods
    head = _LENGTHS12.pack(
        seconds, hello.client_version, len(name), len(session_id), len(suites), len(methods)
    )
    encoded_suites = pack(f"!{len(suites)}H", *suites)
    parts = head, name, hello.random, session_id, encoded_suites, methods
    return _keyed_hash(MAC12_LENGTH, key, *parts)


def _keyed_hash(length: int, key: bytes, *parts: bytes) -> bytes:
    """BLAKE2 with a key is a MAC (RFC 7693 section 2.9), in a third of HMAC's time."""
    return hashlib.blake2b(b"".join(parts), key=key, digest_size=length).digest()
