"""Carrying a live association to another process: what is in its state, and how it is sealed.

The state is everything that the peer's next record needs to be understood, and ours to be new: keys
and numbers, the replay window, the numbers of handshake messages, and who the peer is. Whoever
exports it sends and takes nothing more, so no nonce can be used twice, and no message answered
twice. Each export has a generation; an adopter takes each one once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls.core.association import Address, Association
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.errors import DTLSError, EndpointClosed, HandshakeError
from aiodtls.core.handshake.keys12 import EPOCH, derive_record_keys
from aiodtls.core.handshake.script import Negotiated
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.traffic import APPLICATION_EPOCH, ApplicationTraffic
from aiodtls.core.registry import (
    CertificateType,
    HandshakeType,
    NamedGroup,
    SRTPProtectionProfile,
)
from aiodtls.core.reliability.flight import OutgoingMessage
from aiodtls.core.reliability.reassembly import Reassembly
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.sessions import Session
from aiodtls.core.wire.records import EPOCH_SHIFT, SEQUENCE_NUMBER_MASK

FORMAT = 1
KEY_LENGTH = 32
NONCE_LENGTH = 12
LABEL = b"aiodtls association 1"
ID_LENGTH = 16

State = dict[str, Any]

# Fields of Negotiated as they are; those of bytes, and of registries, are turned into text below.
_PLAIN = (
    "version",
    "server_hostname",
    "extended_master_secret",
    "resumed",
    "authenticated_at",
    "rrc",
)
_BYTES = (
    "client_random",
    "server_random",
    "psk_identity",
    "psk_identity_hint",
    "psk_check",
    "alpn_protocol",
    "ocsp_response",
    "master_secret",
    "exporter_secret",
    "resumption_secret",
    "own_cid",
    "peer_cid",
)
_REGISTRIES = {
    "group": NamedGroup,
    "srtp_profile": SRTPProtectionProfile,
    "own_certificate_type": CertificateType,
    "peer_certificate_type": CertificateType,
}
_LISTS = ("peer_chain", "certificate_timestamps")


def seal(state: State, key: bytes, random: Callable[[int], bytes]) -> bytes:
    """AES-256-GCM under ``key``, 32 bytes. Raises ValueError for another length."""
    cipher = _cipher(key)
    nonce = random(NONCE_LENGTH)
    return nonce + cipher.encrypt(nonce, json.dumps(state).encode(), LABEL)


def unseal(data: bytes, key: bytes) -> State:
    """Raises ValueError for what this key did not seal, or another format."""
    cipher = _cipher(key)
    if len(data) < NONCE_LENGTH:
        raise ValueError("this is no state of an association")
    try:
        text = cipher.decrypt(data[:NONCE_LENGTH], data[NONCE_LENGTH:], LABEL)
    except InvalidTag:
        raise ValueError("this state was not sealed with this key, or was changed") from None
    state: State = json.loads(text)
    if state.get("format") != FORMAT:
        raise ValueError(f"a state of format {state.get('format')}, not {FORMAT}")
    return state


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_LENGTH:
        raise ValueError(f"the key of a state has {KEY_LENGTH} bytes")
    return AESGCM(key)


def check_exportable(connection: Association) -> None:
    """Raises :class:`DTLSError` during a handshake, or while the peer owes an acknowledgement."""
    if connection.closed:
        raise connection.failure or DTLSError("the association has ended")
    if not connection.handshake_complete:
        raise HandshakeError("the handshake is not complete")
    if connection._retransmission.is_running or connection._post.is_busy:
        raise DTLSError("a handshake message is not acknowledged yet: export a little later")


def state_of(connection: Association, unread: Sequence[bytes]) -> State:
    """All of it, before anything of it changes. ``unread`` is data not given to anybody yet."""
    layer, driver, negotiated = connection._layer, connection._driver, connection.negotiated
    assert negotiated.suite is not None
    reader = layer.newest_reader
    flight = connection._retransmission.flight if not connection.confirmed else ()
    return {
        "format": FORMAT,
        "role": connection.role,
        "peer": connection.peer,
        "confirmed": connection.confirmed,
        "held": connection._held,
        "negotiated": _facts(negotiated),
        "suite": negotiated.suite.code,
        "write": layer.writer.next_number & SEQUENCE_NUMBER_MASK,
        "plaintext": layer.next_plaintext_number,
        "window": reader.window.state,
        "send_seq": driver.next_seq,
        "receive_seq": driver.next_receive_seq,
        "records": [connection._transmitter.record_limit, layer.max_plaintext],
        "datagrams": connection._transmitter.max_datagram_size,
        "traffic": _traffic(negotiated),
        "own_ids": [_hex(cid) for cid in connection.own_ids],
        "id_updates": _id_updates(connection),
        "session": _hex(negotiated.session.to_bytes()) if negotiated.session else None,
        "flight": [[m.epoch, m.msg_type, m.message_seq, _hex(m.body)] for m in flight],
        "awaited": connection._retransmission.watched,
        "unread": [_hex(data) for data in (*unread, *connection._inbox)],
    }


def restore(connection: Association, state: State, now: float) -> None:
    """Makes a connection that has begun nothing into the exported one."""
    negotiated = connection.negotiated
    _take_facts(negotiated, state["negotiated"])
    suite = negotiated.suite = SUITES[state["suite"]]
    if state["session"]:
        negotiated.session = Session.from_bytes(bytes.fromhex(state["session"]))
    driver, layer = connection._driver, connection._layer
    if negotiated.version == "1.3":
        driver.use_dtls13()
        own, peer, read_epoch, write_epoch = state["traffic"]
        secrets = bytes.fromhex(own), bytes.fromhex(peer)
        window = connection.config.replay_window
        ids = negotiated.own_cid, negotiated.peer_cid
        traffic = ApplicationTraffic(suite, *secrets, window, read_epoch, write_epoch, *ids)
        negotiated.traffic = traffic
        driver.install_write(write_epoch, traffic.writer())
        driver.install_read(read_epoch, traffic.reader())
    else:
        writer, reader = derive_record_keys(
            negotiated,
            suite,
            connection.config.replay_window,
            is_client=connection.role == "client",
        )
        layer.next_plaintext_number = state["plaintext"]
        driver.install_write(EPOCH, writer)
        driver.install_read(EPOCH, reader)
    driver.limit_records(*state["records"])
    layer.writer.next_number += state["write"]
    layer.newest_reader.window.state = state["window"]
    connection._transmitter.max_datagram_size = state["datagrams"]
    driver.restored(state["send_seq"], Reassembly(state["receive_seq"]), now)
    spares, is_known, is_owed = state["id_updates"]
    connection._post.ids.state = tuple(map(bytes.fromhex, spares)), is_known, is_owed
    _established(connection, confirmed=state["confirmed"], held=state["held"])
    connection.watch_idleness(now)
    if state["flight"]:
        awaited = {int(seq): length for seq, length in state["awaited"].items()}
        connection._retransmission.start(_flight(state["flight"]), awaited)
        connection._retransmission.keep_last(now)
    connection._inbox.extend(bytes.fromhex(data) for data in state["unread"])


def _established(connection: Association, *, confirmed: bool, held: bool) -> None:
    connection.handshake_complete = connection._peer_proved = True
    connection.confirmed = confirmed
    connection._held = held
    if connection.negotiated.version == "1.3":
        connection._least_data_number = APPLICATION_EPOCH << EPOCH_SHIFT
    connection._timers.cancel(Timer.handshake)
    connection._update_max_payload()


def end(connection: Association) -> None:
    """The state is exported: nothing is sent, taken or answered here any more."""
    connection._out.clear()
    connection._inbox.clear()
    connection._end(EndpointClosed("local", "the association was handed over"))
    connection._retransmission.forget()
    # No lingering either: the peer's last flight is the adopter's to acknowledge.
    connection._driver.completed_at = float("-inf")


def ids_of(state: State, new_ids: Callable[[int], ConnectionIds]) -> ConnectionIds:
    """The connection ids by which the peer goes on to name the association."""
    given = [bytes.fromhex(cid) for cid in state["own_ids"]]
    ids = new_ids(len(given[0]) if given else 0)
    ids.restore(given)
    return ids


def peer_of(state: State) -> Address:
    """Where the peer was."""
    return _address(state["peer"])


def local_of(state: State) -> Address:
    """Where our socket was; None where that is not known."""
    return _address(state["local"])


def _address(value: Any) -> Address:
    """A socket address, which JSON made a list."""
    return tuple(value) if isinstance(value, list) else value


def role_of(state: State) -> Literal["client", "server"]:
    return "client" if state["role"] == "client" else "server"


def _traffic(negotiated: Negotiated) -> list[Any] | None:
    traffic = negotiated.traffic
    if traffic is None:
        return None
    own, peer = traffic.secrets
    return [_hex(own), _hex(peer), traffic.read_epoch, traffic.write_epoch]


def _id_updates(connection: Association) -> list[Any]:
    spares, is_known, is_owed = connection._post.ids.state
    return [[_hex(cid) for cid in spares], is_known, is_owed]


def _flight(messages: Sequence[Sequence[Any]]) -> tuple[OutgoingMessage, ...]:
    return tuple(
        OutgoingMessage(
            epoch, HandshakeType(kind) if kind is not None else None, seq, bytes.fromhex(body)
        )
        for epoch, kind, seq, body in messages
    )


def _facts(negotiated: Negotiated) -> State:
    facts: State = {name: getattr(negotiated, name) for name in (*_PLAIN, *_REGISTRIES)}
    for name in _BYTES:
        value = getattr(negotiated, name)
        facts[name] = _hex(value) if value is not None else None
    for name in _LISTS:
        facts[name] = [_hex(value) for value in getattr(negotiated, name)]
    return facts


def _take_facts(negotiated: Negotiated, facts: Mapping[str, Any]) -> None:
    for name in _PLAIN:
        setattr(negotiated, name, facts[name])
    for name, registry in _REGISTRIES.items():
        setattr(negotiated, name, registry(facts[name]) if facts[name] is not None else None)
    for name in _BYTES:
        value = facts[name]
        setattr(negotiated, name, bytes.fromhex(value) if value is not None else None)
    for name in _LISTS:
        setattr(negotiated, name, tuple(bytes.fromhex(value) for value in facts[name]))


def _hex(data: bytes) -> str:
    return data.hex()
