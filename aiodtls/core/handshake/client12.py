"""The client's side of a DTLS 1.2 handshake, from ServerHello to Finished (RFC 5246 section 7.3).

ServerHello, [Certificate], [ServerKeyExchange], [CertificateRequest], ServerHelloDone  <---
---> [Certificate], ClientKeyExchange, [CertificateVerify], ChangeCipherSpec, Finished
ChangeCipherSpec, Finished                                                              <---
"""

from __future__ import annotations

from aiodtls.core.crypto import hmacs
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.key_exchange import psk_premaster_secret, respond
from aiodtls.core.crypto.suites import KeyExchange, Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import credential_choice, negotiate
from aiodtls.core.handshake.authenticate import (
    check_signature,
    check_trust,
    key_exchange_for,
    public_key,
    sign,
)
from aiodtls.core.handshake.extensions import (
    alpn,
    certificate_status,
    certificate_types,
    connection_id,
    ec_point_formats,
    extended_master_secret,
    record_size_limit,
    renegotiation_info,
    srtp,
)
from aiodtls.core.handshake.keys12 import (
    CLIENT_LABEL,
    EPOCH,
    SERVER_LABEL,
    check_finished,
    derive_master_secret,
    derive_record_keys,
    verify_data,
)
from aiodtls.core.handshake.resume12 import (
    client_resumes12,
    is_resumed,
    receive_ticket,
    session_of_id,
)
from aiodtls.core.handshake.script import Handshake, Script, Step
from aiodtls.core.registry import AlertDescription, NamedGroup, SignatureScheme
from aiodtls.core.sessions import psk_check
from aiodtls.core.wire.messages import (
    CertificateRequest12,
    CertificateStatus12,
    CertificateVerify,
    ClientHello,
    ClientKeyExchangeEcdhe12,
    ClientKeyExchangeEcdhePsk12,
    ClientKeyExchangePsk12,
    Finished,
    Message,
    ServerHello,
    ServerHelloDone,
    ServerKeyExchangeEcdhe12,
    ServerKeyExchangeEcdhePsk12,
    ServerKeyExchangePsk12,
)

# The messages that may follow ServerHello and Certificate. Plain PSK without a hint has none.
KEY_EXCHANGE_MESSAGES: dict[KeyExchange, tuple[type[Message], ...]] = {
    KeyExchange.ECDHE_ECDSA: (ServerKeyExchangeEcdhe12,),
    KeyExchange.ECDHE_RSA: (ServerKeyExchangeEcdhe12,),
    KeyExchange.ECDHE_PSK: (ServerKeyExchangeEcdhePsk12,),
    KeyExchange.PSK: (ServerKeyExchangePsk12, ServerHelloDone),
}


def client12(hs: Handshake, hello: ClientHello, reply: ServerHello) -> Script:
    """The full handshake. ``resume12.py`` has the resumption."""
    suite = _accept_server_hello(hs, hello, reply)
    if hs.session is not None and is_resumed(hello, reply):
        yield from client_resumes12(hs, hs.session, reply)
        return
    exchange = suite.key_exchange
    assert exchange is not None
    hs.enter("authentication")
    if exchange.uses_certificate:
        certificate_types.check_reply(hs, hello, reply.extensions)
        yield from _receive_certificate(hs, suite)
    server_key = yield from _receive_server_key(hs, reply, exchange)
    request = yield from _receive_request(hs, exchange, server_key)
    if exchange.uses_certificate:
        yield from check_trust(hs, hs.negotiated.peer_chain, "server")

    chosen = _send_certificate(hs, request) if request is not None else None
    premaster = _send_client_key(hs, exchange, server_key)
    master = derive_master_secret(hs, suite, premaster)
    if chosen is not None:
        yield from _send_certificate_verify(hs, *chosen)
    yield from _exchange_finished(hs, reply, suite, master)


def _accept_server_hello(hs: Handshake, hello: ClientHello, reply: ServerHello) -> Suite:
    """Checks the ServerHello and each of its extensions. Returns the chosen suite."""
    suite = negotiate.check_server_hello12(hs.config, hello, reply)
    negotiated = hs.negotiated
    negotiated.version = "1.2"
    negotiated.suite = suite
    negotiated.server_random = reply.random
    extensions = reply.extensions
    renegotiation_info.check_reply(hs.config, extensions)
    ec_point_formats.check_reply(extensions)
    alpn.check_reply(hs, extensions)
    srtp.check_reply(hs, extensions)
    extended_master_secret.check_reply(hs, extensions)
    certificate_status.check_reply(hs, extensions)
    record_size_limit.check_reply(hs, extensions)
    connection_id.check_reply(hs, extensions)
    return suite


def _receive_certificate(hs: Handshake, suite: Suite) -> Step[None]:
    """Receives the server's chain or raw public key. It must be of the kind that the suite signs
    with.
    """
    layout = certificate_types.MESSAGES12[hs.negotiated.peer_certificate_type]
    certificate = yield from hs.expect(layout)
    if not certificate.chain:
        raise AlertError(AlertDescription.decode_error, "the server's certificate list is empty")
    if key_exchange_for(public_key(hs, certificate.chain)) is not suite.key_exchange:
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"the server's key is of another kind than its suite {suite.name} needs",
        )
    hs.negotiated.peer_chain = certificate.chain


def _receive_server_key(hs: Handshake, reply: ServerHello, exchange: KeyExchange) -> Step[Message]:
    """Receives [CertificateStatus] and ServerKeyExchange, or ServerHelloDone if there is none."""
    awaited = KEY_EXCHANGE_MESSAGES[exchange]
    # An announced message may still be left out (RFC 6066 section 8).
    announced = certificate_status.is_announced(reply.extensions)
    status = (CertificateStatus12,) if announced else ()
    message: Message = yield from hs.expect(*status, *awaited)
    if isinstance(message, CertificateStatus12):
        hs.negotiated.ocsp_response = message.response
        message = yield from hs.expect(*awaited)
    if isinstance(message, ServerKeyExchangeEcdhe12):
        _check_server_key(hs, message)
    return message


def _receive_request(
    hs: Handshake, exchange: KeyExchange, server_key: Message
) -> Step[CertificateRequest12 | None]:
    """Receives [CertificateRequest] and ServerHelloDone."""
    if isinstance(server_key, ServerHelloDone):
        return None
    # A server without a certificate must not request one (RFC 4279 section 2).
    asks = (CertificateRequest12,) if exchange.uses_certificate else ()
    message: Message = yield from hs.expect(*asks, ServerHelloDone)
    if not isinstance(message, CertificateRequest12):
        return None
    yield from hs.expect(ServerHelloDone)
    return message


def _check_server_key(hs: Handshake, message: ServerKeyExchangeEcdhe12) -> None:
    """Verifies the signature of the ephemeral key, which covers both randoms (RFC 8422
    section 5.4).
    """
    negotiated = hs.negotiated
    signed = negotiated.client_random + negotiated.server_random + message.params
    check_signature(hs, negotiated.peer_chain, message.scheme, message.signature, signed)


def _send_certificate(
    hs: Handshake, request: CertificateRequest12
) -> tuple[Credentials, SignatureScheme] | None:
    """Sends our chain if one fits, else an empty list (RFC 5246 section 7.4.6)."""
    own_type = hs.negotiated.own_certificate_type
    chosen = credential_choice.choose_client_credentials12(hs.config, request, own_type)
    layout = certificate_types.MESSAGES12[own_type]
    hs.send(layout(chosen[0].chain if chosen else ()))
    return chosen


def _send_client_key(hs: Handshake, exchange: KeyExchange, server_key: Message) -> bytes:
    """Sends ClientKeyExchange. Returns the premaster secret."""
    client_key, premaster = _client_key_exchange(hs, exchange, server_key)
    hs.send(client_key)
    return premaster


def _client_key_exchange(
    hs: Handshake, exchange: KeyExchange, server_key: Message
) -> tuple[Message, bytes]:
    """ClientKeyExchange and the premaster secret (RFC 8422 section 5.10, RFC 4279 section 2,
    RFC 5489 section 2).
    """
    public = secret = b""
    if isinstance(server_key, ServerKeyExchangeEcdhe12 | ServerKeyExchangeEcdhePsk12):
        if server_key.group not in hs.config.named_groups12:
            raise AlertError(
                AlertDescription.illegal_parameter, f"group {server_key.group} was not offered"
            )
        group = hs.negotiated.group = NamedGroup(server_key.group)
        public, secret = respond(group, server_key.public)
    if isinstance(server_key, ServerKeyExchangePsk12 | ServerKeyExchangeEcdhePsk12):
        hs.negotiated.psk_identity_hint = server_key.identity_hint
    if not exchange.uses_psk:
        return ClientKeyExchangeEcdhe12(public), secret
    psk = hs.config.client_psk12
    hs.negotiated.psk_identity = psk.identity
    hs.negotiated.psk_check = psk_check(psk.key)
    hs.negotiated.psk_user_data = psk.user_data
    if exchange.uses_ecdhe:
        return (
            ClientKeyExchangeEcdhePsk12(psk.identity, public),
            psk_premaster_secret(psk.key, secret),
        )
    return ClientKeyExchangePsk12(psk.identity), psk_premaster_secret(psk.key)


def _send_certificate_verify(
    hs: Handshake, credentials: Credentials, scheme: SignatureScheme
) -> Step[None]:
    """Signs all messages up to ClientKeyExchange (RFC 5246 section 7.4.8)."""
    signature = yield from sign(hs, credentials, scheme, hs.transcript.data)
    hs.send(CertificateVerify(scheme, signature))


def _exchange_finished(
    hs: Handshake, reply: ServerHello, suite: Suite, master: hmacs.Secret
) -> Step[None]:
    """Sends ChangeCipherSpec and Finished, then receives the server's, and a ticket if one is
    announced.
    """
    writer, reader = derive_record_keys(
        hs.negotiated, suite, master, hs.config.replay_window, is_client=True
    )
    hs.send_change_cipher_spec()
    hs.install_write(EPOCH, writer)
    hs.send(Finished(verify_data(hs, suite, master, CLIENT_LABEL)))

    hs.await_last_flight()
    hs.enter("finished")
    session = yield from receive_ticket(hs, reply)
    hs.install_read(EPOCH, reader)
    finished = yield from hs.expect(Finished)
    check_finished(hs, suite, master, SERVER_LABEL, finished)
    hs.negotiated.session = session or session_of_id(hs, reply)
