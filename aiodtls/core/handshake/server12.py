"""The server's side of a DTLS 1.2 handshake, after the ClientHello (RFC 5246 section 7.3).

---> ServerHello, [Certificate], [ServerKeyExchange], [CertificateRequest], ServerHelloDone
[Certificate], ClientKeyExchange, [CertificateVerify], ChangeCipherSpec, Finished      <---
---> ChangeCipherSpec, Finished
"""

from __future__ import annotations

from aiodtls.core.crypto.key_exchange import KeyShare, psk_premaster_secret
from aiodtls.core.crypto.suites import SUITES, KeyExchange
from aiodtls.core.crypto.trust import authorities_of
from aiodtls.core.errors import AlertError, CertificateError
from aiodtls.core.handshake import (
    certificate_types,
    connection_ids,
    credential_choice,
    negotiate,
    staples,
)
from aiodtls.core.handshake.authenticate import (
    check_signature,
    check_trust,
    find_psk,
    sign,
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
from aiodtls.core.registry import AlertDescription, CertificateType, ProtocolVersion
from aiodtls.core.sessions import psk_check
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    ALPN,
    ECPointFormats,
    ExtendedMasterSecret,
    Extension,
    RenegotiationInfo,
    ServerName,
    SessionTicket,
    UseSRTP,
)
from aiodtls.core.wire.extensions13 import RecordSizeLimit
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

VERSION = ProtocolVersion.DTLSv1_2
# Answers that are the same to all.
EXTENDED_MASTER_SECRET, FIRST_HANDSHAKE = ExtendedMasterSecret(), RenegotiationInfo()
UNCOMPRESSED_POINTS = ECPointFormats()


def server12(hs: Handshake, hello: ClientHello) -> Script:
    negotiate.check_client_hello12(hs.config, hello)
    negotiated = hs.negotiated
    name = hello.extensions.find(ServerName)
    negotiated.server_hostname = name.host_name if name else None
    negotiated.version = "1.2"
    session = yield from find_session(hs, hello)
    if session is not None:
        use_session(negotiated, session)
        chosen = Choice12(SUITES[session.suite], None, None, None)
        gives_ticket = renews_ticket(hs, hello)
        hs.send(_server_hello(hs, hello, chosen, hello.session_id, gives_ticket=gives_ticket))
        yield from server_resumes12(hs, session, gives_ticket=gives_ticket)
        return
    choice = negotiate.choose12(hs.config, hello)
    suite = choice.suite
    exchange = suite.key_exchange
    assert exchange is not None
    asked = certificate_types.to_ask_for(hs.config, hello) if exchange.uses_certificate else None
    session_id = new_session_id(hs, hello)
    gives_ticket = issues_ticket(hs, hello)
    response = staples.ocsp_response(hello, choice.credentials)
    hs.send(
        _server_hello(hs, hello, choice, session_id, asked, response, gives_ticket=gives_ticket)
    )
    if choice.credentials is not None:
        layout = certificate_types.MESSAGES12[choice.credentials.certificate_type]
        hs.send(layout(choice.credentials.chain))
        if response:
            hs.send(CertificateStatus12(response))
    share = KeyShare.generate(choice.group) if exchange.uses_ecdhe and choice.group else None
    yield from _send_key_exchange(hs, choice, share)
    if asked is not None:
        hs.send(_certificate_request(hs, asked))
    hs.send(ServerHelloDone())

    chain: tuple[bytes, ...] = ()
    if asked is not None:
        hs.negotiated.peer_certificate_type = asked
        certificate = yield from hs.expect(certificate_types.MESSAGES12[asked])
        chain = certificate.chain
        if not chain:
            _check_absent_certificate(hs)
    premaster = yield from _client_key_exchange(hs, exchange, share)
    master = derive_master_secret(hs, suite, premaster)
    if chain:
        proof = yield from hs.expect(CertificateVerify)
        signed = hs.transcript.data_before_last
        check_signature(hs, chain, proof.scheme, proof.signature, signed)
        yield from check_trust(hs, chain, "client")
        hs.negotiated.peer_chain = chain
    writer, reader = derive_record_keys(
        hs.negotiated, suite, master, hs.config.replay_window, is_client=False
    )
    hs.install_read(EPOCH, reader)
    finished = yield from hs.expect(Finished)
    check_finished(hs, suite, master, CLIENT_LABEL, finished)

    keep_session(hs, session_id=session_id, with_ticket=gives_ticket)
    hs.send_change_cipher_spec()
    hs.install_write(EPOCH, writer)
    hs.send(Finished(verify_data(hs, suite, master, SERVER_LABEL)))


def _server_hello(
    hs: Handshake,
    hello: ClientHello,
    choice: Choice12,
    session_id: bytes,
    asked: CertificateType | None = None,
    response: bytes = b"",
    *,
    gives_ticket: bool = False,
) -> ServerHello:
    """The reply, and all that it decides."""
    negotiate.check_renegotiation_info(hello.extensions)
    negotiated = hs.negotiated
    negotiated.suite = choice.suite
    negotiated.group = choice.group
    negotiated.client_random = hello.random
    negotiated.server_random = negotiate.server_random12(hs.config, hs.random(RANDOM_LENGTH))
    negotiated.extended_master_secret = negotiate.check_extended_master_secret(
        hs.config, hello.extensions
    )
    negotiated.alpn_protocol = negotiate.choose_alpn(hs.config, hello)
    negotiated.srtp_profile = negotiate.choose_srtp(hs.config, hello)
    hs.keys.limit_records(*negotiate.record_limits(hs.config, VERSION, hello.extensions))
    extensions = _reply_extensions(hs, hello, choice)
    extensions += certificate_types.reply(hello, choice.credentials, asked)
    extensions += staples.announced(hello, choice.credentials, response)
    extensions += connection_ids.reply(hs, hello)
    if gives_ticket:
        extensions.append(SessionTicket())
    return ServerHello(
        negotiated.server_random, choice.suite.code, Extensions.of(extensions), session_id
    )


def _reply_extensions(hs: Handshake, hello: ClientHello, choice: Choice12) -> list[Extension]:
    """Only answers to what the client sent (RFC 5246 section 7.4.1.4)."""
    negotiated = hs.negotiated
    reply: list[Extension] = []
    if negotiate.has_server_name(hello) and not negotiated.resumed:
        reply.append(ServerName(None))
    if negotiated.extended_master_secret:
        reply.append(EXTENDED_MASTER_SECRET)
    if negotiate.offers_secure_renegotiation(hello):
        reply.append(FIRST_HANDSHAKE)
    if choice.group is not None and hello.extensions.find(ECPointFormats):
        reply.append(UNCOMPRESSED_POINTS)
    if negotiated.alpn_protocol is not None:
        reply.append(ALPN((negotiated.alpn_protocol,)))
    if negotiated.srtp_profile is not None:
        reply.append(UseSRTP((negotiated.srtp_profile,)))
    if RecordSizeLimit.type in hello.extensions:
        reply.append(negotiate.record_size_limit(hs.config, VERSION))
    return reply


def _send_key_exchange(hs: Handshake, choice: Choice12, share: KeyShare | None) -> Step[None]:
    """ServerKeyExchange; plain PSK has one only where there is a hint (RFC 4279 section 2)."""
    hint = hs.config.identity_hint
    if share is None:
        if hint:
            hs.send(ServerKeyExchangePsk12(hint))
        return
    if choice.credentials is None:
        hs.send(ServerKeyExchangeEcdhePsk12(hint, share.group, share.public))
        return
    assert choice.scheme is not None
    negotiated = hs.negotiated
    params = ecdh_params(share.group, share.public)
    signed = negotiated.client_random + negotiated.server_random + params
    signature = yield from sign(hs, choice.credentials, choice.scheme, signed)
    hs.send(ServerKeyExchangeEcdhe12(share.group, share.public, choice.scheme, signature))


def _certificate_request(hs: Handshake, asked: CertificateType) -> CertificateRequest12:
    names = authorities_of(hs.config.trusts) if asked is CertificateType.X509 else ()
    key_types = bytes(credential_choice.CERTIFICATE_TYPES.values())
    return CertificateRequest12(key_types, tuple(hs.config.schemes), names)


def _check_absent_certificate(hs: Handshake) -> None:
    if hs.config.client_auth == "required":
        message = "the client has no certificate, which client_auth asks for"
        raise AlertError(AlertDescription.handshake_failure, message, CertificateError(message))


def _client_key_exchange(
    hs: Handshake, exchange: KeyExchange, share: KeyShare | None
) -> Step[bytes]:
    """The premaster secret (RFC 8422 section 5.10, RFC 4279 section 2, RFC 5489 section 2)."""
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
    # For an unknown identity a random key goes on, so that it looks like a wrong key (F20).
    return psk_premaster_secret(psk.key if psk else hs.random(32), secret)
