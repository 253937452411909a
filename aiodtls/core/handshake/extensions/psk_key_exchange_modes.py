"""psk_key_exchange_modes: whether DTLS 1.3 combines a PSK with (EC)DHE (RFC 8446 section 4.2.9).

A server does not answer it: the key_share in its answer shows the mode.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.registry import PskKeyExchangeMode
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import PskKeyExchangeModes
from aiodtls.core.wire.messages import ClientHello

FORWARD_SECRET_MODES = bytes((PskKeyExchangeMode.psk_dhe_ke,))
# A server uses a PSK without (EC)DHE only if the client cannot do better.
PSK_MODES = bytes((PskKeyExchangeMode.psk_dhe_ke, PskKeyExchangeMode.psk_ke))


def offer(config: DTLSConfig, *, has_own_psk: bool) -> list[Extension]:
    """For our own PSKs and for tickets. A session is never resumed without (EC)DHE."""
    if has_own_psk and not config.require_forward_secrecy:
        return [PskKeyExchangeModes(PSK_MODES)]
    if has_own_psk or config.session_tickets:
        return [PskKeyExchangeModes(FORWARD_SECRET_MODES)]
    return []


def accept(hello: ClientHello) -> bytes:
    """The modes that a ClientHello offers; empty for none."""
    modes = hello.extensions.find(PskKeyExchangeModes)
    return modes.modes if modes else b""
