"""What both versions share when a session is made, looked up and resumed.

A resumption proves only the possession of a secret. So what the full handshake proved or agreed
must still hold: the peer's identity, our trust in it, and the names.
"""

from __future__ import annotations

import hmac
from dataclasses import replace

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.suites import SUITES, Suite
from aiodtls.core.handshake.authenticate import find_psk, is_still_trusted
from aiodtls.core.handshake.extensions import alpn, server_name
from aiodtls.core.handshake.script import Handshake, Step
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.registry import CertificateType
from aiodtls.core.sessions import MAX_LIFETIME, Session, psk_check
from aiodtls.core.wire.messages import ClientHello


def make_session(
    negotiated: Negotiated,
    secret: bytes,
    wall_time: float,
    *,
    lifetime: int = MAX_LIFETIME,
    age_add: int = 0,
    ticket: bytes = b"",
    session_id: bytes = b"",
) -> Session:
    """Makes one side's session from the negotiated values of this handshake."""
    assert negotiated.suite is not None and negotiated.version is not None
    # Whole milliseconds, as ``to_bytes`` keeps them.
    now = int(wall_time * 1000) / 1000
    # A session that a resumption makes ends no later than the session that was resumed.
    authenticated_at = negotiated.authenticated_at or now
    rest = max(0, round(authenticated_at + MAX_LIFETIME - now))
    return Session(
        version=negotiated.version,
        suite=negotiated.suite.code,
        secret=secret,
        authenticated_at=authenticated_at,
        issued_at=now,
        lifetime=min(lifetime, rest),
        server_hostname=negotiated.server_hostname,
        alpn_protocol=negotiated.alpn_protocol,
        psk_identity=negotiated.psk_identity,
        psk_check=negotiated.psk_check,
        certificate_type=negotiated.peer_certificate_type,
        peer_chain=negotiated.peer_chain,
        age_add=age_add,
        ticket=ticket,
        session_id=session_id,
    )


def use_session(negotiated: Negotiated, session: Session) -> None:
    """Takes the peer's identity from the session, whose first handshake proved it."""
    negotiated.resumed = True
    negotiated.authenticated_at = session.authenticated_at
    negotiated.peer_certificate_type = CertificateType(session.certificate_type)
    negotiated.peer_chain = session.peer_chain
    negotiated.psk_identity = session.psk_identity
    negotiated.psk_check = session.psk_check
    negotiated.psk_user_data = session.psk_user_data
    negotiated.chain_hash = session.chain_hash


def for_ticket(negotiated: Negotiated, session: Session) -> Session:
    """The session as a ticket holds it: without a chain that is in the session store."""
    if not negotiated.chain_hash:
        return session
    return replace(session, peer_chain=(), chain_hash=negotiated.chain_hash)


def suite_of(config: DTLSConfig, session: Session) -> Suite | None:
    """The session's cipher suite, or None if the configuration no longer has it."""
    suite = SUITES.get(session.suite)
    return suite if suite in config.suites and suite.version == session.version else None


def may_offer(
    config: DTLSConfig, session: Session, server_hostname: str | None, wall_time: float
) -> bool:
    """Whether a client may offer the session: the name is the same, and the configuration still
    allows it.
    """
    if session.server_hostname != server_hostname or not session.is_alive_at(wall_time):
        return False
    if suite_of(config, session) is None:
        return False
    if session.psk_identity is None:
        return config.offers_certificates
    psk = (config.psks or {}).get(session.psk_identity)
    if psk is None or (session.version == "1.2" and not psk.serves_dtls12):
        return False
    return hmac.compare_digest(psk_check(psk.key), session.psk_check)


def with_user_data(config: DTLSConfig, session: Session) -> Session:
    """A client's session, with what the application has with the PSK now."""
    psk = (config.psks or {}).get(session.psk_identity or b"")
    return session if psk is None else replace(session, psk_user_data=psk.user_data)


def accepted_session(hs: Handshake, hello: ClientHello, session: Session) -> Step[Session | None]:
    """The session as a server resumes it; None if a name differs, or the client is no longer
    trusted.
    """
    config = hs.config
    if not server_name.may_resume(session, hello):
        return None
    if not alpn.may_resume(config, session, hello) or suite_of(config, session) is None:
        return None
    if session.psk_identity is not None:
        if not config.serves_psk:
            return None
        psk = yield from find_psk(hs, session.psk_identity)
        if psk is None or not hmac.compare_digest(psk_check(psk.key), session.psk_check):
            return None
        return replace(session, psk_user_data=psk.user_data)
    return session if (yield from _is_welcome(hs, session)) else None


def _is_welcome(hs: Handshake, session: Session) -> Step[bool]:
    """Whether the client of a session with certificates is still trusted."""
    config = hs.config
    if not config.credential_list:
        return False
    if session.peer_chain:
        still = config.client_auth != "none"
        return still and (yield from is_still_trusted(hs, session))
    return config.client_auth != "required"
