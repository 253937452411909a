"""A client's ClientHello: what its configuration, a session and the peer's name put into it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.signatures import DEFAULT_SCHEMES
from aiodtls.core.handshake import certificate_types, staples
from aiodtls.core.handshake.negotiate import record_size_limit
from aiodtls.core.sessions import Session
from aiodtls.core.values import value
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    ALPN,
    ECPointFormats,
    ExtendedMasterSecret,
    Extension,
    RenegotiationInfo,
    ServerName,
    SessionTicket,
    SignatureAlgorithms,
    SupportedGroups,
    UseSRTP,
)
from aiodtls.core.wire.extensions13 import SignatureAlgorithmsCert
from aiodtls.core.wire.messages import ClientHello


@value
class Configured:
    """What a config puts into each of its ClientHellos: the suites, and extensions in order."""

    suites: tuple[int, ...]
    # What DTLS 1.2 has beside a ticket, what names no session and no peer, and what ends a hello.
    of12: tuple[Extension, ...]
    groups: tuple[Extension, ...]
    last: tuple[Extension, ...]

    @classmethod
    def of(cls, config: DTLSConfig) -> Configured:
        kept: Configured | None = config.kept.get("hello")
        if kept is None:
            last: list[Extension] = []
            if config.offers_certificates:
                last += signature_algorithms(config)
                last += certificate_types.offers(config)
                last += staples.wanted(config)
            if config.alpn:
                last.append(ALPN(config.alpn))
            if config.srtp:
                last.append(UseSRTP(tuple(config.srtp)))
            kept = config.kept["hello"] = cls(
                tuple(suite.code for suite in config.suites),
                (ExtendedMasterSecret(), RenegotiationInfo()) if config.speaks12 else (),
                (*_group_extensions(config), record_size_limit(config, config.version_list[0])),
                tuple(last),
            )
        return kept


def client_hello(
    config: DTLSConfig,
    random: bytes,
    server_hostname: str | None,
    extensions13: Sequence[Extension] = (),
    *,
    ticket: bytes = b"",
    session_id: bytes = b"",
    connection_ids: Sequence[Extension] = (),
) -> ClientHello:
    """Our ClientHello, with what DTLS 1.3 adds, and what names a session of DTLS 1.2.

    An extension that many servers know comes last, where none is empty: some old ones trip over
    an empty last one.
    """
    configured = Configured.of(config)
    extensions: list[Extension] = []
    name = sni(server_hostname)
    if name is not None:
        extensions.append(ServerName(name))
    extensions += configured.of12
    if config.speaks12 and config.session_tickets:
        extensions.append(SessionTicket(ticket))
    extensions += configured.groups
    extensions += connection_ids
    extensions += extensions13
    extensions += configured.last
    return ClientHello(random, configured.suites, Extensions.of(extensions), session_id)


def offered_session_id(session: Session) -> bytes:
    """What a server echoes to resume; with a ticket any will do (RFC 5077 section 3.4)."""
    if session.ticket:
        return hashlib.sha256(session.ticket).digest()
    return session.session_id


def signature_algorithms(config: DTLSConfig) -> list[Extension]:
    """What may sign handshakes, and what certificates where that differs (RFC 8446 s. 4.2.3)."""
    extensions: list[Extension] = [SignatureAlgorithms(tuple(config.schemes))]
    if not set(config.schemes).issuperset(DEFAULT_SCHEMES):
        extensions.append(SignatureAlgorithmsCert(DEFAULT_SCHEMES))
    return extensions


def _group_extensions(config: DTLSConfig) -> list[Extension]:
    groups = config.named_groups if config.speaks13 else config.named_groups12
    ecdhe12 = any(s.key_exchange is not None and s.key_exchange.uses_ecdhe for s in config.suites)
    found: list[Extension] = []
    if groups and (config.speaks13 or ecdhe12):
        found.append(SupportedGroups(tuple(groups)))
    if ecdhe12:
        found.append(ECPointFormats())
    return found


def sni(server_hostname: str | None) -> str | None:
    """The name for server_name: never an IP address, no trailing dot (RFC 6066 section 3)."""
    if server_hostname is None:
        return None
    name = server_hostname.rstrip(".")
    if not name or ":" in name or name.replace(".", "").isdigit():
        return None
    return name if name.isascii() else name.encode("idna").decode("ascii")
