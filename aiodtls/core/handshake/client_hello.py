"""A client's ClientHello: what its configuration, a session and the peer's name put into it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.key_exchange import KeyShare
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake.extensions import (
    alpn,
    certificate_status,
    certificate_types,
    ec_point_formats,
    extended_master_secret,
    key_share,
    record_size_limit,
    renegotiation_info,
    server_name,
    session_ticket,
    signature_algorithms,
    srtp,
    supported_groups,
)
from aiodtls.core.registry import ExtensionType
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import Cookie, KeyShares
from aiodtls.core.wire.messages import ClientHello
from aiodtls.core.wire.messages13 import HelloRetryRequest


@frozen
class HelloTemplate:
    """What a config puts into each of its ClientHellos: the suites, and extensions in order."""

    suites: tuple[int, ...]
    # What DTLS 1.2 has beside a ticket, what names no session and no peer, and what ends a hello.
    of12: tuple[Extension, ...]
    groups: tuple[Extension, ...]
    last: tuple[Extension, ...]

    @classmethod
    def of(cls, config: DTLSConfig) -> HelloTemplate:
        """Made once for each config."""
        kept: HelloTemplate | None = config.kept.get("hello")
        if kept is None:
            last: list[Extension] = []
            if config.offers_certificates:
                last += signature_algorithms.offer(config)
                last += certificate_types.offer(config)
                last += certificate_status.offer(config)
            last += alpn.offer(config)
            last += srtp.offer(config)
            kept = config.kept["hello"] = cls(
                tuple(suite.code for suite in config.suites),
                (*extended_master_secret.offer(config), *renegotiation_info.offer(config)),
                (
                    *supported_groups.offer(config),
                    *ec_point_formats.offer(config),
                    *record_size_limit.offer(config),
                ),
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
    template = HelloTemplate.of(config)
    extensions: list[Extension] = server_name.offer(server_hostname)
    extensions += template.of12
    extensions += session_ticket.offer(config, ticket)
    extensions += template.groups
    extensions += connection_ids
    extensions += extensions13
    extensions += template.last
    return ClientHello(random, template.suites, Extensions.of(extensions), session_id)


def offered_session_id(session: Session) -> bytes:
    """What a server echoes to resume; with a ticket any will do (RFC 5077 section 3.4)."""
    if session.ticket:
        return hashlib.sha256(session.ticket).digest()
    return session.session_id


def second_hello(
    first: ClientHello, retry: HelloRetryRequest, shares: Sequence[KeyShare]
) -> ClientHello:
    """What RFC 8446 section 4.1.2 has changed in a second ClientHello, without pre_shared_key."""
    extensions = Extensions()
    cookie = retry.extensions.find(Cookie)
    if cookie is not None:
        # First, so that it is in the first fragment: wolfSSL looks for it there, and only there.
        extensions[Cookie.type] = cookie
    extensions.update(first.extensions)
    extensions.pop(ExtensionType.pre_shared_key, None)
    if KeyShares.type in extensions:
        extensions[KeyShares.type] = key_share.of(shares)
    return replace(first, extensions=extensions)


def with_extension(hello: ClientHello, extension: Extension) -> ClientHello:
    """The hello with one more extension, or with another in its place."""
    extensions = Extensions(hello.extensions)
    extensions[extension.type] = extension
    return replace(hello, extensions=extensions)
