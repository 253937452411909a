"""The server's side of a DTLS 1.2 handshake, after the ClientHello (RFC 5246 section 7.3).

---> ServerHello, [Certificate], [ServerKeyExchange], [CertificateRequest], ServerHelloDone
[Certificate], ClientKeyExchange, [CertificateVerify], ChangeCipherSpec, Finished      <---
---> ChangeCipherSpec, Finished
"""

from __future__ import annotations

from aiodtls.core.crypto import hmacs
from aiodtls.core.crypto.key_exchange import KeyShare, psk_premaster_secret
from aiodtls.core.crypto.suites import SUITES, Suite
from aiodtls.core.errors import AlertError, CertificateError
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake import credential_choice, negotiate
from aiodtls.core.handshake.authenticate import check_signature, check_trust, find_psk, sign
from aiodtls.core.handshake.extensions import (
    alpn,
    certificate_authorities,
    certificate_status,
    certificate_types,
    connection_id,
    ec_point_formats,
    extended_master_secret,
    record_size_limit,
    renegotiation_info,
    server_name,
    session_ticket,
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
from aiodtls.core.handshake.negotiate import Choice12
from aiodtls.core.handshake.resume12 import (
    find_session,
    issues_ticket,
    keep_session,
    new_session_id,
    renews_ticket,
    server_resumes12,
)
from aiodtls.core.handshake.resumption import use_session
from aiodtls.core.handshake.script import Handshake, Script, Step
from aiodtls.core.registry import AlertDescription, CertificateType
from aiodtls.core.sessions import Session, psk_check
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.messages import (
    RANDOM_LENGTH,
    CertificateRequest12,
    CertificateStatus12,
    CertificateVerify,
    ClientHello,
    ClientKeyExchangeEcdhe12,
    ClientKeyExchangeEcdhePsk12,
    ClientKeyExchangePsk12,
    Finished,
    ServerHello,
    ServerHelloDone,
    ServerKeyExchangeEcdhe12,
    ServerKeyExchangeEcdhePsk12,
    ServerKeyExchangePsk12,
    ecdh_params,
)


@frozen
class _Answer:
    """The server's decisions for a ClientHello.

    ``asked`` is the certificate type that a CertificateRequest requests.
    """

    choice: Choice12
    session_id: bytes
    gives_ticket: bool
    asked: CertificateType | None = None
    ocsp_response: bytes = b""


def server12(hs: Handshake, hello: ClientHello) -> Script:
    """The full handshake. ``resume12.py`` has the resumption."""
    negotiate.check_client_hello12(hs.config, hello)
    server_name.accept(hs, hello)
    hs.negotiated.version = "1.2"
    session = yield from find_session(hs, hello)
    if session is not None:
        yield from _resume(hs, hello, session)
        return
    answer = _choose_answer(hs, hello)
    suite = answer.choice.suite

    hs.send(_server_hello(hs, hello, answer))
    _send_certificate(hs, answer)
    share = yield from _send_server_key(hs, answer.choice)
    _send_request(hs, answer.asked)

    hs.enter("authentication")
    chain = yield from _receive_certificate(hs, answer.asked)
    premaster = yield from _receive_client_key(hs, suite, share)
    master = derive_master_secret(hs, suite, premaster)
    if chain:
        yield from _authenticate_client(hs, chain)
    yield from _exchange_finished(hs, answer, master)


def _resume(hs: Handshake, hello: ClientHello, session: Session) -> Step[None]:
    """The abbreviated handshake, from ServerHello on."""
    use_session(hs.negotiated, session)
    chosen = Choice12(SUITES[session.suite], None, None, None)
    gives_ticket = renews_ticket(hs, hello)
    hs.send(_server_hello(hs, hello, _Answer(chosen, hello.session_id, gives_ticket)))
    yield from server_resumes12(hs, session, gives_ticket=gives_ticket)


def _choose_answer(hs: Handshake, hello: ClientHello) -> _Answer:
    """Makes all decisions of a full handshake that precede the ServerHello."""
    choice = negotiate.choose12(hs.config, hello)
    exchange = choice.suite.key_exchange
    assert exchange is not None
    asked = certificate_types.accept(hs.config, hello) if exchange.uses_certificate else None
    session_id = new_session_id(hs, hello)
    gives_ticket = issues_ticket(hs, hello)
    ocsp_response = certificate_status.accept(hello, choice.credentials)
    return _Answer(choice, session_id, gives_ticket, asked, ocsp_response)


def _server_hello(hs: Handshake, hello: ClientHello, answer: _Answer) -> ServerHello:
    """Makes the ServerHello, and stores what it agrees to."""
    choice, negotiated = answer.choice, hs.negotiated
    negotiated.suite = choice.suite
    negotiated.group = choice.group
    _accept_extensions(hs, hello)
    extensions: list[Extension] = [
        *server_name.reply(hs, hello),
        *extended_master_secret.reply(hs),
        *renegotiation_info.reply(hello),
        *ec_point_formats.reply(hello, choice.group),
        *alpn.reply(hs),
        *srtp.reply(hs),
        *record_size_limit.reply(hs, hello),
        *certificate_types.reply(hello, choice.credentials, answer.asked),
        *certificate_status.reply(hello, choice.credentials, answer.ocsp_response),
        *connection_id.reply(hs, hello),
        *session_ticket.reply(gives_ticket=answer.gives_ticket),
    ]
    return ServerHello(
        negotiated.server_random,
        choice.suite.code,
        Extensions.of(extensions),
        answer.session_id,
    )


def _accept_extensions(hs: Handshake, hello: ClientHello) -> None:
    """Processes the extensions of the ClientHello, and stores its random."""
    renegotiation_info.accept(hello)
    hs.negotiated.server_random = negotiate.server_random12(hs.config, hs.random(RANDOM_LENGTH))
    extended_master_secret.accept(hs, hello)
    alpn.accept(hs, hello)
    srtp.accept(hs, hello)
    record_size_limit.accept(hs, hello)


def _send_certificate(hs: Handshake, answer: _Answer) -> None:
    """Sends [Certificate] and [CertificateStatus]."""
    credentials = answer.choice.credentials
    if credentials is None:
        return
    layout = certificate_types.MESSAGES12[credentials.certificate_type]
    hs.send(layout(credentials.chain))
    if answer.ocsp_response:
        hs.send(CertificateStatus12(answer.ocsp_response))


def _send_server_key(hs: Handshake, choice: Choice12) -> Step[KeyShare | None]:
    """Sends [ServerKeyExchange]. Plain PSK has one only with an identity hint (RFC 4279
    section 2).
    """
    exchange = choice.suite.key_exchange
    assert exchange is not None
    share = KeyShare.generate(choice.group) if exchange.uses_ecdhe and choice.group else None
    hint = hs.config.identity_hint
    if share is None:
        if hint:
            hs.send(ServerKeyExchangePsk12(hint))
        return share
    if choice.credentials is None:
        hs.send(ServerKeyExchangeEcdhePsk12(hint, share.group, share.public))
        return share
    assert choice.scheme is not None
    negotiated = hs.negotiated
    params = ecdh_params(share.group, share.public)
    signed = negotiated.client_random + negotiated.server_random + params
    signature = yield from sign(hs, choice.credentials, choice.scheme, signed)
    hs.send(ServerKeyExchangeEcdhe12(share.group, share.public, choice.scheme, signature))
    return share


def _send_request(hs: Handshake, asked: CertificateType | None) -> None:
    """Sends [CertificateRequest] and ServerHelloDone."""
    if asked is not None:
        names = certificate_authorities.requested(hs.config, asked)
        key_types = bytes(credential_choice.CERTIFICATE_TYPES.values())
        hs.send(CertificateRequest12(key_types, tuple(hs.config.schemes), names))
    hs.send(ServerHelloDone())


def _receive_certificate(hs: Handshake, asked: CertificateType | None) -> Step[tuple[bytes, ...]]:
    """Receives the client's certificate, if it was requested. It may be empty."""
    if asked is None:
        return ()
    hs.negotiated.peer_certificate_type = asked
    certificate = yield from hs.expect(certificate_types.MESSAGES12[asked])
    if not certificate.chain and hs.config.client_auth == "required":
        message = "the client has no certificate, which client_auth asks for"
        raise AlertError(
            AlertDescription.handshake_failure,
            message,
            CertificateError(message),
            reason="no_certificate",
        )
    return certificate.chain


def _receive_client_key(hs: Handshake, suite: Suite, share: KeyShare | None) -> Step[bytes]:
    """Receives ClientKeyExchange. Returns the premaster secret (RFC 8422 section 5.10, RFC 4279
    section 2, RFC 5489 section 2).
    """
    exchange = suite.key_exchange
    assert exchange is not None
    if not exchange.uses_psk:
        assert share is not None
        ecdhe = yield from hs.expect(ClientKeyExchangeEcdhe12)
        return share.exchange(ecdhe.public)
    secret: bytes | None = None
    if share is not None:
        ecdhe_psk = yield from hs.expect(ClientKeyExchangeEcdhePsk12)
        identity = ecdhe_psk.identity
        secret = share.exchange(ecdhe_psk.public)
    else:
        identity = (yield from hs.expect(ClientKeyExchangePsk12)).identity
    hs.negotiated.psk_identity = identity
    psk = yield from find_psk(hs, identity)
    hs.negotiated.psk_check = psk_check(psk.key) if psk else b""
    hs.negotiated.psk_user_data = psk.user_data if psk else None
    # An unknown identity gets a random key, so that it looks like a wrong key (F20).
    return psk_premaster_secret(psk.key if psk else hs.random(32), secret)


def _authenticate_client(hs: Handshake, chain: tuple[bytes, ...]) -> Step[None]:
    """Checks CertificateVerify, which proves possession of the key, and then the client's chain."""
    proof = yield from hs.expect(CertificateVerify)
    signed = hs.transcript.data_before_last
    check_signature(hs, chain, proof.scheme, proof.signature, signed)
    yield from check_trust(hs, chain, "client")
    hs.negotiated.peer_chain = chain


def _exchange_finished(hs: Handshake, answer: _Answer, master: hmacs.Secret) -> Step[None]:
    """Receives the client's Finished, then sends [NewSessionTicket], ChangeCipherSpec and
    Finished.
    """
    suite = answer.choice.suite
    writer, reader = derive_record_keys(
        hs.negotiated, suite, master, hs.config.replay_window, is_client=False
    )
    hs.install_read(EPOCH, reader)
    hs.enter("finished")
    finished = yield from hs.expect(Finished)
    check_finished(hs, suite, master, CLIENT_LABEL, finished)

    yield from keep_session(hs, session_id=answer.session_id, with_ticket=answer.gives_ticket)
    hs.send_change_cipher_spec()
    hs.install_write(EPOCH, writer)
    hs.send(Finished(verify_data(hs, suite, master, SERVER_LABEL)))
