"""The cookie: bound to address, hello and time, under keys that change; how much it may start."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from aiodtls import ConfigError, CookieKeys, DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.cookie_keys import PERIOD
from aiodtls.core.cookies import (
    LIFETIME,
    MAC_LENGTH,
    MAX_SKEW,
    MAX_STARTED,
    MAX_STARTS,
    NAME_LENGTH,
    STARTS_PERIOD,
    Cookies,
    SealedHello,
)
from aiodtls.core.listener import Listener
from aiodtls.core.wire.messages import ClientHello
from tests.harness import CLIENT, SERVER
from tests.simulated.variants import configs

HELLO = ClientHello(bytes(32), (0xC02B, 0xC02F), session_id=b"s")
SEALED = SealedHello(b"d" * 32, 0x1301, 29)
# 40 seconds before the keys change.
NOW = 2_000_000_040.0 - 2_000_000_040 % PERIOD + 80
ONE, OTHER = bytes(range(32)), bytes(range(1, 33))
BOTH = ["certificate", "certificate13"]


def cookies_of(*secrets: bytes) -> Cookies:
    return Cookies(CookieKeys(*secrets))


def check(cookies: Cookies, cookie: bytes, at: float, address="a") -> bool:
    return cookies.check(address, dataclasses.replace(HELLO, cookie=cookie), at)


# -- the cookie of HelloVerifyRequest --------------------------------------------------------------


def test_a_cookie_is_good_for_its_address_and_hello():
    cookies = cookies_of(ONE)
    cookie = cookies.make(("a", 1), HELLO, NOW)
    answer = dataclasses.replace(HELLO, cookie=cookie)
    assert len(cookie) == 32
    assert cookies.check(("a", 1), answer, NOW + 1)
    assert not cookies.check(("a", 2), answer, NOW + 1)
    assert not cookies.check(("a", 1), HELLO, NOW + 1)


@pytest.mark.parametrize(
    "change",
    [
        {"random": b"\1" * 32},
        {"session_id": b""},
        {"cipher_suites": (0xC02B,)},
        {"compression_methods": b"\1\0"},
        {"client_version": 0xFEFF},
        {"cookie": b"\0" * 32},
    ],
)
def test_nothing_in_the_hello_may_change(change):
    cookies = cookies_of(ONE)
    answer = dataclasses.replace(HELLO, cookie=cookies.make("a", HELLO, NOW))
    assert not cookies.check("a", dataclasses.replace(answer, **change), NOW)


def test_a_cookie_that_was_changed_is_none():
    """Its time too, which stands in the clear."""
    cookies = cookies_of(ONE)
    cookie = cookies.make("a", HELLO, NOW)
    for at in range(len(cookie)):
        assert not check(cookies, cookie[:at], NOW)
        for bit in range(8):
            changed = cookie[:at] + bytes((cookie[at] ^ 1 << bit,)) + cookie[at + 1 :]
            assert not check(cookies, changed, NOW)


@pytest.mark.parametrize("begun", [0, PERIOD - 2, PERIOD // 2])
@pytest.mark.parametrize(
    ("passed", "good"),
    [(0, 1), (LIFETIME, 1), (LIFETIME + 1, 0), (-MAX_SKEW, 1), (-MAX_SKEW - 1, 0)],
)
def test_a_cookie_is_good_for_120_seconds_with_5_of_skew(begun, passed, good):
    """Wherever in a period of its keys it was made, and in both versions."""
    cookies, made = cookies_of(ONE), NOW - NOW % PERIOD + begun
    assert check(cookies, cookies.make("a", HELLO, made), made + passed) is bool(good)
    sealed = cookies.seal("a", SEALED, made)
    assert cookies.unseal("a", sealed, made + passed) == (SEALED if good else None)


@pytest.mark.parametrize("at", [2.0**32 - 30, 2.0**32 + 5])
def test_the_seconds_of_a_cookie_may_wrap(at):
    """In the year 2106."""
    cookies = cookies_of(ONE)
    cookie = cookies.make("a", HELLO, at)
    for passed, good in ((0, True), (60, True), (121, False), (-5, True), (-6, False)):
        assert check(cookies, cookie, at + passed) is good


# -- keys ------------------------------------------------------------------------------------------


def test_processes_with_one_secret_take_each_others_cookies():
    """RFC 9147 section 5.1: in a cluster too."""
    one, same, other = cookies_of(ONE), cookies_of(ONE), cookies_of(OTHER)
    cookie, sealed = one.make("a", HELLO, NOW), one.seal("a", SEALED, NOW)
    for cookies, good in ((same, True), (other, False)):
        # Its clock is some seconds behind, in the period before.
        for at in (NOW, NOW + 100, NOW - MAX_SKEW):
            assert check(cookies, cookie, at) is good
            assert (cookies.unseal("a", sealed, at) == SEALED) is good


def test_an_older_secret_still_counts_and_makes_nothing():
    rotated, before, after = cookies_of(OTHER, ONE), cookies_of(ONE), cookies_of(OTHER)
    assert check(rotated, before.make("a", HELLO, NOW), NOW)
    assert rotated.unseal("a", before.seal("a", SEALED, NOW), NOW) == SEALED
    cookie, sealed = rotated.make("a", HELLO, NOW), rotated.seal("a", SEALED, NOW)
    assert check(after, cookie, NOW) and not check(before, cookie, NOW)
    assert after.unseal("a", sealed, NOW) == SEALED and before.unseal("a", sealed, NOW) is None


def test_every_period_has_keys_of_its_own_and_few_are_kept():
    keys = CookieKeys(ONE)
    seen = {keys.keys_at(NOW + number * PERIOD) for number in range(100)}
    assert len(seen) == 100
    assert keys.keys_at(NOW) == keys.keys_at(NOW + 39) != keys.keys_at(NOW + 41)
    assert len(keys._derived) == 3
    assert CookieKeys(OTHER).keys_at(NOW) != CookieKeys(ONE).keys_at(NOW)
    assert CookieKeys().keys_at(NOW) != CookieKeys().keys_at(NOW)


@pytest.mark.parametrize("secret", [b"short", bytes(32), "text" * 8, 5, None])
def test_a_cookie_secret_is_long_random_and_bytes(secret):
    words = "cookie secret is 32 random bytes|secrets must be bytes, not"
    with pytest.raises(ConfigError, match=words) as caught:
        CookieKeys(ONE, secret)
    assert "short" not in str(caught.value) and "text" not in str(caught.value)


@pytest.mark.parametrize("wrong", [ONE, "text", 5, {}])
def test_cookie_keys_are_cookie_keys(wrong):
    with pytest.raises(ConfigError, match="cookie_keys must be CookieKeys or None, not"):
        DTLSConfig(cookie_keys=wrong)


def test_nobody_sees_a_cookie_secret():
    keys = CookieKeys(ONE, OTHER)
    for text in (repr(keys), str(keys), repr(DTLSConfig(cookie_keys=keys))):
        assert repr(ONE)[2:20] not in text and ONE.hex() not in text
    assert repr(keys) == "CookieKeys(<2 secrets>)"


# -- what the cookie of HelloRetryRequest remembers ------------------------------------------------


def test_a_sealed_hello_is_good_for_its_address():
    """RFC 9147 section 5.1."""
    cookies = cookies_of(ONE)
    cookie = cookies.seal(("a", 1), SEALED, NOW)
    assert cookies.unseal(("a", 1), cookie, NOW) == SEALED
    assert cookies.unseal(("a", 2), cookie, NOW) is None


def test_a_sealed_hello_that_was_changed_is_none():
    cookies = cookies_of(ONE)
    cookie = cookies.seal("a", SEALED, NOW)
    for at in range(len(cookie)):
        assert cookies.unseal("a", cookie[:at], NOW) is None
        changed = cookie[:at] + bytes((cookie[at] ^ 1,)) + cookie[at + 1 :]
        assert cookies.unseal("a", changed, NOW) is None


def test_the_cookie_of_one_version_is_none_of_the_other():
    """The MACs have different labels, whatever stands before them."""
    cookies = cookies_of(ONE)
    sealed = cookies.seal("a", SEALED, NOW)
    assert not check(cookies, sealed[-MAC_LENGTH:], NOW)
    assert not check(cookies, int(NOW).to_bytes(4, "big") + sealed[-28:], NOW)
    [key] = CookieKeys(ONE).keys_at(NOW)
    name, body = repr("a").encode(), sealed[:-MAC_LENGTH]
    text = len(name).to_bytes(4, "big") + name + body
    unlabelled = hashlib.blake2b(text, key=key, digest_size=MAC_LENGTH).digest()
    labelled = hashlib.blake2b(b"HelloRetryRequest" + text, key=key, digest_size=MAC_LENGTH)
    assert cookies.unseal("a", body + labelled.digest(), NOW) == SEALED
    assert cookies.unseal("a", body + unlabelled, NOW) is None


# -- how many handshakes a cookie starts -----------------------------------------------------------


def test_a_cookie_starts_four_handshakes():
    """In both versions, and whenever in its time; another cookie has four of its own."""
    cookies = cookies_of(ONE)
    for at in (0.0, 10.0, STARTS_PERIOD, STARTS_PERIOD + 10):
        cookie = cookies.make(at, HELLO, NOW)
        sealed = cookies.seal(at, SEALED, NOW)
        for number in range(MAX_STARTS):
            assert check(cookies, cookie, NOW, at)
            assert cookies.unseal(at, sealed, NOW) == SEALED
            cookies.started(cookie, at + 20 * number)
            cookies.started(sealed, at + 20 * number)
        assert not check(cookies, cookie, NOW + 60, at)
        assert cookies.unseal(at, sealed, NOW + 60) is None
        assert check(cookies, cookies.make(at, HELLO, NOW + 1), NOW + 1, at)


def test_what_is_remembered_of_cookies_is_bounded():
    cookies = cookies_of(ONE)
    exhausted = cookies.make("a", HELLO, NOW)
    for number in range(3 * MAX_STARTED):
        cookies.started(number.to_bytes(NAME_LENGTH, "big"), 0.0)
        if number % (MAX_STARTED // 2) == 0:
            # Who uses it again and again is not forgotten.
            cookies.started(exhausted, 0.0)
    assert len(cookies._starts) == MAX_STARTED
    assert not check(cookies, exhausted, NOW)
    cookies.started(b"next", STARTS_PERIOD)
    assert not check(cookies, exhausted, NOW)
    cookies.started(b"over", 2 * STARTS_PERIOD)
    assert len(cookies._starts) == len(cookies._earlier_starts) == 1
    cookies.started(b"later", 9 * STARTS_PERIOD)
    assert len(cookies._starts) == 1 and not cookies._earlier_starts


def proved_hello(listener: Listener, variant: str) -> list[bytes]:
    """A client's second flight."""
    client = DTLSConnection.client(configs(variant)[0], SERVER, 0.0, server_hostname="localhost")
    for data, _ in client.datagrams_to_send():
        listener.receive_datagram(data, CLIENT, 0.0)
    for data, _ in listener.datagrams_to_send():
        client.receive_datagram(data, SERVER, 0.0)
    return [data for data, _ in client.datagrams_to_send()]


@pytest.mark.parametrize("variant", BOTH)
def test_a_replayed_hello_starts_four_handshakes(variant):
    """Whoever recorded it could have the server sign, and send its flight to the address."""
    listener = Listener(configs(variant)[1], wall_clock=lambda: NOW)
    hello = proved_hello(listener, variant)
    for begun in range(10):
        for data in hello:
            listener.receive_datagram(data, CLIENT, begun)
        assert len(listener.connections) == (begun < MAX_STARTS)
        for connection in listener.connections:
            listener.remove(connection)
    answers = listener.datagrams_to_send()
    # As for any cookie that is not good: the next one in DTLS 1.2, an alert in 1.3.
    assert {data[0] for data, _ in answers} == {22 if variant == "certificate" else 21}
    assert sum(len(data) for data, _ in answers) <= 6 * sum(map(len, hello))


@pytest.mark.parametrize("variant", BOTH)
def test_a_handshake_that_is_not_begun_uses_no_cookie_up(variant):
    """A repeat of the hello of a live handshake, and a hello for which there is no room."""
    config = dataclasses.replace(configs(variant)[1], max_half_open=1)
    listener = Listener(config, wall_clock=lambda: NOW)

    def bring(hello: list[bytes]) -> None:
        for data in hello:
            listener.receive_datagram(data, CLIENT, 0.0)

    hello, other = proved_hello(listener, variant), proved_hello(listener, variant)
    bring(hello)
    [first] = listener.connections
    for _ in range(10):
        bring(hello)
        bring(other)
    assert listener.connections == [first]
    listener.remove(first)
    bring(other)
    assert len(listener.connections) == 1


@pytest.mark.parametrize("variant", BOTH)
def test_the_second_hello_may_come_to_another_listener_with_the_same_secret(variant):
    """RFC 9147 section 5.1: each has a clock of the protocol of its own."""
    config = dataclasses.replace(configs(variant)[1], cookie_keys=CookieKeys(ONE))
    first, second = (Listener(config, wall_clock=lambda: NOW) for _ in range(2))
    stranger = Listener(dataclasses.replace(config, cookie_keys=None), wall_clock=lambda: NOW)
    for data in proved_hello(first, variant):
        second.receive_datagram(data, CLIENT, 123_456.0)
        stranger.receive_datagram(data, CLIENT, 0.0)
    assert len(second.connections) == 1 and not stranger.connections
