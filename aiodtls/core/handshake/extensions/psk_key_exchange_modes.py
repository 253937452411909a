"""psk_key_exchange_modes: whether a PSK goes with (EC)DHE in DTLS 1.3 (RFC 8446 section 4.2.9).

No server answers it: a key_share in its answer says which mode it took.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.registry import PskKeyExchangeMode
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import PskKeyExchangeModes
from aiodtls.core.wire.messages import ClientHello

FORWARD_SECRET_MODES = bytes((PskKeyExchangeMode.psk_dhe_ke,))
# Without (EC)DHE only where the peer can do no better.
PSK_MODES = bytes((PskKeyExchangeMode.psk_dhe_ke, PskKeyExchangeMode.psk_ke))


def offer(config: DTLSConfig, *, has_own_psk: bool) -> list[Extension]:
    """For PSKs of our own and for tickets; a session is never resumed without (EC)DHE."""
    if has_own_psk and not config.require_forward_secrecy:
        return [PskKeyExchangeModes(PSK_MODES)]
    if has_own_psk or config.session_tickets:
        return [PskKeyExchangeModes(FORWARD_SECRET_MODES)]
    return []


def accept(hello: ClientHello) -> bytes:
    """The modes that a ClientHello offers; empty for none."""
    modes = hello.extensions.find(PskKeyExchangeModes)
    return modes.modes if modes else b""
