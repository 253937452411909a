"""Reads exported states in the JSON layout of the previous release.

To be removed in the next release.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.exported_state import ExportedState
from aiodtls.core.handshake.connection_id_updates import IdState
from aiodtls.core.handshake.post import PostSnapshot
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.outbox import Address
from aiodtls.core.record.layer import RecordNumbers
from aiodtls.core.record.protection13 import OldKeys
from aiodtls.core.record.traffic import TrafficSecrets
from aiodtls.core.registry import (
    CertificateType,
    HandshakeType,
    KeyUpdateRequest,
    NamedGroup,
    SRTPProtectionProfile,
)
from aiodtls.core.reliability.flight import Flight, OutgoingMessage
from aiodtls.core.reliability.outgoing_flight import LastFlight
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.sessions import Session

LABEL = b"aiodtls association 2"
FORMAT = 2
_PLAIN = (
    *("version", "server_hostname", "extended_master_secret", "resumed", "authenticated_at", "rrc"),
)
_BYTES = (
    *("client_random", "server_random", "psk_identity", "psk_identity_hint", "psk_check"),
    *("alpn_protocol", "ocsp_response", "master_secret", "exporter_secret"),
    *("resumption_secret", "own_cid", "peer_cid"),
)
_REGISTRIES = {
    "group": NamedGroup,
    "srtp_profile": SRTPProtectionProfile,
    "own_certificate_type": CertificateType,
    "peer_certificate_type": CertificateType,
}
_LISTS = ("peer_chain", "certificate_timestamps")


def parse(content: bytes) -> ExportedState:
    """Parses a state. Raises ValueError for another format."""
    state: dict[str, Any] = json.loads(content)
    if state.get("format") != FORMAT:
        raise ValueError(f"a state of format {state.get('format')}, not {FORMAT}")
    record_limit, max_plaintext = state["records"]
    numbers = RecordNumbers(
        state["write"], state["plaintext"], _window(state["window"]), max_plaintext
    )
    last_flight = None
    if state["flight"]:
        watched = {int(seq): length for seq, length in state["awaited"].items()}
        last_flight = LastFlight(_flight(state["flight"]), watched)
    traffic = None
    if state["traffic"]:
        own, peer, *epochs = state["traffic"]
        traffic = TrafficSecrets(bytes.fromhex(own), bytes.fromhex(peer), *epochs)
    return ExportedState(
        role="client" if state["role"] == "client" else "server",
        peer=_address(state["peer"]),
        local=_address(state["local"]),
        confirmed=state["confirmed"],
        held=state["held"],
        negotiated=_negotiated(state),
        numbers=numbers,
        traffic=traffic,
        old_keys=_old_keys(state["post"]["old_keys"]),
        doubtful=state["doubtful"],
        record_limit=record_limit,
        max_datagram_size=state["datagrams"],
        next_seq=state["send_seq"],
        next_receive_seq=state["receive_seq"],
        post=_post(state["post"], state["id_updates"]),
        own_ids=_all_bytes(state["own_ids"]),
        last_flight=last_flight,
        unread=_all_bytes(state["unread"]),
    )


def _negotiated(state: dict[str, Any]) -> Negotiated:
    facts = state["negotiated"]
    fields: dict[str, Any] = {name: facts[name] for name in _PLAIN}
    for name, registry in _REGISTRIES.items():
        fields[name] = registry(facts[name]) if facts[name] is not None else None
    for name in _BYTES:
        fields[name] = bytes.fromhex(facts[name]) if facts[name] is not None else None
    for name in _LISTS:
        fields[name] = _all_bytes(facts[name])
    session = Session.from_bytes(bytes.fromhex(state["session"])) if state["session"] else None
    return Negotiated(suite=SUITES[state["suite"]], session=session, **fields)


def _post(post: dict[str, Any], id_updates: Sequence[Any]) -> PostSnapshot:
    spares, *rest = id_updates
    return PostSnapshot(
        tuple((Timer[timer], _flight(messages)) for timer, messages in post["flights"]),
        tuple(Timer[timer] for timer in post.get("stopped", ())),
        tuple(
            (Timer[timer], HandshakeType(msg_type), bytes.fromhex(body))
            for timer, msg_type, body in post["waiting"]
        ),
        KeyUpdateRequest(post["wanted"]) if post["wanted"] is not None else None,
        IdState(_all_bytes(spares), *rest),
    )


def _old_keys(keys: Sequence[Any] | None) -> OldKeys | None:
    if keys is None:
        return None
    epoch, key, iv, sn_key, window = keys
    secrets = bytes.fromhex(key), bytes.fromhex(iv), bytes.fromhex(sn_key)
    return OldKeys(epoch, *secrets, _window(window))


def _flight(messages: Sequence[Sequence[Any]]) -> Flight:
    return tuple(
        OutgoingMessage(
            epoch, HandshakeType(kind) if kind is not None else None, seq, bytes.fromhex(body)
        )
        for epoch, kind, seq, body in messages
    )


def _window(state: Sequence[int]) -> tuple[int, int]:
    highest, bitmap = state
    return highest, bitmap


def _all_bytes(items: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, items))


def _address(value: Any) -> Address:
    """A socket address, whose tuple JSON stored as a list."""
    return tuple(value) if isinstance(value, list) else value
