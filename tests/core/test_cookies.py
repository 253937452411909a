"""The cookie: bound to address and hello, good for two periods."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.cookies import ROTATION_PERIOD, Cookies
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
