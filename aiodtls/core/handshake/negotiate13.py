"""Chooses suites and PSKs of DTLS 1.3, and checks hellos, as pure functions of both sides' offers.

The functions raise :class:`AlertError` if nothing fits or an offer is illegal.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.suites import SUITES, Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import in_common
from aiodtls.core.handshake.extensions import key_share, supported_versions
from aiodtls.core.handshake.negotiate import check_only_offered
from aiodtls.core.handshake.offer13 import Offer
from aiodtls.core.handshake.psks import (
    HASH_LENGTHS,
    MAX_PSKS,
    OfferedPsk,
    known_psk,
    preference,
)
from aiodtls.core.registry import AlertDescription, ExtensionType, NamedGroup, ProtocolVersion
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions13 import Cookie, PreSharedKey, SelectedPsk
from aiodtls.core.wire.messages import ClientHello, ServerHello
from aiodtls.core.wire.messages13 import HelloRetryRequest

VERSION = ProtocolVersion.DTLSv1_3


# -- the client checks the answer --------------------------------------------------------------


def check_retry_request(config: DTLSConfig, offer: Offer, retry: HelloRetryRequest) -> Suite:
    """Checks a HelloRetryRequest (RFC 8446 section 4.1.4). Returns the suite."""
    supported_versions.check_reply(retry.extensions)
    if retry.session_id != offer.hello.session_id:
        # A server may echo the session id of a DTLS 1.2 session.
        _check_session_id(retry.session_id)
    for code in retry.extensions:
        # Only the cookie may be sent without being requested.
        if code != ExtensionType.cookie and code not in offer.hello.extensions:
            raise AlertError(
                AlertDescription.unsupported_extension,
                f"HelloRetryRequest has extension {code}, which was not offered",
            )
    group = key_share.requested(retry)
    if group is not None and (group not in config.named_groups or offer.share(group)):
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"HelloRetryRequest wants group {group}, which was not offered or has a share",
        )
    if group is None and retry.extensions.find(Cookie) is None:
        raise AlertError(AlertDescription.illegal_parameter, "HelloRetryRequest changes nothing")
    return _suite13(config, retry.cipher_suite)


def check_server_hello13(config: DTLSConfig, offer: Offer, reply: ServerHello) -> Suite:
    """Checks that the server chose only what we offered (RFC 8446 section 4.1.3). Returns the
    suite.
    """
    if reply.server_version != ProtocolVersion.DTLSv1_2 or reply.compression_method != 0:
        raise AlertError(
            AlertDescription.illegal_parameter, "ServerHello: legacy fields with forbidden values"
        )
    _check_session_id(reply.session_id)
    check_only_offered(offer.hello, reply.extensions)
    return _suite13(config, reply.cipher_suite)


def selected_psk(offer: Offer, reply: ServerHello, suite: Suite) -> OfferedPsk | None:
    """The PSK that the server chose, or None."""
    selected = reply.extensions.find(SelectedPsk)
    if selected is None:
        return None
    if selected.index >= len(offer.psks):
        raise AlertError(
            AlertDescription.illegal_parameter, "the server chose a PSK that was not offered"
        )
    psk = offer.psks[selected.index]
    if psk.hash_name != suite.hash_name:
        raise AlertError(
            AlertDescription.illegal_parameter, "the PSK has another hash than the cipher suite"
        )
    return psk


def _check_session_id(session_id: bytes) -> None:
    if session_id:
        raise AlertError(AlertDescription.illegal_parameter, "a session id in DTLS 1.3")


def _suite13(config: DTLSConfig, code: int) -> Suite:
    suite = SUITES.get(code)
    if suite is None or suite not in config.suites or suite.key_exchange is not None:
        raise AlertError(
            AlertDescription.illegal_parameter, f"cipher suite {code:#06x} was not offered"
        )
    return suite


# -- the server chooses ------------------------------------------------------------------------


def check_client_hello13(hello: ClientHello) -> None:
    """Checks what RFC 8446 sections 4.1.2, 4.2.11 and 9.2 require of every ClientHello."""
    extensions = hello.extensions
    if hello.compression_methods != b"\0" or hello.cookie:
        raise AlertError(
            AlertDescription.illegal_parameter, "ClientHello: legacy fields with forbidden values"
        )
    psk = ExtensionType.pre_shared_key in extensions
    if psk and next(reversed(extensions)) != ExtensionType.pre_shared_key:
        raise AlertError(
            AlertDescription.illegal_parameter, "pre_shared_key is not the last extension"
        )
    if psk and ExtensionType.psk_key_exchange_modes not in extensions:
        raise AlertError(AlertDescription.missing_extension, "no psk_key_exchange_modes")
    groups = ExtensionType.supported_groups in extensions
    if groups != (ExtensionType.key_share in extensions):
        raise AlertError(
            AlertDescription.missing_extension, "supported_groups and key_share go together"
        )
    if not psk and not (groups and ExtensionType.signature_algorithms in extensions):
        raise AlertError(
            AlertDescription.missing_extension, "the hello allows neither a PSK nor a certificate"
        )


def choose_suite13(config: DTLSConfig, hello: ClientHello, wall_time: float) -> Suite:
    """The suite that we prefer. If a PSK that we know fits only suites of its hash, one of
    these.
    """
    offered = [s for s in config.suites if s.key_exchange is None and s.code in hello.cipher_suites]
    if not offered:
        raise in_common.no_suite([s for s in config.suites if s.key_exchange is None], hello)
    return _suite_of_psk(config, hello, offered, wall_time) or offered[0]


def _suite_of_psk(
    config: DTLSConfig, hello: ClientHello, suites: Sequence[Suite], wall_time: float
) -> Suite | None:
    """The suite for the PSK that we would probably choose.

    If identities are hidden, the suite depends on the client's binders alone. Otherwise a stranger
    could learn from a HelloRetryRequest, or from a refusal, which identities we know.
    """
    psks = hello.extensions.find(PreSharedKey)
    if psks is None:
        return None
    hidden = config.hides_identities
    # Our order of preference would show which identities are known.
    order = range(min(len(psks.identities), MAX_PSKS))
    for index in order if hidden else preference(config, psks.identities):
        binder = psks.binders[index]
        if hidden:
            hash_name = _hash_of_binder(binder)
        else:
            hash_name = _hash_of(config, psks.identities[index][0], binder, wall_time)
        fitting = next((s for s in suites if s.hash_name == hash_name), None)
        if fitting is not None:
            return fitting
    return None


def _hash_of(config: DTLSConfig, identity: bytes, binder: bytes, wall_time: float) -> str | None:
    """The hash of our ticket or PSK. If only a function knows the PSK, the binder's length
    tells.
    """
    session = config.open_ticket(identity, wall_time)
    if session is not None:
        return SUITES[session.suite].hash_name if session.version == "1.3" else None
    if not config.serves_psk:
        return None
    if config.psk_function is not None:
        return _hash_of_binder(binder)
    psk = known_psk(config, identity)
    return psk.hash_name if psk else None


def _hash_of_binder(binder: bytes) -> str | None:
    """The hash that the client made the binder with, by its length."""
    return next((name for name, length in HASH_LENGTHS.items() if length == len(binder)), None)


def check_second_hello(first: ClientHello, second: ClientHello, suite: Suite) -> None:
    """Checks what RFC 8446 section 4.1.2 fixes, as far as later steps rely on it."""
    check_client_hello13(second)
    offered = supported_versions.accept(second) or ()
    if VERSION not in offered or suite.code not in second.cipher_suites:
        raise AlertError(AlertDescription.illegal_parameter, "the second hello offers less")
    kept, before = second.extensions.find(PreSharedKey), first.extensions.find(PreSharedKey)
    if kept and before:
        # Only a PSK with another hash than the suite's may be dropped, whether or not we know it.
        length = HASH_LENGTHS[suite.hash_name]
        fitting = {
            identity
            for (identity, _), binder in zip(before.identities, before.binders, strict=True)
            if len(binder) == length
        }
        if not fitting.issubset(identity for identity, _ in kept.identities):
            message = "the second hello lacks a PSK that the first offers"
            raise AlertError(AlertDescription.illegal_parameter, message)


def retry_request(suite: Suite, group: NamedGroup | None, cookie: bytes = b"") -> HelloRetryRequest:
    """The message is deterministic, so that a listener without state can make it again."""
    extensions = [*supported_versions.reply(), *key_share.request(group)]
    if cookie:
        extensions.append(Cookie(cookie))
    return HelloRetryRequest(suite.code, Extensions.of(extensions))
