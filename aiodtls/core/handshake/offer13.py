"""A client's ClientHello and its keys: the first one, and the second one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.key_exchange import HYBRIDS, KeyShare
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake.client_hello import (
    client_hello,
    offered_session_id,
    second_hello,
    with_extension,
)
from aiodtls.core.handshake.extensions import (
    certificate_authorities,
    key_share,
    psk_key_exchange_modes,
    supported_versions,
)
from aiodtls.core.handshake.psks import HASH_LENGTHS, OfferedPsk, offered_by
from aiodtls.core.registry import NamedGroup
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import PreSharedKey
from aiodtls.core.wire.fragments import FRAGMENT_HEADER_LENGTH
from aiodtls.core.wire.messages import ClientHello, encode_body
from aiodtls.core.wire.messages13 import HelloRetryRequest
from aiodtls.core.wire.records import HEADER_LENGTH


@frozen
class Offer:
    """A ClientHello of ours and its keys. ``psks`` are in the order of the hello."""

    hello: ClientHello
    shares: tuple[KeyShare, ...] = ()
    psks: tuple[OfferedPsk, ...] = ()

    def share(self, group: int) -> KeyShare | None:
        return key_share.find(self.shares, group)


def make_offer(
    config: DTLSConfig,
    random: bytes,
    server_hostname: str | None,
    transcript: Transcript,
    datagram_size: int,
    session: Session | None = None,
    connection_ids: Sequence[Extension] = (),
    wall_time: float = 0.0,
    shares: tuple[KeyShare, ...] | None = None,
) -> Offer:
    """Makes the first ClientHello.

    Without ``shares`` it gets new ones: in the groups that the config names, else as many as fit
    one datagram. ``wall_time`` is in seconds since 1970, for the age of a ticket.
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

    if shares is not None:
        return offer(shares)
    if config.first_groups is not None:
        return offer(tuple(KeyShare.generate(group) for group in config.first_groups))
    room = datagram_size - HEADER_LENGTH - FRAGMENT_HEADER_LENGTH
    shares = ()
    # One share of either kind, hybrid and classic. Every further share is usually wasted work.
    for kind in (True, False):
        group = next((g for g in config.named_groups if (g in HYBRIDS) is kind), None)
        if group is None:
            continue
        more = (*shares, KeyShare.generate(group))
        if (not shares and not kind) or len(encode_body(offer(more).hello)) <= room:
            shares = more
    return offer(shares)


def _extensions13(
    config: DTLSConfig, shares: Sequence[KeyShare], psks: Sequence[OfferedPsk]
) -> list[Extension]:
    has_own_psk = any(psk.session is None for psk in psks)
    return [
        *supported_versions.offer(config),
        *key_share.offer(config, shares),
        *psk_key_exchange_modes.offer(config, has_own_psk=has_own_psk),
        *certificate_authorities.offer(config),
    ]


def bind(offer: Offer, transcript: Transcript, message_seq: int, wall_time: float) -> Offer:
    """The offer with its PSKs and their binders, which always come last (RFC 8446
    section 4.2.11).
    """
    if not offer.psks:
        return offer
    identities = tuple((psk.identity, psk.obfuscated_age(wall_time)) for psk in offer.psks)
    zeros = tuple(bytes(HASH_LENGTHS[psk.hash_name]) for psk in offer.psks)
    extension = PreSharedKey(identities, zeros)
    hello = with_extension(offer.hello, extension)
    unbound = transcript.with_hello(message_seq, encode_body(hello))
    binders = tuple(psk.binder(unbound, extension.binders_length) for psk in offer.psks)
    return replace(offer, hello=with_extension(hello, PreSharedKey(identities, binders)))


def second_offer(offer: Offer, retry: HelloRetryRequest, suite: Suite) -> Offer:
    """The answer to a HelloRetryRequest (RFC 8446 section 4.1.2), without binders yet."""
    group = key_share.requested(retry)
    shares = offer.shares if group is None else (KeyShare.generate(NamedGroup(group)),)
    # The server cannot choose a PSK with another hash any more.
    psks = tuple(psk for psk in offer.psks if psk.hash_name == suite.hash_name)
    return Offer(second_hello(offer.hello, retry, shares), shares, psks)
