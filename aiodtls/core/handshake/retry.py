"""The HelloRetryRequest of a listener that keeps no state (RFC 9147 section 5.1).

The sealed cookie contains everything that the second ClientHello is checked against. The request
depends on nothing else, so its bytes can be made again for the transcript.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

from aiodtls.core.config import DTLSConfig
from aiodtls.core.cookies import Cookies, Retry, SealedHello
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.extensions import key_share, supported_groups
from aiodtls.core.handshake.negotiate13 import check_client_hello13, choose_suite13, retry_request
from aiodtls.core.registry import AlertDescription, HandshakeType, NamedGroup
from aiodtls.core.wire.extensions13 import Cookie
from aiodtls.core.wire.messages import ClientHello, encode_body

NO_GROUP = 0


def make_retry_request(
    cookies: Cookies,
    config: DTLSConfig,
    address: Hashable,
    hello: ClientHello,
    body: bytes,
    wall_time: float,
) -> bytes:
    """The body of the answer to a first ClientHello. It also requests the group that we prefer.

    Raises:
        AlertError: the hello cannot lead to a handshake.
    """
    check_client_hello13(hello)
    suite = choose_suite13(config, hello, wall_time)
    group = supported_groups.accept13(config, hello)
    if key_share.accept(hello, group) is not None:
        group = None
    header = bytes((HandshakeType.client_hello,)) + len(body).to_bytes(3, "big")
    digest = hashlib.new(suite.hash_name, header + body).digest()
    sealed = SealedHello(digest, suite.code, group or NO_GROUP)
    cookie = cookies.seal(address, sealed, wall_time)
    return encode_body(retry_request(suite, group, cookie))


def check_retry(
    cookies: Cookies,
    address: Hashable,
    hello: ClientHello,
    cookie: Cookie,
    wall_time: float,
) -> Retry:
    """The contents of our cookie in a second ClientHello. Raises :class:`AlertError`."""
    sealed = cookies.unseal(address, cookie.cookie, wall_time)
    if sealed is None:
        message = "the cookie is not ours, too old, or used up"
        raise AlertError(AlertDescription.illegal_parameter, message, reason="invalid_cookie")
    suite = SUITES[sealed.suite]
    group = NamedGroup(sealed.group) if sealed.group != NO_GROUP else None
    if suite.code not in hello.cipher_suites or (
        group is not None and key_share.accept(hello, group) is None
    ):
        raise AlertError(
            AlertDescription.illegal_parameter, "the second hello is not the one that was requested"
        )
    body = encode_body(retry_request(suite, group, cookie.cookie))
    return Retry(sealed.hello_hash, suite, body)
