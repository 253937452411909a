"""The client's hello exchange; the version then forks it.

---> ClientHello
HelloVerifyRequest (DTLS 1.2, RFC 6347 section 4.2.1) or
HelloRetryRequest (DTLS 1.3, RFC 8446 section 4.1.4)                                   <---
---> ClientHello
ServerHello                                                                            <---
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import connection_ids, negotiate13, offer13
from aiodtls.core.handshake.client12 import client12
from aiodtls.core.handshake.client13 import client13
from aiodtls.core.handshake.offer13 import Offer
from aiodtls.core.handshake.resumption import may_offer
from aiodtls.core.handshake.script import Handshake, Script, Step
from aiodtls.core.registry import AlertDescription, NamedGroup
from aiodtls.core.wire.messages import RANDOM_LENGTH, HelloVerifyRequest, Message, ServerHello
from aiodtls.core.wire.messages13 import HelloRetryRequest

# A server may have changed its secret between the two hellos; more often is no honest server.
MAX_HELLO_VERIFY_REQUESTS = 3
# A long hello that was sent so often again in vain makes room for a short one.
UNANSWERED_RESENDS = 2


def client(hs: Handshake) -> Script:
    """The hellos, and then the handshake of the version that the server chose."""
    hs.negotiated.server_hostname = hs.server_hostname
    if hs.session is not None and not may_offer(hs.config, hs.session, hs.server_hostname):
        hs.session = None
    offer = _offer(hs, hs.config.first_groups)
    answers: list[type[Message]] = [ServerHello, HelloVerifyRequest]
    if hs.config.speaks13:
        answers.append(HelloRetryRequest)
    lesser = offer13.lesser_group(hs.config, offer)
    reply: Message | None
    if lesser is None:
        reply = yield from hs.expect(*answers)
    else:
        reply = yield from hs.expect_within(UNANSWERED_RESENDS, *answers)
        if reply is None:
            # Many a server drops a hello that comes in two datagrams.
            longer, offer = offer, _offer(hs, (lesser,))
            reply = yield from hs.expect(*answers)
            if offer13.answers_earlier(reply, longer, offer):
                # It had come, and what was lost were the answers.
                offer = longer
                hs.answered_earlier(longer.hello)
                hs.negotiated.client_random = longer.hello.random

    verified = retried = False
    if isinstance(reply, HelloVerifyRequest):
        verified = True
        if not hs.config.speaks12:
            message = "the server answers with HelloVerifyRequest, so it speaks DTLS 1.2 at most"
            raise AlertError(AlertDescription.protocol_version, message)
        reply = yield from _verify(hs, offer, reply, answers)
    elif isinstance(reply, HelloRetryRequest):
        retried = True
        offer = _retry(hs, offer, reply)
        hs.send(offer.hello)
        reply = yield from hs.expect(ServerHello)
    chose13 = isinstance(reply, HelloRetryRequest) or (
        isinstance(reply, ServerHello) and hs.config.speaks13 and negotiate13.is_dtls13(reply)
    )
    if (verified and chose13) or (retried and not chose13):
        first = "HelloVerifyRequest" if verified else "HelloRetryRequest"
        message = f"the server changed the version after {first}"
        raise AlertError(AlertDescription.illegal_parameter, message)
    assert isinstance(reply, ServerHello)
    if chose13:
        yield from client13(hs, offer, reply)
    else:
        yield from client12(hs, offer.hello, reply)


def _offer(hs: Handshake, groups: Sequence[NamedGroup] | None) -> Offer:
    """Sends a first ClientHello, with key shares in these groups or in what has room."""
    hs.restart()
    random = hs.random(RANDOM_LENGTH)
    offer = offer13.make_offer(
        hs.config,
        random,
        hs.server_hostname,
        hs.transcript,
        hs.datagram_size,
        groups,
        hs.session,
        connection_ids.offers(hs),
    )
    hs.negotiated.client_random = random
    hs.send(offer.hello)
    return offer


def _verify(
    hs: Handshake, offer: Offer, request: HelloVerifyRequest, answers: Sequence[type[Message]]
) -> Step[Message]:
    """DTLS 1.2: the same hello with the server's cookie."""
    reply: Message = request
    requests = 0
    while isinstance(reply, HelloVerifyRequest):
        requests += 1
        if requests > MAX_HELLO_VERIFY_REQUESTS:
            raise AlertError(AlertDescription.unexpected_message, "HelloVerifyRequest again")
        hs.transcript.restart()
        hs.discard_early()
        hs.send(replace(offer.hello, cookie=reply.cookie))
        reply = yield from hs.expect(*answers)
    return reply


def _retry(hs: Handshake, offer: Offer, request: HelloRetryRequest) -> Offer:
    """DTLS 1.3: the hello again, with the cookie and in the group that the server asks for."""
    suite = negotiate13.check_retry_request(hs.config, offer, request)
    hs.negotiated.suite = suite
    hs.use_dtls13()
    hs.discard_early()
    hs.transcript.hash_first_hello(suite.hash_name)
    again = offer13.second_offer(offer, request, suite)
    return offer13.bind(again, hs.transcript, hs.next_seq)
