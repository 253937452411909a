"""key_share: the public values of (EC)DHE in DTLS 1.3 (RFC 8446 section 4.2.8)."""

from __future__ import annotations

from collections.abc import Sequence

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.key_exchange import KeyShare
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.extensions import psk_key_exchange_modes
from aiodtls.core.registry import AlertDescription, NamedGroup, PskKeyExchangeMode
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import KeyShares
from aiodtls.core.wire.messages import ClientHello, ServerHello
from aiodtls.core.wire.messages13 import HelloRetryRequest


def offer(config: DTLSConfig, shares: Sequence[KeyShare]) -> list[Extension]:
    """The public values of the key shares."""
    return [of(shares)] if config.named_groups else []


def of(shares: Sequence[KeyShare]) -> KeyShares:
    """The public values of our shares."""
    return KeyShares(tuple((share.group, share.public) for share in shares))


def find(shares: Sequence[KeyShare], group: int) -> KeyShare | None:
    """Our share in this group, or None."""
    return next((share for share in shares if share.group == group), None)


def accept(hello: ClientHello, group: NamedGroup | None) -> bytes | None:
    """The client's public value in ``group``."""
    shares = hello.extensions.find(KeyShares)
    if shares is None:
        return None
    return next((public for code, public in shares.shares if code == group), None)


def request(group: NamedGroup | None) -> list[Extension]:
    """The extension of a HelloRetryRequest: the group to send a share in. None requests no
    group.
    """
    return [KeyShares(((group, b""),))] if group is not None else []


def requested(retry: HelloRetryRequest) -> int | None:
    """The group that a HelloRetryRequest requests, or None."""
    shares = retry.extensions.find(KeyShares)
    return shares.shares[0][0] if shares else None


def reply(group: NamedGroup, public: bytes) -> list[Extension]:
    """The server's public value."""
    return [KeyShares(((group, public),))]


def check_reply(
    hello: ClientHello, shares: Sequence[KeyShare], reply: ServerHello, *, has_psk: bool
) -> tuple[KeyShare, bytes] | None:
    """Our share and the server's public value; None if the server chose psk_ke."""
    answer = reply.extensions.find(KeyShares)
    if answer is None:
        message = "ServerHello without key_share"
        if not has_psk:
            raise AlertError(AlertDescription.missing_extension, message)
        if PskKeyExchangeMode.psk_ke not in psk_key_exchange_modes.accept(hello):
            # It contradicts the modes that we offered (RFC 8446 section 4.2.11).
            raise AlertError(AlertDescription.illegal_parameter, message)
        return None
    group, public = answer.shares[0]
    ours = find(shares, group)
    if ours is None:
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"the server chose group {group}, but we sent no share in it",
        )
    return ours, public
