"""Proves our identity, and checks the peer's certificate and key, in either role."""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from aiodtls.core.crypto import signatures
from aiodtls.core.crypto.certificates import check_keys
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.suites import KeyExchange
from aiodtls.core.crypto.trust import Trust, TrustContext, TrustFunction, why_refused
from aiodtls.core.errors import AlertError, CertificateError
from aiodtls.core.events import (
    CertificateReceived,
    PSKRequested,
    SignatureRequested,
    VerificationRequested,
)
from aiodtls.core.handshake.script import Handshake, Step
from aiodtls.core.pre_shared_keys import PSK, PSKContext
from aiodtls.core.registry import AlertDescription, CertificateType, SignatureScheme
from aiodtls.core.sessions import Session


def public_key(hs: Handshake, chain: tuple[bytes, ...]) -> PublicKeyTypes:
    """The key of the leaf, or the raw key. All keys of the chain are checked to be within the
    bounds.

    Raises :class:`AlertError`.
    """
    kind = hs.negotiated.peer_certificate_type
    if kind is CertificateType.RawPublicKey and len(chain) != 1:
        message = "a raw public key must be the only entry; the peer sent more"
        raise AlertError(AlertDescription.bad_certificate, message, CertificateError(message))
    return check_keys(chain, kind)


def key_exchange_for(key: PublicKeyTypes) -> KeyExchange:
    """The key exchange that a key can sign (RFC 8422 sections 2 and 5.10)."""
    is_rsa = isinstance(key, rsa.RSAPublicKey)
    return KeyExchange.ECDHE_RSA if is_rsa else KeyExchange.ECDHE_ECDSA


def check_signature(
    hs: Handshake, chain: tuple[bytes, ...], scheme: int, signature: bytes, data: bytes
) -> None:
    """Checks the proof of possession. Its scheme must be one that we offered for this version."""
    key = public_key(hs, chain)
    offered = next((ours for ours in hs.config.schemes if ours == scheme), None)
    if offered is not None and hs.negotiated.version == "1.3":
        # The curve is fixed, and PKCS #1 is only for certificates (RFC 8446 section 4.2.3).
        offered = offered if signatures.fits_dtls13(key, offered) else None
    if offered is None:
        raise AlertError(
            AlertDescription.illegal_parameter, f"signature scheme {scheme:#06x} was not offered"
        )
    signatures.verify(key, offered, signature, data)


def check_trust(
    hs: Handshake, chain: tuple[bytes, ...], peer_role: Literal["client", "server"]
) -> Step[None]:
    """Checks the chain here if that is fast, else asks the owner, because trust may be a
    function.
    """
    error = yield from _why_refused(hs, chain, peer_role, hs.negotiated.peer_certificate_type)
    if error is not None:
        raise error


def is_still_trusted(hs: Handshake, session: Session) -> Step[bool]:
    """Whether a client's certificate or key from an earlier handshake would be accepted now."""
    kind = CertificateType(session.certificate_type)
    return (yield from _why_refused(hs, session.peer_chain, "client", kind)) is None


def _why_refused(
    hs: Handshake,
    chain: tuple[bytes, ...],
    peer_role: Literal["client", "server"],
    kind: CertificateType,
) -> Step[AlertError | None]:
    hostname = hs.server_hostname if peer_role == "server" else None
    trusts = hs.config.client_trusts() if peer_role == "server" else hs.config.trusts
    judges = [trust for trust in trusts if kind in trust.certificate_types]
    checks = [trust for trust in judges if trust.function is None]
    if any(trust.verifies_chains for trust in checks):
        question = VerificationRequested(chain, peer_role, hostname, tuple(checks), hs.wall_clock())
        error = yield from _verified(hs, question)
    else:
        error = why_refused(
            checks,
            chain,
            peer_role=peer_role,
            server_hostname=hostname,
            wall_time=hs.wall_clock(),
        )
    for trust in judges:
        if error is None:
            break
        if trust.function is not None:
            error = yield from _asked(hs, trust, trust.function, chain, peer_role)
    return error


def _asked(
    hs: Handshake,
    trust: Trust,
    function: TrustFunction,
    chain: tuple[bytes, ...],
    peer_role: Literal["client", "server"],
) -> Step[AlertError | None]:
    """The verdict of a trust function, and of the check of the name that follows it."""
    version = hs.negotiated.version
    assert version is not None
    context = TrustContext(
        hs.negotiated.server_hostname,
        hs.peer,
        "client" if peer_role == "server" else "server",
        version,
    )
    answer = yield from hs.ask(CertificateReceived(chain, context, function))
    if isinstance(answer, Exception):
        raise AlertError(AlertDescription.internal_error, "the trust function failed") from answer
    if answer is False:
        message = "the trust function refused the peer's certificate or public key"
        return AlertError(AlertDescription.certificate_unknown, message, CertificateError(message))
    if answer is not True:
        kind = "None" if answer is None else type(answer).__name__
        message = f"the trust function must return True or False, not {kind}"
        raise AlertError(AlertDescription.internal_error, message, CertificateError(message))
    try:
        trust.check_accepted(chain, peer_role=peer_role, server_hostname=hs.server_hostname)
    except AlertError as error:
        return error
    return None


def _verified(hs: Handshake, question: VerificationRequested) -> Step[AlertError | None]:
    answer = yield from hs.ask(question)
    if answer is True:
        return None
    if isinstance(answer, AlertError):
        return answer
    cause = answer if isinstance(answer, Exception) else None
    raise AlertError(
        AlertDescription.internal_error, "the verification of the peer's chain failed"
    ) from cause


def sign(
    hs: Handshake, credentials: Credentials, scheme: SignatureScheme, data: bytes
) -> Step[bytes]:
    """Makes our signature. Asks the owner if the key is outside this process."""
    if credentials.signer is None:
        return credentials.sign(scheme, data)
    answer = yield from hs.ask(SignatureRequested(scheme.name, data, credentials.signer))
    if isinstance(answer, Exception):
        raise AlertError(AlertDescription.internal_error, "the signer failed") from answer
    if not isinstance(answer, bytes):
        raise AlertError(AlertDescription.internal_error, "the signer returned no bytes")
    try:
        signatures.verify(credentials.public_key, scheme, answer, data)
    except AlertError as error:
        # The peer could only report that the signature does not verify.
        message = f"the signer's {scheme.name} signature does not verify (ECDSA's are DER)"
        raise AlertError(AlertDescription.internal_error, message) from error
    return answer


def find_psk(
    hs: Handshake, identity: bytes, import_context: bytes | None = None
) -> Step[PSK | None]:
    """A server's key for an identity; None if the identity is unknown."""
    found: object
    if hs.config.psk_function is not None:
        name, version = hs.negotiated.server_hostname, hs.negotiated.version
        assert version is not None
        context = PSKContext(hs.peer, name, version, import_context)
        found = yield from hs.ask(PSKRequested(identity, context))
    else:
        found = (hs.config.psks or {}).get(identity)
    if isinstance(found, Exception):
        raise AlertError(AlertDescription.internal_error, "the psk function failed") from found
    if isinstance(found, PSK) and hs.negotiated.version == "1.2" and not found.serves_dtls12:
        return None
    if found is None or isinstance(found, PSK):
        return found
    if isinstance(found, bytes | bytearray) and found:
        return PSK(identity, bytes(found))
    raise AlertError(AlertDescription.internal_error, "the psk function must return a key or None")
