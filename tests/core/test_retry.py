"""HelloRetryRequest of a listener that keeps no state: what leads to one, and what answers it."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import CookieKeys
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.cookies import Cookies
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.retry import check_retry, make_retry_request
from aiodtls.core.listener import Listener
from aiodtls.core.registry import ContentType, ExtensionType
from aiodtls.core.wire.extensions13 import Cookie, KeyShares
from aiodtls.core.wire.fragments import encode_whole, parse_fragments
from aiodtls.core.wire.messages import ClientHello, encode_body, parse_body
from aiodtls.core.wire.messages13 import HelloRetryRequest
from aiodtls.core.wire.records import split_datagram
from tests.harness import CLIENT, SERVER
from tests.malicious import plaintext, with_extension, with_fields, without_extension
from tests.simulated.variants import configs

EPOCH = 2_000_000_000.0
P256 = KeyShares(((23, b"\4" + bytes(64)),))


def first_hello() -> ClientHello:
    """Its share is in x25519; it offers secp256r1 too, which alone the server takes."""
    config = dataclasses.replace(configs("retry13")[0], key_shares=["x25519"])
    client = DTLSConnection.client(config, SERVER, 0.0)
    [(datagram, _)] = client.datagrams_to_send()
    [fragment] = parse_fragments(split_datagram(datagram)[0][0][2])
    hello = parse_body(ClientHello, fragment.data)
    assert isinstance(hello, ClientHello)
    return hello


@pytest.fixture
def cookies() -> Cookies:
    return Cookies(CookieKeys(b"s" * 32))


def ask(cookies: Cookies, hello: ClientHello) -> HelloRetryRequest:
    config = configs("retry13")[1]
    body = make_retry_request(cookies, config, CLIENT, hello, encode_body(hello), EPOCH)
    request = parse_body(HelloRetryRequest, body)
    assert isinstance(request, HelloRetryRequest)
    return request


def test_a_first_hello_is_asked_for_a_cookie_and_a_share(cookies):
    request = ask(cookies, first_hello())
    assert request.extensions.find(KeyShares).shares == ((23, b""),)
    cookie = request.extensions.find(Cookie)
    again = with_extension(cookie, P256)(first_hello())
    retry = check_retry(cookies, CLIENT, again, cookie, EPOCH + 1.0)
    assert retry.suite.code == request.cipher_suite and parse_body(HelloRetryRequest, retry.body)


@pytest.mark.parametrize(
    ("change", "alert"),
    [
        (with_fields(compression_methods=b"\1\0"), "illegal_parameter"),
        (with_fields(cookie=b"x"), "illegal_parameter"),
        (without_extension(ExtensionType.key_share), "missing_extension"),
        (without_extension(ExtensionType.signature_algorithms), "missing_extension"),
    ],
)
def test_a_first_hello_that_leads_nowhere_is_refused_at_once(cookies, change, alert):
    """RFC 8446 section 9.2: nobody is asked to come again with that."""
    hello = change(first_hello())
    with pytest.raises(AlertError) as caught:
        ask(cookies, hello)
    assert caught.value.description.name == alert
    listener = Listener(configs("retry13")[1])
    body = encode_whole(ClientHello.msg_type, 0, encode_body(hello))
    listener.receive_datagram(plaintext(ContentType.handshake, body, 7), CLIENT, 0.0)
    [(answer, addr)] = listener.datagrams_to_send()
    [(content_type, number, payload)] = split_datagram(answer)[0]
    assert (addr, content_type, number) == (CLIENT, ContentType.alert, 7)
    assert payload == bytes((2, caught.value.description))
    assert not listener.connections


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            with_fields(cipher_suites=(0x13FF,)),
            "the second hello is not the one that was requested",
        ),
        (
            without_extension(ExtensionType.key_share),
            "the second hello is not the one that was requested",
        ),
        (
            with_extension(KeyShares(((29, bytes(32)),))),
            "the second hello is not the one that was requested",
        ),
    ],
)
def test_a_second_hello_has_the_suite_and_share_that_were_asked_for(cookies, change, words):
    """RFC 8446 section 4.1.2."""
    cookie = ask(cookies, first_hello()).extensions.find(Cookie)
    again = change(with_extension(cookie, P256)(first_hello()))
    with pytest.raises(AlertError, match=words) as caught:
        check_retry(cookies, CLIENT, again, cookie, EPOCH + 1.0)
    assert caught.value.description.name == "illegal_parameter"


@pytest.mark.parametrize(("address", "now"), [("another", 1.0), (CLIENT, 500.0)])
def test_a_cookie_of_another_address_or_time_is_refused(cookies, address, now):
    cookie = ask(cookies, first_hello()).extensions.find(Cookie)
    again = with_extension(cookie, P256)(first_hello())
    for wrong in (cookie, Cookie(b"x" * len(cookie.cookie)), Cookie(b"x")):
        with pytest.raises(AlertError, match="not ours, too old, or used up") as caught:
            check_retry(cookies, address, again, wrong, EPOCH + now)
        assert caught.value.description.name == "illegal_parameter"
