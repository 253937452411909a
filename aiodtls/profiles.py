"""Configurations for common uses, as the documents of these uses have them.

Each function makes a :class:`aiodtls.DTLSConfig`. Every field can be overridden by its name. The
values may change in a minor release, with a line in the changelog.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, Unpack

from aiodtls.core.config import (
    ALPNFunction,
    DTLSConfig,
    KeyLog,
    PSKSource,
    TraceTarget,
)
from aiodtls.core.cookie_keys import CookieKeys
from aiodtls.core.crypto.capabilities import FEATURES, ML_KEM
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust, TrustFunction
from aiodtls.core.limits import Limits
from aiodtls.core.sessions import SessionStore
from aiodtls.core.ticket_keys import TicketKeys


class FieldsWithoutTrust(TypedDict, total=False):
    """The fields of a :class:`aiodtls.DTLSConfig`, but for ``trust``."""

    versions: Sequence[str] | None
    credentials: Credentials | Sequence[Credentials] | None
    client_auth: Literal["none", "optional", "required"]
    anonymous_fallback: bool
    max_certificate_length: int
    psk: PSKSource | None
    psk_identity_hint: str | bytes | None
    prefer_psk: bool | Literal["only"]
    psk_satisfies_client_auth: bool
    require_forward_secrecy: bool
    cipher_suites: Sequence[str] | None
    groups: Sequence[str] | None
    key_shares: Sequence[str] | None
    signature_schemes: Sequence[str] | None
    alpn_protocols: Sequence[str | bytes] | ALPNFunction
    srtp_profiles: Sequence[str]
    pmtu: int
    handshake_pmtu: int | None
    retransmit_initial: float
    retransmit_max: float
    max_retransmits: int | None
    handshake_timeout: float | None
    resend_after_partial_flight: bool
    records_individually: bool
    max_burst: int
    record_size_limit: int | None
    idle_timeout: float | None
    keepalive_interval: float | None
    request_ocsp_response: bool
    request_certificate_timestamps: bool
    require_extended_master_secret: bool
    require_renegotiation_info: bool
    server_name_policy: Literal["any", "strict"]
    connection_id: int | None
    return_routability_check: Literal["basic", "enhanced", "off"]
    follow_unchecked_address: bool
    spare_connection_ids: int
    replay_window: int
    key_limit: Literal["event", "close"]
    recv_queue: int
    write_limit: int
    session_tickets: int
    ticket_keys: TicketKeys | None
    session_store: SessionStore | None
    cookie_keys: CookieKeys | None
    confirm_resumption: bool
    max_associations: int
    max_half_open: int
    limits: Limits
    keylog: KeyLog | None
    trace: TraceTarget | None
    trace_limit: int


class Fields(FieldsWithoutTrust, total=False):
    """The fields of a :class:`aiodtls.DTLSConfig`."""

    trust: Trust | TrustFunction | Sequence[Trust | TrustFunction] | None


# AES-CCM_8 and P-256 are what every such device has (RFC 7925 section 4.2 and 4.4,
# draft-ietf-uta-tls13-iot-profile). The others are taken where the peer has them.
_IOT_SUITES = (
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
    "TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256",
    "TLS_PSK_WITH_AES_128_CCM_8",
)
_SRTP_PROFILES = (
    "SRTP_AEAD_AES_256_GCM",
    "SRTP_AEAD_AES_128_GCM",
    "SRTP_AES128_CM_HMAC_SHA1_80",
)
# Below the smallest MTU of common paths, tunnels and TURN included. Browsers use as much.
_WEBRTC_HANDSHAKE_PMTU = 1200
# The shares of browsers' hellos, although they take two datagrams. Without that of ML-KEM some
# browsers choose a group without it, and others need another round trip.
_WEBRTC_SHARES = ("X25519MLKEM768", "x25519") if ML_KEM in FEATURES else ("x25519",)


def iot(**overrides: Unpack[Fields]) -> DTLSConfig:
    """For constrained devices and those that talk to them (RFC 7925, and its profile for 1.3).

    - Suites with AES-CCM_8 and AES-CCM, and P-256 before X25519.
    - ``pmtu`` 1280, ``retransmit_initial`` 9 s and ``handshake_timeout`` 128 s (RFC 7925
      section 11). Where the network is as fast as others, name ``retransmit_initial=2.0``.
    - Connection ids of 8 bytes, so that devices may sleep behind a NAT.
    - Small buffers: 16 messages that wait to be read, 4 KiB that wait to be sent, certificate
      chains of 8 KiB; one ticket.

    Args:
        overrides: fields of the config. ``psk``, ``credentials`` or ``trust`` is among them.

    Raises:
        ConfigError: as for :class:`aiodtls.DTLSConfig`.
    """
    fields: Fields = {
        "cipher_suites": _IOT_SUITES,
        "groups": ("secp256r1", "x25519"),
        "pmtu": 1280,
        "retransmit_initial": 9.0,
        "handshake_timeout": 128.0,
        "connection_id": 8,
        "recv_queue": 16,
        "write_limit": 4096,
        "max_certificate_length": 8192,
        "session_tickets": 1,
    }
    return DTLSConfig(**(fields | overrides))


def webrtc(
    *,
    trust: Trust | TrustFunction | Sequence[Trust | TrustFunction],
    **overrides: Unpack[FieldsWithoutTrust],
) -> DTLSConfig:
    """For either role of a WebRTC connection (RFC 8827, RFC 8842).

    - ``retransmit_initial`` 0.4 s, as ICE has found a path already, whose round trips are short.
    - Both sides have certificates, and no session is resumed (``client_auth="required"``,
      ``session_tickets=0``).
    - SRTP profiles: AES-256-GCM, AES-128-GCM, AES-128-CM with an HMAC-SHA1 of 80 bits (RFC 5764,
      RFC 7714).
    - Handshake datagrams fit 1200 bytes (``handshake_pmtu``). ``pmtu`` keeps its default: what SCTP
      sends is one record, however long.
    - A ClientHello has key shares of X25519MLKEM768 and X25519, unless ``groups`` are given.
    - ``credentials`` are a fresh self-signed certificate unless they are given. Its fingerprint for
      the SDP is ``config.credentials.fingerprint()``.

    Args:
        trust: the peer's fingerprints: ``Trust.fingerprints(*lines, match="sdp")`` with the values
            of its ``a=fingerprint`` lines.
        overrides: other fields of the config.

    Raises:
        ConfigError: as for :class:`aiodtls.DTLSConfig`.
    """
    fields: dict[str, Any] = {
        "retransmit_initial": 0.4,
        "client_auth": "required",
        "session_tickets": 0,
        "srtp_profiles": _SRTP_PROFILES,
        "handshake_pmtu": _WEBRTC_HANDSHAKE_PMTU,
    }
    fields |= overrides
    if "groups" not in fields:
        fields.setdefault("key_shares", _WEBRTC_SHARES)
    if "credentials" not in fields:
        fields["credentials"] = Credentials.self_signed("WebRTC")
    return DTLSConfig(trust=trust, **fields)
