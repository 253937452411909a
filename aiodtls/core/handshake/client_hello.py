"""Makes a client's ClientHello from its configuration, a session and the peer's name."""

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
    """The parts of a ClientHello that depend only on the configuration: suites, and extensions in
    order.
    """

    suites: tuple[int, ...]
    # Extensions of DTLS 1.2 besides the ticket; extensions that name no session and no peer; and
    # the extensions at the end.
    of12: tuple[Extension, ...]
    groups: tuple[Extension, ...]
    last: tuple[Extension, ...]

    @classmethod
    def of(cls, config: DTLSConfig) -> HelloTemplate:
        """The template of a config. Made once for each."""
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
    """Makes a ClientHello, with the extensions of DTLS 1.3, and a session of DTLS 1.2 to resume.

    The last extension is a widely known one that is not empty, because some old servers fail if the
    last one is empty.
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
    """The session id that a server echoes if it resumes. With a ticket it can be any (RFC 5077
    section 3.4).
    """
    if session.ticket:
        return hashlib.sha256(session.ticket).digest()
    return session.session_id


def second_hello(
    first: ClientHello, retry: HelloRetryRequest, shares: Sequence[KeyShare]
) -> ClientHello:
    """The second ClientHello without pre_shared_key, changed as RFC 8446 section 4.1.2 says."""
    extensions = Extensions()
    cookie = retry.extensions.find(Cookie)
    if cookie is not None:
        # First, so that it is in the first fragment: wolfSSL looks for it only there.
        extensions[Cookie.type] = cookie
    extensions.update(first.extensions)
    extensions.pop(ExtensionType.pre_shared_key, None)
    if KeyShares.type in extensions:
        extensions[KeyShares.type] = key_share.of(shares)
    return replace(first, extensions=extensions)


def with_extension(hello: ClientHello, extension: Extension) -> ClientHello:
    """The hello with one more extension, or with one replaced."""
    extensions = Extensions(hello.extensions)
    extensions[extension.type] = extension
    return replace(hello, extensions=extensions)
