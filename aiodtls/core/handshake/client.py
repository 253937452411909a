"""The client's hello exchange. Then the script of the chosen version continues.

---> ClientHello
HelloVerifyRequest (DTLS 1.2, RFC 6347 section 4.2.1) or
HelloRetryRequest (DTLS 1.3, RFC 8446 section 4.1.4)                                   <---
---> ClientHello
ServerHello                                                                            <---
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aiodtls.core.crypto.key_exchange import KeyShare
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import negotiate13, offer13
from aiodtls.core.handshake.answered_hello import GivenUp, find_answered12, find_answered13
from aiodtls.core.handshake.client12 import client12
from aiodtls.core.handshake.client13 import client13
from aiodtls.core.handshake.extensions import connection_id, supported_versions
from aiodtls.core.handshake.offer13 import Offer
from aiodtls.core.handshake.resumption import may_offer
from aiodtls.core.handshake.script import Handshake, Script, Step
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.messages import RANDOM_LENGTH, HelloVerifyRequest, Message, ServerHello
from aiodtls.core.wire.messages13 import HelloRetryRequest

# A server's cookie secret may change between two hellos. No genuine server needs more requests.
MAX_HELLO_VERIFY_REQUESTS = 3
# A hello that offers a session is resent so often before the session is given up.
RESENDS_WITH_SESSION = 2


def client(hs: Handshake) -> Script:
    """The hello exchange, then the handshake of the version that the server chose."""
    hs.negotiated.server_hostname = hs.server_hostname
    if hs.session is not None and not may_offer(
        hs.config, hs.session, hs.server_hostname, hs.wall_clock()
    ):
        hs.offer_no_session()
    answers: list[type[Message]] = [ServerHello, HelloVerifyRequest]
    if hs.config.speaks13:
        answers.append(HelloRetryRequest)

    offer, given_up, first = yield from _exchange_first_hello(hs, answers)
    reply = first
    if isinstance(first, HelloVerifyRequest):
        reply = yield from _verify(hs, offer, first, answers)
    elif isinstance(first, HelloRetryRequest):
        offer, reply = yield from _retry(hs, offer, first)

    hs.enter("negotiation")
    chose13 = _check_version(hs, first, reply)
    assert isinstance(reply, ServerHello)
    if chose13 and given_up is not None:
        retried = first is not reply
        offer = yield from find_answered13(hs, given_up, offer, reply, retried=retried)
    elif given_up is not None:
        offer = find_answered12(hs, given_up, offer, reply)
    if chose13:
        yield from client13(hs, offer, reply)
    else:
        yield from client12(hs, offer.hello, reply)


def _exchange_first_hello(
    hs: Handshake, answers: Sequence[type[Message]]
) -> Step[tuple[Offer, GivenUp | None, Message]]:
    """Sends the first ClientHello. Returns the newest offer, the one given up, and the answer.

    The hello stays the same however often it is resent, because an answer does not tell which of
    two hellos it answers. Only a session that draws no answer is left out after some time.
    """
    hs.negotiated.client_random = hs.random(RANDOM_LENGTH)
    offer = _send_offer(hs)
    session, given_up = hs.session, None
    if session is None:
        return offer, None, (yield from hs.expect(*answers))
    reply: Message | None = yield from hs.expect_within(RESENDS_WITH_SESSION, *answers)
    if reply is None:
        # With a session it may be longer than what the path, or the server, lets through.
        hs.give_up_session()
        given_up = GivenUp(session, offer)
        offer = _send_offer(hs, offer.shares)
        reply = yield from hs.expect(*answers)
    return offer, given_up, reply


def _send_offer(hs: Handshake, shares: tuple[KeyShare, ...] | None = None) -> Offer:
    """Sends a first ClientHello, with new key shares unless some are given."""
    offer = offer13.make_offer(
        hs.config,
        hs.negotiated.client_random,
        hs.server_hostname,
        hs.transcript,
        hs.datagram_size,
        hs.session,
        connection_id.offer(hs),
        hs.wall_clock(),
        shares,
    )
    hs.send(offer.hello)
    return offer


def _verify(
    hs: Handshake, offer: Offer, request: HelloVerifyRequest, answers: Sequence[type[Message]]
) -> Step[Message]:
    """DTLS 1.2: sends the same hello with the server's cookie."""
    if not hs.config.speaks12:
        message = "the server answers with HelloVerifyRequest, so it supports DTLS 1.2 at most"
        raise AlertError(AlertDescription.protocol_version, message)
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


def _retry(hs: Handshake, offer: Offer, request: HelloRetryRequest) -> Step[tuple[Offer, Message]]:
    """DTLS 1.3: sends the hello again, with the server's cookie and a share in the requested
    group.
    """
    suite = negotiate13.check_retry_request(hs.config, offer, request)
    hs.negotiated.suite = suite
    hs.use_dtls13()
    hs.discard_early()
    hs.transcript.hash_first_hello(suite.hash_name)
    again = offer13.second_offer(offer, request, suite)
    offer = offer13.bind(again, hs.transcript, hs.next_seq, hs.wall_clock())
    hs.send(offer.hello)
    return offer, (yield from hs.expect(ServerHello))


def _check_version(hs: Handshake, first: Message, reply: Message) -> bool:
    """Whether the server chose DTLS 1.3. Its first answer must not contradict that."""
    chose13 = isinstance(reply, HelloRetryRequest) or (
        isinstance(reply, ServerHello)
        and hs.config.speaks13
        and supported_versions.is_dtls13(reply.extensions)
    )
    verified = isinstance(first, HelloVerifyRequest)
    retried = isinstance(first, HelloRetryRequest)
    if (verified and chose13) or (retried and not chose13):
        name = "HelloVerifyRequest" if verified else "HelloRetryRequest"
        message = f"the server changed the version after {name}"
        raise AlertError(AlertDescription.illegal_parameter, message)
    return chose13
