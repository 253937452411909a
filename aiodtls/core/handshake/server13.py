"""The server's side of a DTLS 1.3 handshake, after the ClientHello (RFC 8446 section 2).

---> [HelloRetryRequest]
[ClientHello]                                                                          <---
---> ServerHello, {EncryptedExtensions}, {[CertificateRequest]},
     {[Certificate]}, {[CertificateVerify]}, {Finished}
{[Certificate]}, {[CertificateVerify]}, {Finished}                                     <---
---> [ACK]

Messages in {} are protected in epoch 2, everything after the handshake in epoch 3 (RFC 9147
section 5.7).
"""

from __future__ import annotations

import hmac

from aiodtls.core.cookies import Retry
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.key_exchange import respond
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.errors import AlertError, CertificateError
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake import credential_choice, in_common, negotiate13
from aiodtls.core.handshake.authenticate import check_signature, check_trust, sign
from aiodtls.core.handshake.extensions import (
    alpn,
    certificate_authorities,
    certificate_status,
    certificate_types,
    connection_id,
    key_share,
    psk_key_exchange_modes,
    record_size_limit,
    server_name,
    signature_algorithms,
    srtp,
    supported_groups,
    supported_versions,
)
from aiodtls.core.handshake.keys13 import CLIENT_CONTEXT, SERVER_CONTEXT, Secrets13, signed_content
from aiodtls.core.handshake.psks import (
    EXTERNAL_BINDER,
    HASH_LENGTHS,
    OfferedPsk,
    PskFinder,
    preference,
)
from aiodtls.core.handshake.resumption import accepted_session, use_session
from aiodtls.core.handshake.script import Handshake, Script, Step
from aiodtls.core.handshake.stored_sessions import keep_long_chain, open_ticket
from aiodtls.core.registry import (
    AlertDescription,
    CertificateType,
    ExtensionType,
    NamedGroup,
    ProtocolVersion,
    PskKeyExchangeMode,
    SignatureScheme,
)
from aiodtls.core.sessions import psk_check
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import PreSharedKey, SelectedPsk
from aiodtls.core.wire.messages import (
    RANDOM_LENGTH,
    CertificateVerify,
    ClientHello,
    Finished,
    ServerHello,
)
from aiodtls.core.wire.messages13 import Certificate13, CertificateRequest13, EncryptedExtensions

# The same alert as for a wrong key, so that a client cannot find out which identities exist
# (RFC 8446 section 6.2, F20).
UNKNOWN_PSK = AlertDescription.decrypt_error
# We request no extensions in the client's certificate entries.
NOTHING_ASKED = Extensions()


@frozen
class _Choice:
    """The server's decisions: a PSK, or credentials and a scheme."""

    suite: Suite
    group: NamedGroup | None
    psk: OfferedPsk | None = None
    psk_index: int = 0
    credentials: Credentials | None = None
    scheme: SignatureScheme | None = None


def server13(hs: Handshake, hello: ClientHello, retry: Retry | None) -> Script:
    """The handshake after the ClientHello. ``retry`` is set if that was a second ClientHello."""
    hs.use_dtls13()
    hs.negotiated.version = "1.3"
    negotiate13.check_client_hello13(hello)
    suite = retry.suite if retry else negotiate13.choose_suite13(hs.config, hello, hs.wall_clock())
    group = supported_groups.accept13(hs.config, hello)
    if retry is None and group is not None and key_share.accept(hello, group) is None:
        hello = yield from _ask_for_share(hs, hello, suite, group)
    choice = yield from _choose(hs, hello, suite, group)
    asked = certificate_types.accept(hs.config, hello) if choice.psk is None else None

    secrets = _send_server_hello(hs, hello, choice)
    _send_encrypted_extensions(hs, hello, choice, asked)
    if asked is not None:
        _send_request(hs, asked)
    if choice.credentials is not None and choice.scheme is not None:
        yield from _send_certificate(hs, hello, choice.credentials, choice.scheme)
    hs.send(secrets.finished())
    traffic = secrets.derive_application()

    if asked is not None:
        hs.enter("authentication")
        hs.negotiated.peer_certificate_type = asked
        yield from _authenticate_client(hs)
    hs.enter("finished")
    finished = yield from hs.expect(Finished)
    secrets.check_finished(finished)
    if hs.negotiated.wants_tickets:
        yield from keep_long_chain(hs)
    secrets.protect_application(traffic)


def _ask_for_share(
    hs: Handshake, hello: ClientHello, suite: Suite, group: NamedGroup
) -> Step[ClientHello]:
    """Sends HelloRetryRequest. Returns the second hello, which has one share in that group."""
    hs.send(negotiate13.retry_request(suite, group))
    hs.transcript.hash_first_hello(suite.hash_name)
    second = yield from hs.expect(ClientHello)
    negotiate13.check_second_hello(hello, second, suite)
    return second


def _choose(
    hs: Handshake, hello: ClientHello, suite: Suite, group: NamedGroup | None
) -> Step[_Choice]:
    """Chooses a PSK if one fits, else credentials (RFC 8446 section 4.2.11).

    Without ``prefer_psk``, credentials come before a PSK that is not a session's.
    """
    config = hs.config
    server_name.accept(hs, hello)
    modes = psk_key_exchange_modes.accept(hello)
    hs.negotiated.wants_tickets = PskKeyExchangeMode.psk_dhe_ke in modes
    has_share = key_share.accept(hello, group) is not None
    dhe = has_share and PskKeyExchangeMode.psk_dhe_ke in modes
    may_do_without = PskKeyExchangeMode.psk_ke in modes and not config.require_forward_secrecy
    found = None
    offered = hello.extensions.find(PreSharedKey)
    if offered is not None and (dhe or may_do_without):
        found = yield from _choose_psk(hs, hello, offered, suite, dhe=dhe)
        if found is None and config.hides_identities:
            raise _unknown_psk(hs, offered, suite)
    # A session comes first, because a PSK or credentials authenticated its first handshake.
    if has_share and (found is None or (found[1].session is None and not config.prefer_psk)):
        chosen = credential_choice.choose_credentials13(config, hello)
        if chosen is not None:
            return _Choice(suite, group, credentials=chosen[0], scheme=chosen[1])
    if found is not None:
        _accept_psk(hs, hello, *found)
        return _Choice(suite, group if dhe else None, found[1], found[0])
    raise _nothing_fits(hs, hello, group)


def _nothing_fits(hs: Handshake, hello: ClientHello, group: NamedGroup | None) -> AlertError:
    """Explains why neither a PSK nor credentials fit this client."""
    if hs.config.credential_list:
        if group is None:
            return in_common.no_group(hs.config.named_groups, hello)
        if key_share.accept(hello, group) is None:
            message = f"no key share in a group that we support: {group.name} was requested"
            return AlertError(AlertDescription.illegal_parameter, message)
        offered = hello.extensions.find(PreSharedKey)
        if offered is not None and ExtensionType.signature_algorithms not in hello.extensions:
            if not hs.config.serves_psk:
                return in_common.no_psk()
            identity = offered.identities[0][0]
            return in_common.unknown_psk(AlertDescription.handshake_failure, identity)
        return credential_choice.why_no_credentials(hs.config, hello, ProtocolVersion.DTLSv1_3)
    if ExtensionType.pre_shared_key not in hello.extensions:
        message = "the client offers no PSK, and we have no certificate"
        return AlertError(AlertDescription.missing_extension, message, reason="no_psk")
    return AlertError(
        AlertDescription.handshake_failure,
        "no PSK key exchange mode in common",
        reason="no_common_psk_mode",
    )


def _unknown_psk(hs: Handshake, offered: PreSharedKey, suite: Suite) -> AlertError:
    """An unknown identity looks like a wrong key and takes as long: a random key is checked."""
    key = hs.random(HASH_LENGTHS[suite.hash_name])
    random_psk = OfferedPsk(b"", key, suite.hash_name, EXTERNAL_BINDER)
    binder = random_psk.binder(hs.transcript, offered.binders_length)
    hmac.compare_digest(binder, offered.binders[0])
    hs.enter("authentication")
    return in_common.unknown_psk(UNKNOWN_PSK, offered.identities[0][0])


def _choose_psk(
    hs: Handshake, hello: ClientHello, offered: PreSharedKey, suite: Suite, *, dhe: bool
) -> Step[tuple[int, OfferedPsk] | None]:
    """The first known PSK that fits the suite, in our order of preference.

    If identities are hidden, all of them are looked up, whichever is found. A client with a ticket
    of ours already knows its identity.
    """
    found, finder = None, PskFinder(hs)
    for index in preference(hs.config, offered.identities):
        identity = offered.identities[index][0]
        psk = yield from _find_psk(hs, hello, finder, identity, dhe=dhe)
        if found is None and psk is not None and psk.hash_name == suite.hash_name:
            found = index, psk
            if psk.session is not None or not hs.config.hides_identities:
                break
    return found


def _accept_psk(hs: Handshake, hello: ClientHello, index: int, psk: OfferedPsk) -> None:
    """Checks the binder, which proves that the client has the key."""
    offered = hello.extensions.find(PreSharedKey)
    assert offered is not None
    expected = psk.binder(hs.transcript, offered.binders_length)
    hs.enter("authentication")
    if not hmac.compare_digest(expected, offered.binders[index]):
        name = in_common.psk_name(offered.identities[index][0])
        message = f"the client's binder does not verify: it has another key for {name}"
        raise AlertError(AlertDescription.decrypt_error, message, reason="wrong_psk")
    if psk.session is not None:
        use_session(hs.negotiated, psk.session)
    elif psk.psk is not None:
        hs.negotiated.psk_identity = psk.psk.identity
        hs.negotiated.psk_check = psk_check(psk.psk.key)
        hs.negotiated.psk_user_data = psk.psk.user_data


def _find_psk(
    hs: Handshake, hello: ClientHello, finder: PskFinder, identity: bytes, *, dhe: bool
) -> Step[OfferedPsk | None]:
    """Our own PSK, or a session. A session needs (EC)DHE, and its negotiated values must still
    hold.
    """
    session = yield from open_ticket(hs, identity)
    if session is not None:
        if not dhe or session.version != "1.3":
            return None
        accepted = yield from accepted_session(hs, hello, session)
        return OfferedPsk.resumption(accepted, identity) if accepted else None
    if not hs.config.serves_psk:
        return None
    return (yield from finder.find(identity))


def _send_server_hello(hs: Handshake, hello: ClientHello, choice: _Choice) -> Secrets13:
    """Sends ServerHello. Everything after it is protected."""
    negotiated = hs.negotiated
    negotiated.suite = choice.suite
    negotiated.group = choice.group
    negotiated.server_random = hs.random(RANDOM_LENGTH)
    alpn.accept(hs, hello)
    srtp.accept(hs, hello)
    record_size_limit.accept(hs, hello)
    extensions = supported_versions.reply()
    shared = None
    if choice.group is not None:
        client_public = key_share.accept(hello, choice.group)
        assert client_public is not None
        public, shared = respond(choice.group, client_public)
        extensions += key_share.reply(choice.group, public)
    if choice.psk is not None:
        extensions.append(SelectedPsk(choice.psk_index))
    extensions += connection_id.reply(hs, hello)
    hs.send(ServerHello(negotiated.server_random, choice.suite.code, Extensions.of(extensions)))
    psk = choice.psk.key if choice.psk else None
    secrets = Secrets13(hs, choice.suite, psk, is_client=False)
    secrets.protect_handshake(shared)
    return secrets


def _send_encrypted_extensions(
    hs: Handshake, hello: ClientHello, choice: _Choice, asked: CertificateType | None
) -> None:
    """Sends EncryptedExtensions: answers to extensions of the client alone (RFC 8446
    section 4.3.1).
    """
    extensions: list[Extension] = [
        *server_name.reply(hs, hello),
        *alpn.reply(hs),
        *srtp.reply(hs),
        *record_size_limit.reply(hs, hello),
        *certificate_types.reply(hello, choice.credentials, asked),
    ]
    hs.send(EncryptedExtensions(Extensions.of(extensions)))


def _send_request(hs: Handshake, asked: CertificateType) -> None:
    """Sends CertificateRequest."""
    extensions: list[Extension] = [
        *signature_algorithms.request(hs.config),
        *certificate_authorities.request(hs.config, asked),
    ]
    hs.send(CertificateRequest13(Extensions.of(extensions)))


def _send_certificate(
    hs: Handshake, hello: ClientHello, credentials: Credentials, scheme: SignatureScheme
) -> Step[None]:
    """Sends Certificate, and CertificateVerify, which proves possession of its key."""
    hs.send(certificate_status.certificate13(hello, credentials))
    signed = signed_content(SERVER_CONTEXT, hs.transcript_hash())
    signature = yield from sign(hs, credentials, scheme, signed)
    hs.send(CertificateVerify(scheme, signature))


def _authenticate_client(hs: Handshake) -> Step[None]:
    """Receives the client's Certificate and, unless it is empty, the proof of possession of its
    key.
    """
    certificate = yield from hs.expect(Certificate13)
    if certificate.context:
        raise AlertError(AlertDescription.illegal_parameter, "Certificate with a context")
    certificate_status.check_entries(NOTHING_ASKED, certificate)
    if not certificate.chain:
        if hs.config.client_auth == "required":
            message = "the client has no certificate, which client_auth asks for"
            raise AlertError(
                AlertDescription.certificate_required,
                message,
                CertificateError(message),
                reason="no_certificate",
            )
        return
    proof = yield from hs.expect(CertificateVerify)
    signed = signed_content(CLIENT_CONTEXT, hs.transcript_hash_before_last())
    check_signature(hs, certificate.chain, proof.scheme, proof.signature, signed)
    yield from check_trust(hs, certificate.chain, "client")
    hs.negotiated.peer_chain = certificate.chain
