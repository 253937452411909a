"""Carrying a live association to another process: what is in its state, and how it is sealed.

The state is everything that the peer's next record needs to be understood, and ours to be new: keys
and numbers, the replay window, the numbers of handshake messages, and who the peer is. Whoever
exports it sends and takes nothing more, or no more than a lease allows (``lease.py``), so no nonce
can be used twice, and no message answered twice. Each export has a generation; an adopter takes
each one once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls.core import renewal
from aiodtls.core.association import Address, Association
from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.errors import DTLSError, EndpointClosed, HandshakeError
from aiodtls.core.handshake.keys12 import EPOCH, derive_record_keys
from aiodtls.core.handshake.script import Negotiated
from aiodtls.core.lease import Lease, check_size
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.protection13 import RecordReader13
from aiodtls.core.record.traffic import ApplicationTraffic
from aiodtls.core.registry import (
    CertificateType,
    HandshakeType,
    KeyUpdateRequest,
    NamedGroup,
    SRTPProtectionProfile,
)
from aiodtls.core.reliability.flight import Flight, OutgoingMessage
from aiodtls.core.reliability.reassembly import Reassembly
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.sessions import Session
from aiodtls.core.wire.records import SEQUENCE_NUMBER_MASK

FORMAT = 2
KEY_LENGTH = 32
NONCE_LENGTH = 12
LABEL = b"aiodtls association 2"
# Which association it is, and the how manieth export: in the clear, for those who store states.
LINEAGE = Struct("!16sQ")
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


def seal(
    state: State, lineage: tuple[bytes, int], key: bytes, random: Callable[[int], bytes]
) -> bytes:
    """AES-256-GCM under ``key``, 32 bytes. Raises ValueError for another length."""
    cipher = _cipher(key)
    nonce = random(NONCE_LENGTH)
    head = LINEAGE.pack(*lineage)
    return head + nonce + cipher.encrypt(nonce, json.dumps(state).encode(), LABEL + head)


def lineage_of(state: bytes) -> tuple[bytes, int]:
    """The identity of the association in an exported state, 16 bytes, and the generation.

    Readable by all, and authentic once the state was adopted: a store keeps the highest generation
    of each identity, and gives each out once. Raises ValueError for what is no state.
    """
    if len(state) < LINEAGE.size + NONCE_LENGTH:
        raise ValueError("this is no state of an association")
    identity, generation = LINEAGE.unpack_from(state)
    return identity, generation


def unseal(data: bytes, key: bytes) -> State:
    """Raises ValueError for what this key did not seal, or another format."""
    cipher = _cipher(key)
    head = LINEAGE.pack(*lineage_of(data))
    nonce_end = len(head) + NONCE_LENGTH
    try:
        text = cipher.decrypt(data[len(head) : nonce_end], data[nonce_end:], LABEL + head)
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


def export(
    connection: Association,
    key: bytes,
    now: float,
    lease: int | None,
    unread: Sequence[bytes],
    local: Address,
) -> bytes:
    """See ``DTLSConnection.export_state``."""
    _check_exportable(connection)
    if lease is not None:
        check_size(lease)
    identity, generation = connection.lineage
    lineage = identity or connection._random(ID_LENGTH), generation + 1
    leased = renewal.lease_of(connection, lease) if lease is not None else None
    state = _state_of(connection, leased, unread) | {"local": local}
    sealed = seal(state, lineage, key, connection._random)
    connection.lineage = lineage
    if leased is None:
        _end(connection)
    else:
        renewal.exported(connection, sealed, leased, now)
    return sealed


def _check_exportable(connection: Association) -> None:
    """Raises :class:`DTLSError` during a handshake, or while the peer owes an acknowledgement."""
    if connection.closed:
        raise connection.failure or DTLSError("the association has ended")
    if not connection.handshake_complete:
        raise HandshakeError("the handshake is not complete")
    is_leased = connection._leases is not None
    # With a lease messages wait, each side's for the other's export: those are carried along.
    if connection._retransmission.is_running or (connection._post.is_busy and not is_leased):
        raise DTLSError("a handshake message is not acknowledged yet: export a little later")
    if connection._driver.receives_message and not is_leased:
        # Its parts may have been acknowledged, and would not come again.
        raise DTLSError("a handshake message has come in part: export a little later")


def _state_of(connection: Association, lease: Lease | None, unread: Sequence[bytes]) -> State:
    """All of it, before anything of it changes. ``unread`` is data not given to anybody yet.

    With a lease that data stays here, and an adopter begins behind the lease.
    """
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
        "write": (lease.end if lease else _next_number(connection)) & SEQUENCE_NUMBER_MASK,
        "plaintext": layer.next_plaintext_number + (lease.records if lease else 0),
        "window": reader.window.state,
        "doubtful": lease.received_end - layer.newest_number - 1 if lease else 0,
        "post": _post(connection),
        "send_seq": driver.next_seq,
        "receive_seq": driver.next_receive_seq,
        "records": [connection._transmitter.record_limit, layer.max_plaintext],
        "datagrams": connection._transmitter.max_datagram_size,
        "traffic": _traffic(negotiated, next_keys=connection._post.new_keys_wait),
        "own_ids": [_hex(cid) for cid in connection.own_ids],
        "id_updates": _id_updates(connection),
        "session": _hex(negotiated.session.to_bytes()) if negotiated.session else None,
        "flight": _messages(flight),
        "awaited": connection._retransmission.watched,
        "unread": [_hex(d) for d in (*unread, *connection._inbox)] if lease is None else [],
    }


def _next_number(connection: Association) -> int:
    """Of our newest keys, which nobody uses yet where they wait."""
    return 0 if connection._post.new_keys_wait else connection._layer.writer.next_number


def _post(connection: Association) -> State:
    post = connection._post
    return {
        "flights": [[timer.name, _messages(flight)] for timer, flight in post.unacknowledged],
        "stopped": [timer.name for timer in post.stopped],
        "waiting": [[timer.name, msg_type, _hex(body)] for timer, msg_type, body in post.waiting],
        "wanted": post.wanted,
        "old_keys": _old_keys(connection._layer) if post.keeps_old_keys else None,
    }


def _restore_post(connection: Association, state: State, now: float) -> None:
    wanted = state["wanted"]
    connection._post.resume(
        [(Timer[timer], _flight(messages)) for timer, messages in state["flights"]],
        [Timer[timer] for timer in state.get("stopped", ())],
        [
            (Timer[timer], HandshakeType(msg_type), bytes.fromhex(body))
            for timer, msg_type, body in state["waiting"]
        ],
        KeyUpdateRequest(wanted) if wanted is not None else None,
        now,
        keeps_old_keys=state["old_keys"] is not None,
    )
    connection._drain_driver()


def _old_keys(layer: RecordLayer) -> list[Any] | None:
    """What the peer uses until it has our ACK of its KeyUpdate."""
    reader = layer.previous_reader
    if reader is None:
        return None
    keys = reader.keys
    return [reader.epoch, *map(_hex, (keys.key, keys.iv, keys.sn_key)), reader.window.state]


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
        if state["post"]["old_keys"]:
            _read_old_keys(connection, *state["post"]["old_keys"])
        driver.install_read(read_epoch, traffic.reader())
    else:
        writer, reader = derive_record_keys(
            negotiated,
            suite,
            negotiated.master_secret,
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
    spares, *rest = state["id_updates"]
    connection._post.ids.state = tuple(map(bytes.fromhex, spares)), *rest
    _established(connection, confirmed=state["confirmed"], held=state["held"])
    connection.watch_idleness(now)
    if state["flight"]:
        awaited = {int(seq): length for seq, length in state["awaited"].items()}
        flight, may_have_acks = _flight(state["flight"]), negotiated.version == "1.3"
        connection._retransmission.start(flight, awaited, may_have_acks=may_have_acks)
        connection._retransmission.keep_last(now)
    connection._inbox.extend(bytes.fromhex(data) for data in state["unread"])
    renewal.doubt(connection, state["doubtful"])
    _restore_post(connection, state["post"], now)


def _read_old_keys(
    connection: Association, epoch: int, key: str, iv: str, sn_key: str, window: tuple[int, int]
) -> None:
    suite = connection.negotiated.suite
    assert suite is not None
    keys = TrafficKeys(suite.aead, *map(bytes.fromhex, (key, iv, sn_key)))
    reader = RecordReader13(
        epoch, keys, connection.config.replay_window, connection.negotiated.own_cid
    )
    reader.window.state = window
    connection._driver.install_read(epoch, reader)


def _established(connection: Association, *, confirmed: bool, held: bool) -> None:
    connection.handshake_complete = connection._peer_proved = True
    connection.confirmed = confirmed
    connection._held = held
    connection._expect_data()
    connection._timers.cancel(Timer.handshake)
    connection._update_max_payload()


def _end(connection: Association) -> None:
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


def _traffic(negotiated: Negotiated, *, next_keys: bool) -> list[Any] | None:
    traffic = negotiated.traffic
    if traffic is None:
        return None
    own, peer = traffic.secrets
    if next_keys:
        own = traffic.next_own_secret
    return [_hex(own), _hex(peer), traffic.read_epoch, traffic.write_epoch + next_keys]


def _id_updates(connection: Association) -> list[Any]:
    spares, *rest = connection._post.ids.state
    return [[_hex(cid) for cid in spares], *rest]


def _messages(flight: Flight) -> list[list[Any]]:
    return [[m.epoch, m.msg_type, m.message_seq, _hex(m.body)] for m in flight]


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
