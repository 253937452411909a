"""client_certificate_type and server_certificate_type: X.509 or raw public keys (RFC 7250).

The two sides' types are negotiated separately, in both versions. The default is X.509.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError, CertificateError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import AlertDescription, CertificateType
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ClientCertificateTypes, Extension, ServerCertificateTypes
from aiodtls.core.wire.messages import Certificate12, ClientHello, RawCertificate12

# DTLS 1.2 has another message layout for raw keys. DTLS 1.3 puts the key into a certificate entry.
MESSAGES12: Mapping[CertificateType, type[Certificate12] | type[RawCertificate12]] = {
    CertificateType.X509: Certificate12,
    CertificateType.RawPublicKey: RawCertificate12,
}
# RFC 7250 section 4.2.
NO_TYPE_IN_COMMON = AlertDescription.unsupported_certificate
_X509_ALONE = (CertificateType.X509,)


def offer(config: DTLSConfig) -> list[Extension]:
    """The client's extensions. One is left out if it would list only X.509 (section 4.1)."""
    shown = shown_by_client(config)
    taken = _judged(config.client_trusts())
    extensions: list[Extension] = []
    if shown and shown != _X509_ALONE:
        extensions.append(ClientCertificateTypes(shown))
    if taken != _X509_ALONE:
        extensions.append(ServerCertificateTypes(taken))
    return extensions


def shown_by_client(config: DTLSConfig) -> tuple[CertificateType, ...]:
    """The types of the client's credentials."""
    return tuple(dict.fromkeys(item.certificate_type for item in config.credential_list))


def accept(config: DTLSConfig, hello: ClientHello) -> CertificateType | None:
    """The certificate type that a server requests, or None for no CertificateRequest.

    Raises:
        AlertError: the configuration requires a type that the client cannot send.
    """
    if config.client_auth == "none":
        return None
    shown = hello.extensions.find(ClientCertificateTypes)
    for kind in _judged(config.trusts):
        if kind in (shown.types if shown else _X509_ALONE):
            return kind
    if config.client_auth == "required":
        raise _unsupported("the client has no certificate type that trust= can check")
    return None


def usable_credentials(config: DTLSConfig, hello: ClientHello) -> list[Credentials]:
    """The server's credentials whose type the client accepts."""
    taken = hello.extensions.find(ServerCertificateTypes)
    types = taken.types if taken else _X509_ALONE
    return [item for item in config.credential_list if item.certificate_type in types]


def reply(
    hello: ClientHello, credentials: Credentials | None, asked: CertificateType | None
) -> list[Extension]:
    """The server's answers, for what the client sent and what will be used (section 4.2)."""
    extensions: list[Extension] = []
    if asked is not None and hello.extensions.find(ClientCertificateTypes):
        extensions.append(ClientCertificateTypes((asked,)))
    if credentials is not None and hello.extensions.find(ServerCertificateTypes):
        extensions.append(ServerCertificateTypes((credentials.certificate_type,)))
    return extensions


def check_reply(hs: Handshake, hello: ClientHello, extensions: Extensions) -> None:
    """Stores both types, as the server's answer to this ClientHello chose them."""
    own, peer = _chosen_by_server(hello, extensions)
    hs.negotiated.own_certificate_type, hs.negotiated.peer_certificate_type = own, peer


def _chosen_by_server(
    hello: ClientHello, reply: Extensions
) -> tuple[CertificateType, CertificateType]:
    """The client's and the server's type in the server's answer. Raises AlertError."""
    asked, shown = reply.find(ClientCertificateTypes), reply.find(ServerCertificateTypes)
    client = _in_offer(hello.extensions.find(ClientCertificateTypes), asked) if asked else None
    server = _in_offer(hello.extensions.find(ServerCertificateTypes), shown)
    return client if client is not None else CertificateType.X509, server


def _in_offer(
    offered: ClientCertificateTypes | ServerCertificateTypes | None,
    answer: ClientCertificateTypes | ServerCertificateTypes | None,
) -> CertificateType:
    chosen = answer.types[0] if answer else CertificateType.X509
    if chosen not in (offered.types if offered else _X509_ALONE):
        raise _unsupported("the server chose a certificate type that was not offered")
    return CertificateType(chosen)


def _judged(trusts: Iterable[Trust]) -> tuple[CertificateType, ...]:
    types = dict.fromkeys(kind for trust in trusts for kind in trust.certificate_types)
    return tuple(types) or _X509_ALONE


def _unsupported(message: str) -> AlertError:
    return AlertError(AlertDescription.unsupported_certificate, message, CertificateError(message))
