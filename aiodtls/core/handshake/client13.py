"""The client's side of a DTLS 1.3 handshake, from ServerHello on (RFC 8446 section 2).

ServerHello, {EncryptedExtensions}, {[CertificateRequest]},
{[Certificate]}, {[CertificateVerify]}, {Finished}                                     <---
---> {[Certificate]}, {[CertificateVerify]}, {Finished}
[ACK]                                                                                  <---

Messages in {} are protected in epoch 2, everything after the handshake in epoch 3 (RFC 9147
section 5.7).
"""

from __future__ import annotations

from aiodtls.core.crypto.suites import Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import credential_choice, negotiate, negotiate13
from aiodtls.core.handshake.authenticate import check_signature, check_trust, public_key, sign
from aiodtls.core.handshake.extensions import (
    alpn,
    certificate_status,
    certificate_types,
    connection_id,
    key_share,
    record_size_limit,
    srtp,
)
from aiodtls.core.handshake.keys13 import CLIENT_CONTEXT, SERVER_CONTEXT, Secrets13, signed_content
from aiodtls.core.handshake.offer13 import Offer
from aiodtls.core.handshake.psks import OfferedPsk
from aiodtls.core.handshake.resumption import use_session, with_user_data
from aiodtls.core.handshake.script import Handshake, Script, Step
from aiodtls.core.registry import AlertDescription
from aiodtls.core.sessions import psk_check
from aiodtls.core.wire.messages import CertificateVerify, Finished, Message, ServerHello
from aiodtls.core.wire.messages13 import Certificate13, CertificateRequest13, EncryptedExtensions


def client13(hs: Handshake, offer: Offer, reply: ServerHello) -> Script:
    """From ServerHello on, for full, PSK and resumed handshakes."""
    psk, secrets = _accept_server_hello(hs, offer, reply)
    yield from _receive_extensions(hs, offer, psk)
    request = None
    hs.enter("authentication")
    if psk is None:
        request = yield from _authenticate_server(hs, offer)
    elif hs.negotiated.peer_chain:
        yield from check_trust(hs, hs.negotiated.peer_chain, "server")
    hs.enter("finished")
    finished = yield from hs.expect(Finished)
    secrets.check_finished(finished)
    traffic = secrets.derive_application()

    if request is not None:
        yield from _send_certificate(hs, request)
    hs.send(secrets.finished())
    secrets.protect_application(traffic)


def _accept_server_hello(
    hs: Handshake, offer: Offer, reply: ServerHello
) -> tuple[OfferedPsk | None, Secrets13]:
    """Checks the ServerHello and installs the keys of epoch 2. Returns the chosen PSK."""
    negotiated = hs.negotiated
    suite = negotiate13.check_server_hello13(hs.config, offer, reply)
    if negotiated.suite not in (None, suite):
        raise AlertError(
            AlertDescription.illegal_parameter,
            "the cipher suite differs from that in HelloRetryRequest",
        )
    negotiated.version = "1.3"
    negotiated.suite = suite
    negotiated.server_random = reply.random
    psk = _accept_psk(hs, offer, reply, suite)
    exchange = key_share.check_reply(offer.hello, offer.shares, reply, has_psk=psk is not None)
    shared = None
    if exchange is not None:
        share, public = exchange
        negotiated.group = share.group
        shared = share.exchange(public)
    hs.use_dtls13()
    connection_id.check_reply(hs, reply.extensions)
    secrets = Secrets13(hs, suite, psk.key if psk else None, is_client=True)
    secrets.protect_handshake(shared)
    return psk, secrets


def _accept_psk(hs: Handshake, offer: Offer, reply: ServerHello, suite: Suite) -> OfferedPsk | None:
    """Takes the PSK that the server chose, and the identity of the peer that it implies."""
    psk = negotiate13.selected_psk(offer, reply, suite)
    if psk is None and not hs.config.offers_certificates:
        raise AlertError(AlertDescription.handshake_failure, "the server chose none of our PSKs")
    if psk is not None and psk.session is not None:
        use_session(hs.negotiated, with_user_data(hs.config, psk.session))
    elif psk is not None and psk.psk is not None:
        hs.negotiated.psk_identity = psk.psk.identity
        hs.negotiated.psk_check = psk_check(psk.psk.key)
        hs.negotiated.psk_user_data = psk.psk.user_data
    return psk


def _receive_extensions(hs: Handshake, offer: Offer, psk: OfferedPsk | None) -> Step[None]:
    """Receives EncryptedExtensions."""
    extensions = (yield from hs.expect(EncryptedExtensions)).extensions
    negotiate.check_only_offered(offer.hello, extensions)
    alpn.check_reply(hs, extensions)
    srtp.check_reply(hs, extensions)
    record_size_limit.check_reply(hs, extensions)
    if psk is None:
        certificate_types.check_reply(hs, offer.hello, extensions)


def _check_request(request: CertificateRequest13) -> CertificateRequest13:
    """The context must be empty during the handshake (RFC 8446 section 4.3.2)."""
    if request.context:
        raise AlertError(AlertDescription.illegal_parameter, "CertificateRequest with a context")
    return request


def _authenticate_server(hs: Handshake, offer: Offer) -> Step[CertificateRequest13 | None]:
    """Receives [CertificateRequest], Certificate and CertificateVerify."""
    request = None
    message: Message = yield from hs.expect(CertificateRequest13, Certificate13)
    if isinstance(message, CertificateRequest13):
        request = _check_request(message)
        message = yield from hs.expect(Certificate13)
    assert isinstance(message, Certificate13)
    certificate_status.check_entries(offer.hello.extensions, message)
    yield from _check_certificate(hs, message)
    return request


def _check_certificate(hs: Handshake, certificate: Certificate13) -> Step[None]:
    """Checks the Certificate, and CertificateVerify, which proves possession of its key."""
    if certificate.context or not certificate.chain:
        description = AlertDescription.decode_error
        if certificate.context:
            description = AlertDescription.illegal_parameter
        raise AlertError(description, "the server's certificate list is empty or has a context")
    public_key(hs, certificate.chain)
    hs.negotiated.peer_chain = certificate.chain
    certificate_status.accept_certificate13(hs, certificate)
    proof = yield from hs.expect(CertificateVerify)
    signed = signed_content(SERVER_CONTEXT, hs.transcript_hash_before_last())
    check_signature(hs, certificate.chain, proof.scheme, proof.signature, signed)
    yield from check_trust(hs, certificate.chain, "server")


def _send_certificate(hs: Handshake, request: CertificateRequest13) -> Step[None]:
    """Sends our chain if one fits, else an empty list (RFC 8446 section 4.4.2)."""
    chosen = credential_choice.choose_client_credentials13(
        hs.config, request, hs.negotiated.own_certificate_type
    )
    if chosen is None:
        hs.send(Certificate13(()))
        return
    credentials, scheme = chosen
    hs.send(Certificate13(credentials.chain))
    signed = signed_content(CLIENT_CONTEXT, hs.transcript_hash())
    signature = yield from sign(hs, credentials, scheme, signed)
    hs.send(CertificateVerify(scheme, signature))
