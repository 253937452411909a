"""status_request and signed_certificate_timestamp: what a server sends beside its certificate.

The application gets the OCSP response and the timestamps. This code does not verify them (RFC 6066
section 8, RFC 6962 section 3.3, RFC 8446 section 4.4.2.1). In DTLS 1.2 the ServerHello announces
the OCSP response, and a message of its own carries it. In DTLS 1.3 both are extensions of the
certificate entry.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, SignedCertificateTimestamps, StatusRequest
from aiodtls.core.wire.messages import ClientHello
from aiodtls.core.wire.messages13 import Certificate13


def offer(config: DTLSConfig) -> list[Extension]:
    """The requests of a client."""
    extensions: list[Extension] = []
    if config.request_ocsp_response:
        extensions.append(StatusRequest())
    if config.request_certificate_timestamps:
        extensions.append(SignedCertificateTimestamps())
    return extensions


def accept(hello: ClientHello, credentials: Credentials | None) -> bytes:
    """The OCSP response for a client that requests one, else empty bytes. Raises
    :class:`AlertError`.
    """
    if credentials is None or StatusRequest.type not in hello.extensions:
        return b""
    response = credentials.ocsp_response
    if isinstance(response, bytes):
        return response
    try:
        return bytes(response())
    except Exception as error:
        raise AlertError(
            AlertDescription.internal_error, "the function for the OCSP response raised"
        ) from error


def reply(hello: ClientHello, credentials: Credentials | None, response: bytes) -> list[Extension]:
    """The answers in a ServerHello of DTLS 1.2. ``response`` follows in its own message."""
    extensions: list[Extension] = []
    if credentials is None:
        return extensions
    if response:
        extensions.append(StatusRequest())
    if credentials.timestamps and SignedCertificateTimestamps.type in hello.extensions:
        extensions.append(SignedCertificateTimestamps(credentials.timestamps))
    return extensions


def check_reply(hs: Handshake, extensions: Extensions) -> None:
    """Takes the timestamps in a ServerHello of DTLS 1.2."""
    _note_timestamps(hs, extensions)


def is_announced(extensions: Extensions) -> bool:
    """Whether a ServerHello of DTLS 1.2 announces that a CertificateStatus may follow."""
    return StatusRequest.type in extensions


def certificate13(hello: ClientHello, credentials: Credentials) -> Certificate13:
    """A server's Certificate of DTLS 1.3, with the extensions of its first entry."""
    own: list[Extension] = []
    response = accept(hello, credentials)
    if response:
        own.append(StatusRequest(response))
    if credentials.timestamps and SignedCertificateTimestamps.type in hello.extensions:
        own.append(SignedCertificateTimestamps(credentials.timestamps))
    others = (Extensions(),) * (len(credentials.chain) - 1)
    return Certificate13(credentials.chain, extensions=(Extensions.of(own), *others))


def check_entries(asked: Extensions, certificate: Certificate13) -> None:
    """Checks that the entries have only extensions that we requested (RFC 8446 section 4.4.2)."""
    for entry in certificate.extensions:
        for code in entry:
            if code not in asked:
                raise AlertError(
                    AlertDescription.unsupported_extension,
                    f"Certificate has extension {code}, which was not offered",
                )


def accept_certificate13(hs: Handshake, certificate: Certificate13) -> None:
    """Takes the extensions of the server's own certificate in DTLS 1.3."""
    first = certificate.extensions[0]
    status = first.find(StatusRequest)
    hs.negotiated.ocsp_response = status.response if status else b""
    _note_timestamps(hs, first)


def _note_timestamps(hs: Handshake, extensions: Extensions) -> None:
    timestamps = extensions.find(SignedCertificateTimestamps)
    hs.negotiated.certificate_timestamps = timestamps.timestamps if timestamps else ()
