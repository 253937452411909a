"""The client's hello exchange; the version then forks it (RFC 6347 section 4.2.1)."""

from __future__ import annotations

from dataclasses import replace

from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import negotiate
from aiodtls.core.handshake.client12 import client12
from aiodtls.core.handshake.script import Handshake, Script
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.messages import RANDOM_LENGTH, HelloVerifyRequest, ServerHello

# A server may have changed its secret between the two hellos; more often is no honest server.
MAX_HELLO_VERIFY_REQUESTS = 3


def client(hs: Handshake) -> Script:
    """ClientHello, perhaps HelloVerifyRequest and ClientHello with its cookie, ServerHello."""
    hello = negotiate.client_hello(hs.config, hs.random(RANDOM_LENGTH), hs.server_hostname)
    hs.negotiated.client_random = hello.random
    hs.negotiated.server_hostname = hs.server_hostname
    hs.send(hello)
    reply = yield from hs.expect(HelloVerifyRequest, ServerHello)
    requests = 0
    while isinstance(reply, HelloVerifyRequest):
        requests += 1
        if requests > MAX_HELLO_VERIFY_REQUESTS:
            raise AlertError(AlertDescription.unexpected_message, "HelloVerifyRequest again")
        hs.transcript.restart()
        hello = replace(hello, cookie=reply.cookie)
        hs.send(hello)
        reply = yield from hs.expect(HelloVerifyRequest, ServerHello)
    assert isinstance(reply, ServerHello)
    yield from client12(hs, hello, reply)
