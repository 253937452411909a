"""The choices that DTLS 1.3 has beyond those of ``negotiate.py``, as pure functions too.

Raise :class:`AlertError` where nothing fits or an offer is not legal.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.key_exchange import HYBRIDS, KeyShare
from aiodtls.core.crypto.suites import SUITES, Suite
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.crypto.trust import authorities_of
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.negotiate import (
    NO_SCHEME,
    best_verified,
    check_anonymous,
    check_only_offered,
    choose_scheme,
    client_hello,
    credentials_by_name,
    credentials_of_type,
    offered_session_id,
)
from aiodtls.core.handshake.psks import (
    HASH_LENGTHS,
    OfferedPsk,
    known_psk,
    offered_by,
    preference,
)
from aiodtls.core.registry import (
    AlertDescription,
    CertificateType,
    ExtensionType,
    NamedGroup,
    ProtocolVersion,
    PskKeyExchangeMode,
    SignatureScheme,
)
from aiodtls.core.sessions import Session
from aiodtls.core.values import value
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    Extension,
    SignatureAlgorithms,
    SupportedGroups,
    SupportedVersions,
)
from aiodtls.core.wire.extensions13 import (
    CertificateAuthorities,
    Cookie,
    KeyShares,
    PreSharedKey,
    PskKeyExchangeModes,
    SelectedPsk,
)
from aiodtls.core.wire.fragments import FRAGMENT_HEADER_LENGTH
from aiodtls.core.wire.messages import ClientHello, Message, ServerHello, encode_body
from aiodtls.core.wire.messages13 import CertificateRequest13, HelloRetryRequest
from aiodtls.core.wire.records import HEADER_LENGTH

VERSION = ProtocolVersion.DTLSv1_3
FORWARD_SECRET_MODES = bytes((PskKeyExchangeMode.psk_dhe_ke,))
# Without (EC)DHE only where the peer can do no better.
PSK_MODES = bytes((PskKeyExchangeMode.psk_dhe_ke, PskKeyExchangeMode.psk_ke))


@value
class Offer:
    """A ClientHello of ours, and the keys behind it. ``psks`` are in the order of the hello."""

    hello: ClientHello
    shares: tuple[KeyShare, ...] = ()
    psks: tuple[OfferedPsk, ...] = ()

    def share(self, group: int) -> KeyShare | None:
        return next((share for share in self.shares if share.group == group), None)


# -- a client's offer -------------------------------------------------------------------------


def make_offer(
    config: DTLSConfig,
    random: bytes,
    server_hostname: str | None,
    transcript: Transcript,
    datagram_size: int,
    groups: Sequence[NamedGroup] | None,
    session: Session | None = None,
    connection_ids: Sequence[Extension] = (),
    wall_time: float = 0.0,
) -> Offer:
    """The first ClientHello, with key shares in ``groups``.

    Where that is None, only with those that leave it in one datagram. ``wall_time`` is seconds
    since 1970, for the age of a ticket.
    """
    psks = offered_by(config)
    hello = functools.partial(
        client_hello, config, random, server_hostname, connection_ids=connection_ids
    )
    if session is not None and session.version == "1.2":
        hello = functools.partial(
            hello, ticket=session.ticket, session_id=offered_session_id(session)
        )
    elif session is not None:
        psks = (OfferedPsk.resumption(session, session.ticket), *psks)
    if not config.speaks13:
        return Offer(hello())

    def offer(shares: tuple[KeyShare, ...]) -> Offer:
        hello13 = hello(_extensions13(config, shares, psks))
        return bind(Offer(hello13, shares, psks), transcript, 0, wall_time)

    if groups is not None:
        return offer(tuple(KeyShare.generate(group) for group in groups))
    room = datagram_size - HEADER_LENGTH - FRAGMENT_HEADER_LENGTH
    shares: tuple[KeyShare, ...] = ()
    # One of either kind, as every further one is a key made in vain.
    for kind in (True, False):
        group = next((g for g in config.named_groups if (g in HYBRIDS) is kind), None)
        if group is None:
            continue
        more = (*shares, KeyShare.generate(group))
        if (not shares and not kind) or len(encode_body(offer(more).hello)) <= room:
            shares = more
    return offer(shares)


def lesser_group(config: DTLSConfig, offer: Offer) -> NamedGroup | None:
    """A group whose share alone makes a shorter hello than this offer's.

    One without a share in the offer, if there is any: the answer then tells which hello it answers.
    """
    if not offer.shares or (len(offer.shares) == 1 and offer.shares[0].group not in HYBRIDS):
        return None
    groups = config.named_groups12
    without_share = next((group for group in groups if offer.share(group) is None), None)
    if without_share is None and not any(share.group in HYBRIDS for share in offer.shares):
        # The offer is as short as one, and its answers would look like answers to the other.
        return None
    return without_share or next(iter(groups), None)


def answers_earlier(reply: Message, first: Offer, second: Offer) -> bool:
    """Whether it can only be meant for the first of two offers.

    A server that has the first takes the second for a repetition. It shows by the group: a
    ServerHello takes one that has a share, a HelloRetryRequest one that has none.
    """
    if not isinstance(reply, ServerHello | HelloRetryRequest):
        return False
    shares = reply.extensions.find(KeyShares)
    if shares is None:
        return False
    group = shares.shares[0][0]
    has_share = [offer.share(group) is not None for offer in (first, second)]
    return has_share == ([True, False] if isinstance(reply, ServerHello) else [False, True])


def _extensions13(
    config: DTLSConfig, shares: Sequence[KeyShare], psks: Sequence[OfferedPsk]
) -> list[Extension]:
    extensions: list[Extension] = [
        SupportedVersions(tuple(config.version_list)),
    ]
    if config.named_groups:
        extensions.append(KeyShares(tuple((share.group, share.public) for share in shares)))
    own = any(psk.session is None for psk in psks)
    if own and not config.require_forward_secrecy:
        extensions.append(PskKeyExchangeModes(PSK_MODES))
    elif own or config.session_tickets:
        extensions.append(PskKeyExchangeModes(FORWARD_SECRET_MODES))
    authorities = authorities_of(config.trusts)
    if authorities and config.offers_certificates:
        extensions.append(CertificateAuthorities(authorities))
    return extensions


def bind(offer: Offer, transcript: Transcript, message_seq: int, wall_time: float) -> Offer:
    """The offer with its PSKs and their binders, which always come last (RFC 8446 s. 4.2.11)."""
    if not offer.psks:
        return offer
    identities = tuple((psk.identity, psk.obfuscated_age(wall_time)) for psk in offer.psks)
    zeros = tuple(bytes(HASH_LENGTHS[psk.hash_name]) for psk in offer.psks)
    extension = PreSharedKey(identities, zeros)
    hello = _with_extension(offer.hello, extension)
    unbound = transcript.with_hello(message_seq, encode_body(hello))
    binders = tuple(psk.binder(unbound, extension.binders_length) for psk in offer.psks)
    return replace(offer, hello=_with_extension(hello, PreSharedKey(identities, binders)))


def _with_extension(hello: ClientHello, extension: Extension) -> ClientHello:
    extensions = Extensions(hello.extensions)
    extensions[extension.type] = extension
    return replace(hello, extensions=extensions)


# -- a client's second offer ------------------------------------------------------------------


def check_retry_request(config: DTLSConfig, offer: Offer, retry: HelloRetryRequest) -> Suite:
    """RFC 8446 section 4.1.4. The suite chosen."""
    _check_version(retry.extensions)
    if retry.session_id != offer.hello.session_id:
        # A server may echo that of a session of DTLS 1.2.
        _check_session_id(retry.session_id)
    for code in retry.extensions:
        # The cookie is the one thing that a server may send unasked.
        if code != ExtensionType.cookie and code not in offer.hello.extensions:
            raise AlertError(
                AlertDescription.unsupported_extension,
                f"HelloRetryRequest has extension {code}, which was not offered",
            )
    group = requested_group(retry)
    if group is not None and (group not in config.named_groups or offer.share(group)):
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"HelloRetryRequest wants group {group}, which was not offered or has a share",
        )
    if group is None and retry.extensions.find(Cookie) is None:
        raise AlertError(AlertDescription.illegal_parameter, "HelloRetryRequest changes nothing")
    return _suite13(config, retry.cipher_suite)


def requested_group(retry: HelloRetryRequest) -> int | None:
    shares = retry.extensions.find(KeyShares)
    return shares.shares[0][0] if shares else None


def second_offer(offer: Offer, retry: HelloRetryRequest, suite: Suite) -> Offer:
    """What RFC 8446 section 4.1.2 has changed in a second ClientHello, still without binders."""
    group = requested_group(retry)
    shares = offer.shares if group is None else (KeyShare.generate(NamedGroup(group)),)
    extensions = Extensions()
    cookie = retry.extensions.find(Cookie)
    if cookie is not None:
        # First, so that it is in the first fragment: wolfSSL looks for it there, and only there.
        extensions[Cookie.type] = cookie
    extensions.update(offer.hello.extensions)
    extensions.pop(ExtensionType.pre_shared_key, None)
    if KeyShares.type in extensions:
        extensions[KeyShares.type] = KeyShares(
            tuple((share.group, share.public) for share in shares)
        )
    # A PSK of another hash cannot be chosen any more.
    psks = tuple(psk for psk in offer.psks if psk.hash_name == suite.hash_name)
    return Offer(replace(offer.hello, extensions=extensions), shares, psks)


# -- a client looks at the answer -------------------------------------------------------------


def is_dtls13(reply: ServerHello) -> bool:
    """Whether the server chose DTLS 1.3 (RFC 8446 section 4.2.1)."""
    chosen = reply.extensions.find(SupportedVersions)
    if chosen is None:
        return False
    _check_version(reply.extensions)
    return True


def check_server_hello13(config: DTLSConfig, offer: Offer, reply: ServerHello) -> Suite:
    """Only what we offered may come back (RFC 8446 section 4.1.3). The suite chosen."""
    if reply.server_version != ProtocolVersion.DTLSv1_2 or reply.compression_method != 0:
        raise AlertError(
            AlertDescription.illegal_parameter, "ServerHello: legacy fields with a meaning"
        )
    _check_session_id(reply.session_id)
    check_only_offered(offer.hello, reply.extensions)
    return _suite13(config, reply.cipher_suite)


def selected_psk(offer: Offer, reply: ServerHello, suite: Suite) -> OfferedPsk | None:
    """The one of our keys that the server took."""
    selected = reply.extensions.find(SelectedPsk)
    if selected is None:
        return None
    if selected.index >= len(offer.psks):
        raise AlertError(AlertDescription.illegal_parameter, "the server took a PSK we have not")
    psk = offer.psks[selected.index]
    if psk.hash_name != suite.hash_name:
        raise AlertError(AlertDescription.illegal_parameter, "the PSK is of another hash")
    return psk


def selected_share(
    offer: Offer, reply: ServerHello, psk: OfferedPsk | None
) -> tuple[KeyShare, bytes] | None:
    """Our share and the server's public value; None for psk_ke."""
    shares = reply.extensions.find(KeyShares)
    if shares is None:
        message = "ServerHello without key_share"
        if psk is None:
            raise AlertError(AlertDescription.missing_extension, message)
        if PskKeyExchangeMode.psk_ke not in psk_modes(offer.hello):
            # RFC 8446 section 4.2.11: it contradicts the modes that we offered.
            raise AlertError(AlertDescription.illegal_parameter, message)
        return None
    group, public = shares.shares[0]
    ours = offer.share(group)
    if ours is None:
        raise AlertError(
            AlertDescription.illegal_parameter, f"the server answers group {group}: we sent none"
        )
    return ours, public


def _check_version(extensions: Extensions) -> None:
    chosen = extensions.find(SupportedVersions)
    if chosen is None or chosen.versions != (VERSION,):
        raise AlertError(
            AlertDescription.illegal_parameter, "supported_versions: not a version for it"
        )


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


def choose_client_credentials13(
    config: DTLSConfig,
    request: CertificateRequest13,
    certificate_type: CertificateType = CertificateType.X509,
) -> tuple[Credentials, SignatureScheme] | None:
    """What the server can verify, preferring what it names the authority of; None for nothing."""
    schemes = request.extensions.find(SignatureAlgorithms)
    if schemes is None:
        raise AlertError(
            AlertDescription.missing_extension, "CertificateRequest without signature_algorithms"
        )
    authorities = request.extensions.find(CertificateAuthorities)
    named = authorities.names if authorities else ()
    fitting = credentials_of_type(config, certificate_type, named)
    ordered = best_verified(fitting, request.extensions)
    chosen = _first_with_scheme(config, ordered, schemes.schemes)
    if chosen is None:
        check_anonymous(config, NO_SCHEME)
    return chosen


# -- a server's choices -----------------------------------------------------------------------


def check_client_hello13(hello: ClientHello) -> None:
    """What RFC 8446 sections 4.1.2, 4.2.11 and 9.2 ask of every ClientHello."""
    extensions = hello.extensions
    if hello.compression_methods != b"\0" or hello.cookie:
        raise AlertError(
            AlertDescription.illegal_parameter, "ClientHello: legacy fields with a meaning"
        )
    psk = ExtensionType.pre_shared_key in extensions
    if psk and next(reversed(extensions)) != ExtensionType.pre_shared_key:
        raise AlertError(AlertDescription.illegal_parameter, "pre_shared_key is not the last")
    if psk and ExtensionType.psk_key_exchange_modes not in extensions:
        raise AlertError(AlertDescription.missing_extension, "no psk_key_exchange_modes")
    groups = ExtensionType.supported_groups in extensions
    if groups != (ExtensionType.key_share in extensions):
        raise AlertError(
            AlertDescription.missing_extension, "supported_groups and key_share go together"
        )
    if not psk and not (groups and ExtensionType.signature_algorithms in extensions):
        raise AlertError(
            AlertDescription.missing_extension, "neither a PSK nor what a certificate needs"
        )


def choose_suite13(config: DTLSConfig, hello: ClientHello, wall_time: float) -> Suite:
    """Ours by preference; where the hash of a PSK that we know leaves a choice, that one."""
    offered = [s for s in config.suites if s.key_exchange is None and s.code in hello.cipher_suites]
    if not offered:
        raise AlertError(AlertDescription.handshake_failure, "no cipher suite in common")
    found = _first_psk(config, hello, offered, wall_time)
    return found[1] if found else offered[0]


def _first_psk(
    config: DTLSConfig, hello: ClientHello, suites: Sequence[Suite], wall_time: float
) -> tuple[bytes, Suite] | None:
    """The identity that we would take, as far as that can be told, and a suite of its hash."""
    psks = hello.extensions.find(PreSharedKey)
    for index in preference(config, psks.identities) if psks else ():
        assert psks is not None
        identity = psks.identities[index][0]
        hash_name = _hash_of(config, identity, psks.binders[index], wall_time)
        fitting = next((s for s in suites if s.hash_name == hash_name), None)
        if fitting is not None:
            return identity, fitting
    return None


def _hash_of(config: DTLSConfig, identity: bytes, binder: bytes, wall_time: float) -> str | None:
    """Of a ticket of ours, or of a PSK, which may be known to a function alone: by its binder."""
    session = config.open_ticket(identity, wall_time)
    if session is not None:
        return SUITES[session.suite].hash_name if session.version == "1.3" else None
    if config.psk_function is not None:
        return next((h for h, length in HASH_LENGTHS.items() if length == len(binder)), None)
    psk = known_psk(config, identity)
    return psk.hash_name if psk else None


def check_second_hello(
    config: DTLSConfig, first: ClientHello, second: ClientHello, suite: Suite, wall_time: float
) -> None:
    """Of what RFC 8446 section 4.1.2 fixes, all that later steps rely on."""
    check_client_hello13(second)
    versions = second.extensions.find(SupportedVersions)
    offered = versions.versions if versions else ()
    if VERSION not in offered or suite.code not in second.cipher_suites:
        raise AlertError(AlertDescription.illegal_parameter, "the second hello offers less")
    kept = second.extensions.find(PreSharedKey)
    # Only a PSK of another hash than the suite's may go. A function's are not known here.
    found = None
    if config.psk_function is None:
        found = _first_psk(config, first, [suite], wall_time)
    if kept and found and found[0] not in [identity for identity, _ in kept.identities]:
        message = "the second hello lacks a PSK of the first"
        raise AlertError(AlertDescription.illegal_parameter, message)


def choose_group13(config: DTLSConfig, hello: ClientHello) -> NamedGroup | None:
    """Ours by preference, whether the client has a share for it or not; None for none."""
    groups = hello.extensions.find(SupportedGroups)
    offered = groups.groups if groups else ()
    return next((group for group in config.named_groups if group in offered), None)


def client_share(hello: ClientHello, group: NamedGroup | None) -> bytes | None:
    """The client's public value in ``group``."""
    shares = hello.extensions.find(KeyShares)
    if shares is None:
        return None
    return next((public for code, public in shares.shares if code == group), None)


def psk_modes(hello: ClientHello) -> bytes:
    modes = hello.extensions.find(PskKeyExchangeModes)
    return modes.modes if modes else b""


def retry_request(suite: Suite, group: NamedGroup | None, cookie: bytes = b"") -> HelloRetryRequest:
    """Deterministic, so that a listener without state can make the same one again."""
    extensions: list[Extension] = [SupportedVersions((VERSION,))]
    if group is not None:
        extensions.append(KeyShares(((group, b""),)))
    if cookie:
        extensions.append(Cookie(cookie))
    return HelloRetryRequest(suite.code, Extensions.of(extensions))


def choose_credentials13(
    config: DTLSConfig, hello: ClientHello
) -> tuple[Credentials, SignatureScheme] | None:
    """The first that the client can verify; by name first. None where nothing fits."""
    schemes = hello.extensions.find(SignatureAlgorithms)
    ordered = credentials_by_name(config, hello)
    return _first_with_scheme(config, ordered, schemes.schemes if schemes else ())


def _first_with_scheme(
    config: DTLSConfig, ordered: Iterable[Credentials], peer_schemes: Collection[int]
) -> tuple[Credentials, SignatureScheme] | None:
    for credentials in ordered:
        scheme = choose_scheme(config, credentials, peer_schemes, VERSION)
        if scheme is not None:
            return credentials, scheme
    return None
