"""The cookie: bound to address and hello, good for two periods."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from aiodtls.core.cookies import MAC_LENGTH, ROTATION_PERIOD, Cookies, SealedHello
from aiodtls.core.wire.messages import ClientHello

HELLO = ClientHello(bytes(32), (0xC02B, 0xC02F), session_id=b"s")


def counting_random():
    calls = iter(range(256))
    return lambda length: bytes([next(calls)]) * length


def test_a_cookie_is_good_for_its_address_and_hello():
    cookies = Cookies(counting_random())
    cookie = cookies.make(("a", 1), HELLO, 0.0)
    answer = dataclasses.replace(HELLO, cookie=cookie)
    assert cookies.check(("a", 1), answer, 1.0)
    assert not cookies.check(("a", 2), answer, 1.0)
    assert not cookies.check(("a", 1), HELLO, 1.0)


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
    cookies = Cookies(counting_random())
    answer = dataclasses.replace(HELLO, cookie=cookies.make("a", HELLO, 0.0))
    assert not cookies.check("a", dataclasses.replace(answer, **change), 0.0)


def test_the_secret_rotates_and_its_predecessor_still_counts():
    cookies = Cookies(counting_random())
    answer = dataclasses.replace(HELLO, cookie=cookies.make("a", HELLO, 0.0))
    assert cookies.check("a", answer, ROTATION_PERIOD + 1)
    assert not cookies.check("a", answer, 2 * ROTATION_PERIOD + 2)
    asleep = Cookies(counting_random())
    answer = dataclasses.replace(HELLO, cookie=asleep.make("a", HELLO, 0.0))
    assert not asleep.check("a", answer, 10 * ROTATION_PERIOD)


# -- what the cookie of HelloRetryRequest remembers ------------------------------------------------

SEALED = SealedHello(b"d" * 32, 0x1301, 29)
EPOCH = 2_000_000_000.0


def seal(cookies: Cookies, address, hello: SealedHello, now: float) -> bytes:
    return cookies.seal(address, hello, now, EPOCH + now)


def unseal(cookies: Cookies, address, cookie: bytes, now: float) -> SealedHello | None:
    return cookies.unseal(address, cookie, now, EPOCH + now)


def test_a_sealed_hello_is_good_for_its_address_and_a_period():
    """RFC 9147 section 5.1."""
    cookies = Cookies(counting_random())
    cookie = seal(cookies, ("a", 1), SEALED, 50.0)
    for now, good in (
        (50.0, True),
        (50.0 + ROTATION_PERIOD - 1, True),
        (51 + ROTATION_PERIOD, False),
    ):
        assert (unseal(cookies, ("a", 1), cookie, now) == SEALED) is good
    assert unseal(Cookies(counting_random()), ("a", 2), cookie, 50.0) is None
    assert unseal(Cookies(lambda length: b"x" * length), ("a", 1), cookie, 50.0) is None


def test_a_sealed_hello_outlives_one_rotation_of_the_secret():
    cookies = Cookies(counting_random())
    seal(cookies, "a", SEALED, 0.0)
    cookie = seal(cookies, "a", SEALED, ROTATION_PERIOD - 10)
    assert unseal(cookies, "a", cookie, ROTATION_PERIOD + 10) == SEALED


def test_a_sealed_hello_that_was_changed_is_none():
    cookies = Cookies(counting_random())
    cookie = seal(cookies, "a", SEALED, 0.0)
    for at in range(len(cookie)):
        assert unseal(cookies, "a", cookie[:at], 0.0) is None
        changed = cookie[:at] + bytes((cookie[at] ^ 1,)) + cookie[at + 1 :]
        assert unseal(cookies, "a", changed, 0.0) is None


def test_the_cookie_of_one_version_is_none_of_the_other():
    """The MACs have different labels, whatever stands before them."""
    cookies = Cookies(counting_random())
    sealed = seal(cookies, "a", SEALED, 0.0)
    answer = dataclasses.replace(HELLO, cookie=sealed[-MAC_LENGTH:])
    assert not cookies.check("a", answer, 0.0)
    label = b"HelloRetryRequest"
    for secret in (cookies._secret, cookies._previous):
        name = repr("a").encode()
        unlabelled = hashlib.blake2b(
            len(name).to_bytes(4, "big") + name + sealed[:-MAC_LENGTH],
            key=secret,
            digest_size=MAC_LENGTH,
        ).digest()
        labelled = hashlib.blake2b(
            label + len(name).to_bytes(4, "big") + name + sealed[:-MAC_LENGTH],
            key=secret,
            digest_size=MAC_LENGTH,
        ).digest()
        good = unseal(cookies, "a", sealed[:-MAC_LENGTH] + labelled, 0.0)
        assert good == SEALED
        assert unseal(cookies, "a", sealed[:-MAC_LENGTH] + unlabelled, 0.0) is None


def test_secrets_rotate_with_the_protocols_time_and_not_at_each_call():
    cookies = Cookies(counting_random())
    cookie = cookies.seal("a", SEALED, 0.0, EPOCH)
    for now in (1.0, 2.0, 3.0):
        cookies.seal("a", SEALED, now, EPOCH)
        assert cookies.unseal("a", cookie, now, EPOCH) == SEALED
    # The wall clock may stand still; the secret does not.
    assert cookies.unseal("a", cookie, 2 * ROTATION_PERIOD + 3, EPOCH) is None
    later = cookies.seal("a", SEALED, 9 * ROTATION_PERIOD, EPOCH)
    assert later[:-MAC_LENGTH] == cookie[:-MAC_LENGTH] and later != cookie
    latest = cookies.seal("a", SEALED, 10 * ROTATION_PERIOD, EPOCH)
    assert latest not in (later, cookie)
    assert cookies.unseal("a", later, 10 * ROTATION_PERIOD, EPOCH) == SEALED
